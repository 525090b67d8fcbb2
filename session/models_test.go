package session_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/parley-go/parley/agent"
	"github.com/parley-go/parley/llm"
	"github.com/parley-go/parley/llm/driver"
	"github.com/parley-go/parley/llm/scripted"
	"github.com/parley-go/parley/session"
	"github.com/parley-go/parley/session/sessiontest"
	"github.com/parley-go/parley/stt"
	"github.com/parley-go/parley/tts"
)

// gateway makes models by name, and knows which of them were closed.
type gateway struct {
	c      *call
	made   []string
	closed int
	err    error
}

func (g *gateway) note(name string) error {
	if g.made = append(g.made, name); strings.HasPrefix(name, "unknown/") {
		return g.err
	}
	return nil
}

func (g *gateway) STT(name string) (*stt.Model, error) {
	return stt.New(g.c.stt, nil), g.note(name)
}

func (g *gateway) LLM(name string) (*llm.Model, error) {
	if err := g.note(name); err != nil {
		return nil, err
	}
	return llm.New(closingLLM{g.c.llm, g}, nil), nil
}

func (g *gateway) TTS(name string) (*tts.Model, error) {
	return tts.New(closingTTS{g.c.tts, g}, nil), g.note(name)
}

type closingLLM struct {
	*scripted.LLM
	g *gateway
}

func (m closingLLM) Close() error { m.g.closed++; return nil }

type closingTTS struct {
	*ttsScript
	g *gateway
}

func (m closingTTS) Close(context.Context) error { m.g.closed++; return nil }

var _ driver.LLM = closingLLM{}

func TestModelsByName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Text: "Good day to you"}, scripted.Answer{Text: "Bye bye"})
		g := &gateway{c: c}
		c.opt.STT, c.opt.LLM, c.opt.TTS = nil, nil, nil
		c.opt.Models, c.opt.Gateway = session.Models{STT: "a/ear:en", LLM: "b/mind", TTS: "c/voice:kim"}, g
		c.start(nil)
		c.says(1, 2, "Hello")
		c.until(6)
		c.close()
		c.wantHistory("handoff  -> default_agent", "user: Hello", "assistant: Good day to you")
		if got := strings.Join(g.made, " "); got != "a/ear:en b/mind c/voice:kim" || g.closed != 2 {
			t.Errorf("made %s and closed %d, want all, and the two that can be closed", got, g.closed)
		}
		// Another start makes them again.
		if err := c.s.Start(t.Context(), &agent.Agent{}, sessiontest.New()); err != nil {
			t.Fatal(err)
		}
		c.close()
		if len(g.made) != 6 || g.closed != 4 {
			t.Errorf("made %v and closed %d after another start", g.made, g.closed)
		}
	})
}

func TestModelsThatCannotBeMade(t *testing.T) {
	failure := errors.New("set KEY")
	for name, c := range map[string]struct {
		change func(o *session.Options, g *gateway)
		want   string
		closed int
	}{
		"no gateway":  {func(o *session.Options, _ *gateway) { o.Models.LLM = "b/mind" }, "Options.Gateway", 0},
		"nil gateway": {func(o *session.Options, _ *gateway) { o.Models.LLM, o.Gateway = "b/mind", (*gateway)(nil) }, "Options.Gateway", 0},
		"both": {func(o *session.Options, g *gateway) { o.Models.STT, o.Gateway = "a/ear", g },
			"both Options.STT and Options.Models.STT are set", 0},
		"refused": {func(o *session.Options, g *gateway) {
			o.LLM, o.TTS, o.Gateway = nil, nil, g
			o.Models = session.Models{LLM: "unknown/mind", TTS: "c/voice"}
		}, `LLM model "unknown/mind": set KEY`, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := &gateway{c: &call{stt: &sttScript{}, llm: scripted.New(nil), tts: &ttsScript{}}, err: failure}
				o := session.Options{STT: stt.New(g.c.stt, nil)}
				c.change(&o, g)
				err := session.New(o).Start(t.Context(), &agent.Agent{}, nil)
				if err == nil || !strings.Contains(err.Error(), c.want) || g.closed != c.closed {
					t.Errorf("error is %v, want one with %s; %d models closed, want %d", err, c.want, g.closed, c.closed)
				}
			})
		})
	}
}
