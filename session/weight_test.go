package session

import (
	"strings"
	"testing"
	"time"

	"github.com/parley-go/parley/tts"
)

func TestC126MarkupTakesNoTime(t *testing.T) {
	for text, want := range map[string]float64{
		"Hello": 5, "**Hello**": 5, "日本": 6, "": 0, "a < b": 2, "3<4": 2, "x <b": 1 + 0 + 1,
		`<emotion value="happy"/>Hello`:        5,
		`<a> one </a>`:                         3,
		"<" + strings.Repeat("x", 400) + ">":   400, // nobody writes such a tag
		`<break time="1s"/> <break time="2s">`: 0,
	} {
		if got := weigh(text); got != want {
			t.Errorf("%q weighs %v, want %v", text, got, want)
		}
	}
	var x transcript
	x.addText(`One <break time="1 second"/> two <emotion value="very happy"/> three four`)
	x.endText()
	x.addAudio(&tts.Audio{Frame: frame(4 * time.Second)})
	x.endAudio()
	for _, step := range []struct {
		at   time.Duration
		want string
	}{
		{time.Second, `One <break time="1 second"/>`}, {1800 * time.Millisecond, `One <break time="1 second"/> two <emotion value="very happy"/>`},
		{4 * time.Second, `One <break time="1 second"/> two <emotion value="very happy"/> three four`},
	} {
		x.advance(step.at)
		if got := x.heard(); got != step.want {
			t.Errorf("at %v: %q, want %q", step.at, got, step.want)
		}
	}
}

func TestC126MarkupAlone(t *testing.T) {
	for _, text := range []string{"<break/>", "**", "...", `<a b="c">`} {
		for _, words := range [][]tts.Word{nil, {{Text: "", Start: 0, End: 0}}} {
			var x transcript
			x.addText(text)
			x.addAudio(&tts.Audio{Frame: frame(time.Second), Words: words})
			for at := range 12 {
				if got := x.advance(time.Duration(at) * 100 * time.Millisecond); got != "" {
					t.Errorf("%q was heard at %v", got, at)
				}
				if at == 6 {
					x.endText()
					x.endAudio()
				}
			}
			if got := x.rest(); got != text {
				t.Errorf("in the end %q, want %q", got, text)
			}
		}
	}
}

func TestMarksBeforeTheFirstWordComeWithIt(t *testing.T) {
	var x transcript
	x.addText("- One two three")
	x.endText()
	x.addAudio(&tts.Audio{Frame: frame(3 * time.Second)})
	x.endAudio()
	if got := x.advance(200 * time.Millisecond); got != "" {
		t.Errorf("heard %q before the first word", got)
	}
	x.advance(1200 * time.Millisecond)
	if got := x.heard(); got != "- One" {
		t.Errorf("heard %q", got)
	}
}

func TestC116WordTimesThatStop(t *testing.T) {
	var x transcript
	x.addText("One two three four.")
	x.endText()
	x.addAudio(&tts.Audio{Frame: frame(time.Second), Words: []tts.Word{{Text: "One", End: 500 * time.Millisecond}, {Text: "two", Start: 500 * time.Millisecond, End: time.Second}}})
	x.addAudio(&tts.Audio{Frame: frame(2 * time.Second)})
	x.advance(1400 * time.Millisecond)
	if got := x.heard(); got != "One two" {
		t.Errorf("in a pause: %q", got)
	}
	x.advance(1800 * time.Millisecond) // longer than any pause: the usual rate
	if got := x.heard(); got != "One two three" {
		t.Errorf("after the last time: %q", got)
	}
	x.endAudio()
	x.advance(2800 * time.Millisecond) // the rest of the text lies evenly in the rest of the audio
	if got := x.heard(); got != "One two three four." {
		t.Errorf("near the end: %q", got)
	}
}
