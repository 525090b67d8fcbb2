package session_test

import (
	"testing"
	"testing/synctest"

	"github.com/parley-go/parley/llm/scripted"
	"github.com/parley-go/parley/opt"
	"github.com/parley-go/parley/tokenize"
)

func TestC125TextTransformsShapeOnlyWhatIsSpoken(t *testing.T) {
	const text = "**Ann** lives in Leicester 😀 today"
	replace := tokenize.Replace(map[string]string{"leicester": "Lester"})
	for want, o := range map[string]opt.Value[[]tokenize.Transform]{
		"Ann lives in Leicester today":         {},
		text:                                   opt.Off[[]tokenize.Transform](),
		"**Ann** lives in Lester 😀 today":      opt.Some([]tokenize.Transform{replace}),
		"Ann lives in Lester \U0001F600 today": opt.Some([]tokenize.Transform{tokenize.StripMarkdown, replace}),
	} {
		synctest.Test(t, func(t *testing.T) {
			c := newCall(t, scripted.Answer{Text: text})
			c.opt.TextTransforms = o
			c.start(nil)
			c.says(0.5, 2.5, "Where?")
			c.until(10)
			if got := c.tts.pushed(); got != want {
				t.Errorf("spoken %q, want %q", got, want)
			}
			c.wantHistory("handoff  -> default_agent", "user: Where?", "assistant: "+text)
			c.close()
		})
	}
}
