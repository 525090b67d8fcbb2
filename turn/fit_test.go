package turn

import (
	"bufio"
	"fmt"
	"math"
	"os"
	"strings"
	"testing"
)

// example is a line of the labelled utterances.
type example struct {
	over        bool
	agent, user string
	f           findings
}

func examples(t testing.TB, name string) (out []example) {
	t.Helper()
	file, err := os.Open("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "#") {
			continue
		}
		cols := strings.Split(lines.Text(), "|")
		if len(cols) != 3 || cols[0] != "over" && cols[0] != "more" {
			t.Fatalf("%s: cannot read %q", name, lines.Text())
		}
		out = append(out, example{cols[0] == "over", cols[1], cols[2], features(cols[1], cols[2])})
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

// fit is logistic regression with a penalty on large weights, by gradient descent.
func fit(all []example) (w [numFeatures]float64) {
	const rounds, rate, penalty = 1500, 8.0, 0.002
	for range rounds {
		var g [numFeatures]float64
		for i := range all {
			e := &all[i]
			miss := e.f.probability(&w)
			if e.over {
				miss--
			}
			for k, has := range e.f {
				if has {
					g[k] += miss
				}
			}
		}
		for k := range w {
			w[k] -= rate * (g[k]/float64(len(all)) + penalty*w[k])
		}
	}
	return w
}

func TestWeightsAreFitted(t *testing.T) {
	w := fit(examples(t, "train.txt"))
	same := true
	var table strings.Builder
	for k, v := range w {
		same = same && math.Abs(v-weights[k]) < 0.02
		fmt.Fprintf(&table, "\t%s: %.2f,\n", featureNames[k], v)
	}
	if !same {
		t.Errorf("the weights are not those of testdata/train.txt, which are\n%s", table.String())
	}
}

// score is how good the detector is.
type score struct{ examples, wrong, over, waits, more, cuts int }

func (s score) accuracy() float64   { return 1 - float64(s.wrong)/float64(s.examples) }
func (s score) falseCuts() float64  { return float64(s.cuts) / float64(s.more) }
func (s score) falseWaits() float64 { return float64(s.waits) / float64(s.over) }

func measure(all []example, report func(e example, p float64)) (s score) {
	s.examples = len(all)
	for _, e := range all {
		p := e.f.probability(&weights)
		if e.over {
			s.over++
		} else {
			s.more++
		}
		if p >= (english{}).Threshold("en") == e.over {
			continue
		}
		s.wrong++
		if e.over {
			s.waits++
		} else {
			s.cuts++
		}
		report(e, p)
	}
	return s
}

// plain is the text as recognisers write it that know neither capitals nor punctuation.
func plain(text string) string {
	text = strings.Map(func(r rune) rune {
		if strings.ContainsRune(".,?!", r) {
			return -1
		}
		return r
	}, text)
	return strings.ToLower(text)
}

// withStops is the text as recognisers write it that end whatever they hear with a full stop.
func withStops(text string) string {
	text = strings.TrimRight(text, ".,?! -")
	if text == "" {
		return ""
	}
	return strings.ToUpper(text[:1]) + text[1:] + "."
}

// TestTextOnUnseenUtterances holds what the documentation of NewText says.
func TestTextOnUnseenUtterances(t *testing.T) {
	for _, c := range []struct {
		name                  string
		writes                func(string) string
		accuracy, cuts, waits float64
	}{
		{"as written", func(s string) string { return s }, 0.935, 0.045, 0.095},
		{"without punctuation", plain, 0.935, 0.045, 0.095},
		{"with a full stop each", withStops, 0.93, 0.065, 0.08},
	} {
		all := examples(t, "held_out.txt")
		for i := range all {
			all[i].user = c.writes(all[i].user)
			all[i].f = features(all[i].agent, all[i].user)
		}
		var wrong []string
		s := measure(all, func(e example, p float64) {
			wrong = append(wrong, fmt.Sprintf("%.2f %q %q", p, e.agent, e.user))
		})
		t.Logf("%s: %d utterances, %d of them whole: accuracy %.3f, false cuts %.3f, false waits %.3f",
			c.name, s.examples, s.over, s.accuracy(), s.falseCuts(), s.falseWaits())
		if s.accuracy() < c.accuracy || s.falseCuts() > c.cuts || s.falseWaits() > c.waits {
			t.Errorf("%s: worse than documented; wrong are\n%s", c.name, strings.Join(wrong, "\n"))
		}
	}
}

func TestHeldOutUtterancesAreNotFittedTo(t *testing.T) {
	seen := map[string]bool{}
	for _, e := range examples(t, "train.txt") {
		seen[e.agent+"|"+e.user] = true
	}
	for _, e := range examples(t, "held_out.txt") {
		if seen[e.agent+"|"+e.user] {
			t.Errorf("%q is in both halves", e.user)
		}
	}
}
