package turn_test

import (
	"math"
	"strings"
	"testing"

	"github.com/parley-go/parley/internal/modeltest"
	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/turn"
	"github.com/parley-go/parley/turn/driver"
	"github.com/parley-go/parley/turn/turntest"
)

func TestTextConformance(t *testing.T) {
	turntest.Run(t, turntest.Harness{
		New:      func(testing.TB) driver.Detector { return turn.English() },
		Language: "en", Unsupported: "de", Local: true,
	})
}

func TestTextLanguages(t *testing.T) {
	m := turn.NewText(nil)
	for language, want := range map[string]bool{
		"": true, "en": true, "en-US": true, "EN_gb": true, "english": true, "de": false, "enm": false, "multi": false, "auto": false,
	} {
		if got := m.SupportsLanguage(language); got != want {
			t.Errorf("%q: %v", language, got)
		}
	}
}

// TestTextListens has the same words mean different things by what the agent asked.
func TestTextListens(t *testing.T) {
	m := turn.NewText(nil)
	for _, c := range []struct {
		agent, user string
		over        bool
	}{
		{"What's your phone number?", "four one five five five five", false},
		{"What's your phone number?", "four one five five five five oh one double nine", true},
		{"What are the last four digits of your card?", "four one five five", true},
		{"What's your zip code?", "four one five five", false},
		{"What's your zip code?", "90210", true},
		{"How many people?", "five", true},
		{"Is that right?", "yes it is", true},
		{"What's your name?", "it is", false},
		{"Can you spell that?", "m i l", false},
		{"Can you spell that?", "m i l l e r", true},
		{"When were you born? I need the date of birth.", "may second", false},
		{"When were you born? I need the date of birth.", "may second nineteen ninety", true},
		{"And your email?", "ann at mail dot", false},
		{"And your email?", "ann@mail.com", true},
		{"", "Yes. I would like to", false},
		{"", "I would like to. No, forget it.", true},
	} {
		p, err := m.Predict(t.Context(), heard(c.agent, c.user), "en")
		if err != nil || p.Over() != c.over {
			t.Errorf("%q: %q is over with %.2f, %v", c.agent, c.user, p.Probability, err)
		}
	}
}

func TestTextKnowsOnlyTheLastMessages(t *testing.T) {
	m := turn.NewText(nil)
	c := heard("What's your phone number?", "none of your business")
	c.Add(chat.NewMessage(chat.Assistant, "I see."), &chat.FunctionCall{Name: "f"}, chat.NewMessage(chat.User, "four one"))
	got, err := m.Predict(t.Context(), c, "")
	want, err2 := m.Predict(t.Context(), heard("I see.", "four one"), "")
	if err != nil || err2 != nil || got.Probability != want.Probability {
		t.Errorf("got %v (%v), want %v (%v)", got.Probability, err, want.Probability, err2)
	}
}

func TestTextIsAccountedFor(t *testing.T) {
	var log modeltest.Log
	ctx := metrics.WithTags(log.Context(t.Context()), metrics.Tags{TurnID: "turn_9"})
	if _, err := turn.NewText(nil).Predict(ctx, heard("", "hello"), "en"); err != nil {
		t.Fatal(err)
	}
	got := eots(&log)
	if len(got) != 1 || got[0].NumRequests != 1 || got[0].Metadata.ModelProvider != "local" || got[0].TotalDuration != 0 ||
		got[0].DetectionDelay != 0 || got[0].Tags.TurnID != "turn_9" {
		t.Errorf("accounted %+v", got)
	}
}

func FuzzText(f *testing.F) {
	for _, s := range []string{
		"", "hello", "I would like to...", "um, uh —", "(512) 443-9001", "a-b-c", "\xff\x00", "İ’…", strings.Repeat("and 1 ", 400), "ÄÖ. ?!", "- . -",
	} {
		f.Add("What's your phone number?", s)
		f.Add(s, "double five")
	}
	m := turn.NewText(nil)
	f.Fuzz(func(t *testing.T, agent, user string) {
		p, err := m.Predict(t.Context(), heard(agent, user), "en")
		if err != nil || math.IsNaN(p.Probability) || p.Probability <= 0 || p.Probability >= 1 {
			t.Fatalf("probability %v, %v", p.Probability, err)
		}
		again, err := m.Predict(t.Context(), heard(agent, user), "en")
		if err != nil || again.Probability != p.Probability {
			t.Fatalf("probability %v, then %v, %v", p.Probability, again.Probability, err)
		}
	})
}

func BenchmarkText(b *testing.B) {
	m := turn.NewText(nil)
	c := heard("What's your phone number?", "sure it's four one five five five five oh one")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := m.Predict(b.Context(), c, "en"); err != nil {
			b.Fatal(err)
		}
	}
}
