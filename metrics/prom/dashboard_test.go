package prom

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/session"
)

// full is a scrape of a worker in which all has happened.
func full(t *testing.T) (s scraped) {
	synctest.Test(t, func(t *testing.T) {
		f := newFigures()
		call(t, f)
		f.JobEnded(Success, time.Second)
		var seen metrics.Collector
		for _, e := range events("", "acme", "m1") {
			f.event(&seen, e)
		}
		f.failed(session.ErrorOccurred{ErrorEvent: model.ErrorEvent{Kind: "llm", Info: model.Info{Provider: "acme"}, Err: os.ErrClosed}})
		s = scrape(t, f)
	})
	return s
}

var (
	figure   = regexp.MustCompile(`lk_agents_\w+`)
	selector = regexp.MustCompile(`(lk_agents_\w+)\{([^}]*)\}`)
	matcher  = regexp.MustCompile(`(\w+)\s*(?:=~|!~|!=|=)\s*"`)
	grouping = regexp.MustCompile(`(?:by|without|ignoring|on)\s*\(([^)]*)\)`)
	legend   = regexp.MustCompile(`\{\{\s*(?:\$labels\.)?(\w+)\s*\}\}`)
)

// wantKnown checks an expression, and what is written beside its results, against a scrape.
func (s scraped) wantKnown(t *testing.T, where, expr, text string) {
	t.Helper()
	names := figure.FindAllString(expr, -1)
	if len(names) == 0 {
		t.Errorf("%s: %q names no figure", where, expr)
	}
	if strings.Count(expr, "(") != strings.Count(expr, ")") || strings.Count(expr, "{") != strings.Count(expr, "}") {
		t.Errorf("%s: brackets in %q", where, expr)
	}
	labels := []string{"le", "job", "instance"}
	for _, name := range names {
		of, ok := s.labels(name)
		if !ok {
			t.Errorf("%s: %s is not in the scrape", where, name)
		}
		labels = append(labels, of...)
	}
	for _, sel := range selector.FindAllStringSubmatch(expr, -1) {
		of, _ := s.labels(sel[1])
		for _, m := range matcher.FindAllStringSubmatch(sel[2], -1) {
			if !slices.Contains(of, m[1]) {
				t.Errorf("%s: %s has no label %s", where, sel[1], m[1])
			}
		}
	}
	for _, g := range grouping.FindAllStringSubmatch(expr, -1) {
		for l := range strings.SplitSeq(g[1], ",") {
			if !slices.Contains(labels, strings.TrimSpace(l)) {
				t.Errorf("%s: nothing in %q has the label %s", where, expr, l)
			}
		}
	}
	for _, l := range legend.FindAllStringSubmatch(text, -1) {
		if !slices.Contains(labels, l[1]) {
			t.Errorf("%s: %q shows the label %s, which %q does not have", where, text, l[1], expr)
		}
	}
}

// labels are those of the figure that a name in an expression stands for; false if there is none.
func (s scraped) labels(name string) ([]string, bool) {
	family := s[name]
	for _, suffix := range []string{"_bucket", "_sum", "_count"} {
		if base, ok := strings.CutSuffix(name, suffix); ok && family == nil {
			if family = s[base]; family != nil && family.GetMetric()[0].GetHistogram() == nil {
				return nil, false
			}
		}
	}
	if family == nil || family.GetMetric()[0].GetHistogram() != nil && s[name] != nil {
		return nil, false // a histogram has no series of its plain name
	}
	var out []string
	for _, l := range family.GetMetric()[0].GetLabel() {
		out = append(out, l.GetName())
	}
	return out, true
}

func TestDashboardShowsWhatThereIs(t *testing.T) {
	data, err := os.ReadFile("../../docs/observability/grafana.json")
	if err != nil {
		t.Fatal(err)
	}
	var board struct {
		Panels []struct {
			ID      int
			Type    string
			Title   string
			Targets []struct {
				Expr         string
				LegendFormat string
			}
		}
	}
	if err := json.Unmarshal(data, &board); err != nil {
		t.Fatal(err)
	}
	s := full(t)
	ids, shown := map[int]bool{}, map[string]bool{}
	for _, p := range board.Panels {
		if ids[p.ID] {
			t.Errorf("two panels have the id %d", p.ID)
		}
		ids[p.ID] = true
		if p.Type != "row" && len(p.Targets) == 0 {
			t.Errorf("panel %q shows nothing", p.Title)
		}
		for _, target := range p.Targets {
			s.wantKnown(t, "panel "+p.Title, target.Expr, target.LegendFormat)
			for _, name := range figure.FindAllString(target.Expr, -1) {
				shown[name] = true
			}
		}
	}
	if len(shown) < 20 {
		t.Errorf("the dashboard shows %d figures", len(shown))
	}
}

func TestAlertsAreAboutWhatThereIs(t *testing.T) {
	data, err := os.ReadFile("../../docs/observability/alerts.yml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Groups []struct {
			Name  string
			Rules []struct {
				Alert       string
				Expr        string
				For         string
				Labels      map[string]string
				Annotations map[string]string
			}
		}
	}
	if err := yaml.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	s := full(t)
	known := map[string]bool{}
	for _, g := range file.Groups {
		for _, r := range g.Rules {
			if known[r.Alert] || r.Alert == "" {
				t.Errorf("alert %q is there twice or has no name", r.Alert)
			}
			known[r.Alert] = true
			if d, err := time.ParseDuration(r.For); err != nil || d <= 0 {
				t.Errorf("%s: for %q", r.Alert, r.For)
			}
			if r.Labels["severity"] == "" || r.Annotations["summary"] == "" {
				t.Errorf("%s says not how bad it is, or what", r.Alert)
			}
			s.wantKnown(t, r.Alert, r.Expr, r.Annotations["summary"])
		}
	}
	if len(known) < 8 {
		t.Errorf("%d alerts", len(known))
	}
}

// TestEveryFigureIsDocumented compares the table for users with a scrape, both ways.
func TestEveryFigureIsDocumented(t *testing.T) {
	data, err := os.ReadFile("../../docs/observability/README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(data), "## Prometheus")
	text, _, _ = strings.Cut(text, "\n## ")
	s := full(t)
	documented := map[string]bool{}
	for _, name := range regexp.MustCompile("(?m)^\\| `(lk_agents_\\w+)`").FindAllStringSubmatch(text, -1) {
		documented[name[1]] = true
		if s[name[1]] == nil {
			t.Errorf("%s is documented and not in the scrape", name[1])
		}
	}
	for name := range s {
		if !documented[name] {
			t.Errorf("%s is not documented", name)
		}
	}
}
