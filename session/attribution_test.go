package session_test

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/llm/scripted"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/session"
)

// checkAttribution checks that each dimension adds up to the usage.
func checkAttribution(t *testing.T, s *session.Session) {
	t.Helper()
	rep, err := s.Report()
	if err != nil {
		t.Fatal(err)
	}
	want, _ := json.Marshal(s.Usage())
	for _, d := range metrics.Dimensions {
		var all, of []metrics.Usage
		for _, g := range rep.UsageBy[d] {
			all = append(all, g.Usage)
		}
		for _, g := range s.UsageBy(d) {
			of = append(of, g.Usage)
		}
		for _, usages := range [][]metrics.Usage{all, of} {
			if got, _ := json.Marshal(metrics.Sum(usages...)); string(got) != string(want) {
				t.Errorf("%s add up to %s, the usage is %s", d, got, want)
			}
		}
	}
}

// shares is what the groups have of each kind of model: "kelly: llm 3 tts 12 stt 1.5s".
func shares(groups []metrics.Group) string {
	var b strings.Builder
	for _, g := range groups {
		fmt.Fprintf(&b, "%s:", g.Key)
		for _, m := range g.Usage.Models {
			switch m := m.(type) {
			case metrics.LLMUsage:
				fmt.Fprintf(&b, " llm %d", m.OutputTokens)
			case metrics.TTSUsage:
				fmt.Fprintf(&b, " tts %d", m.CharactersCount)
			case metrics.STTUsage:
				fmt.Fprintf(&b, " stt %v", m.AudioDuration)
			case metrics.EOTUsage:
				fmt.Fprintf(&b, " eot %d", m.TotalRequests)
			}
		}
		b.WriteString("\n")
	}
	return b.String()
}

func TestReportHasTheUsageApartByOutcome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Text: "Hi there"}, scripted.Answer{Text: "One two three four five six", TTFT: 300 * time.Millisecond, Delay: 600 * time.Millisecond})
		c.opt.PriceBooks = priced(t)
		c.start(nil)
		c.says(0.5, 2.5, "Hello")
		c.until(6)
		c.says(6, 7, "Go on")
		c.says(8.6, 9.5, "Stop")
		c.until(14)
		rep := c.close()
		checkAttribution(t, c.s)
		got := regexp.MustCompile(` (llm|stt) \S+`).ReplaceAllString(shares(rep.UsageBy[metrics.ByOutcome]), "")
		diff(t, "outcomes", got, "delivered: tts 8\ninterrupted: tts 19\n")
		for _, groups := range rep.UsageBy {
			var sum metrics.Amount
			for _, g := range groups {
				sum += g.Cost.Total("EUR")
			}
			if want := rep.Cost.Total("EUR"); sum != want {
				t.Errorf("the groups cost %s, the session %s", sum, want)
			}
		}
	})
}
