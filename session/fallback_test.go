package session_test

import (
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/agent"
	"github.com/parley-go/parley/llm"
	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/llm/driver"
	"github.com/parley-go/parley/llm/scripted"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/session"
	"github.com/parley-go/parley/stt"
	sttscripted "github.com/parley-go/parley/stt/scripted"
	"github.com/parley-go/parley/tts"
	ttsscripted "github.com/parley-go/parley/tts/scripted"
)

// broken is a language model that states what its input costs and then fails, and a voice that fails
// when it has the text.
func broken() (*scripted.LLM, *ttsscripted.TTS) {
	failure := &model.Error{Kind: model.KindConnection, Provider: "broken"}
	mind := scripted.New(&scripted.Options{
		Info: model.Info{Label: "broken.LLM", Provider: "broken", Model: "mind"},
		Respond: func(int, *driver.Request) scripted.Answer {
			return scripted.Answer{Chunks: []driver.Chunk{{Usage: &driver.Usage{PromptTokens: 7}}, {}}, Fault: &scripted.Fault{After: 1, Err: failure}}
		},
	})
	voice := ttsscripted.New(&ttsscripted.Options{
		Info:   model.Info{Label: "broken.TTS", Provider: "broken", Model: "voice"},
		Faults: []ttsscripted.Fault{{Call: -1, When: ttsscripted.AfterText, Characters: 3, Err: failure}},
	})
	return mind, voice
}

// The first language model and the first voice fail in a turn; the user hears the answer in that turn.
func TestC110FallbackWithinTheTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Text: "Good day to you"}, scripted.Answer{Text: "Bye bye"})
		mind, voice := broken()
		c.opt.LLM = llm.Fallback(nil, llm.New(mind, nil), c.opt.LLM)
		c.opt.TTS = tts.Fallback(&tts.FallbackOptions{Conn: model.ConnOptions{MaxRetry: -1}}, tts.New(voice, nil), c.opt.TTS)
		c.start(nil)
		c.says(1, 2, "Hello")
		c.says(8, 9, "Bye")
		c.until(14)
		rep := c.close()

		c.wantHistory("handoff  -> default_agent", "user: Hello", "assistant: Good day to you", "user: Bye", "assistant: Bye bye")
		if n := len(c.room.Out.Segments()); n != 2 {
			t.Errorf("%d segments were heard", n)
		}
		for it := range c.s.History().All() {
			if m, ok := it.(*chat.Message); ok && m.Role == chat.Assistant {
				if x := m.Metrics; x.LLM.ModelProvider != "scripted" || x.TTS.ModelName != "tts" {
					t.Errorf("%q was thought by %v and said by %v", m.Text(), x.LLM, x.TTS)
				}
			}
		}
		var told []string
		for _, e := range c.events {
			switch e := e.(type) {
			case session.ModelAvailabilityChanged:
				told = append(told, e.EventType()+" "+e.Info.Label)
				if e.Available {
					t.Errorf("%s is said to work", e.Info.Label)
				}
			case session.ErrorOccurred:
				if !e.Recoverable {
					t.Errorf("error %v is final", e.Err)
				}
			}
		}
		if want := "llm_availability_changed broken.LLM, tts_availability_changed broken.TTS"; len(told) != 2 || told[0]+", "+told[1] != want {
			t.Errorf("told %q", told)
		}

		first, _ := rep.Usage.LLM("broken", "mind")
		if stated := mind.Stated(); first.InputTokens != stated.PromptTokens || first.InputTokens != 7 {
			t.Errorf("usage of the first language model %+v, it stated %+v", first, stated)
		}
		second, _ := rep.Usage.LLM("scripted", "scripted")
		if stated := c.llm.Stated(); second.InputTokens != stated.PromptTokens || second.OutputTokens != stated.CompletionTokens || second.OutputTokens == 0 {
			t.Errorf("usage of the second language model %+v, it stated %+v", second, stated)
		}
		spoken, _ := rep.Usage.TTS("broken", "voice")
		if n := voice.Ledger().Characters; spoken.CharactersCount != n || n == 0 {
			t.Errorf("usage of the first voice %+v, it got %d characters", spoken, n)
		}
		spoken, _ = rep.Usage.TTS("script", "tts")
		if spoken.CharactersCount != c.tts.chars || len("Good day to youBye bye") != int(c.tts.chars) {
			t.Errorf("usage of the second voice %+v, it got %d characters", spoken, c.tts.chars)
		}
	})
}

// All models fail at first. The next turn is answered, and the session does not end.
func TestFallbackWithoutAnybodyIsAnErrorOfTheTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Fault: &scripted.Fault{InChat: true, Err: &model.Error{Kind: model.KindStatus, Status: 500}}}, scripted.Answer{Text: "Bye bye"})
		mind, _ := broken()
		c.opt.LLM = llm.Fallback(nil, llm.New(mind, nil), c.opt.LLM)
		c.start(&agent.Agent{})
		c.says(1, 2, "Hello")
		c.says(6, 7, "Bye")
		c.until(12)
		c.close()
		c.wantHistory("handoff  -> default_agent", "user: Hello", "user: Bye", "assistant: Bye bye")
		var changes []bool
		final := 0
		for _, e := range c.events {
			switch e := e.(type) {
			case session.ModelAvailabilityChanged:
				changes = append(changes, e.Available)
			case session.ErrorOccurred:
				if !e.Recoverable {
					final++
				}
			}
		}
		if len(changes) != 3 || !changes[2] || final != 1 {
			t.Errorf("availability changed to %v, %d final errors", changes, final)
		}
	})
}

// A probe is not heard, and is booked in the session that passed over the model.
func TestFallbackProbeIsNotHeard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Text: "Good day to you"}, scripted.Answer{Text: "Bye bye"})
		mind := scripted.New(&scripted.Options{
			Info: model.Info{Label: "first.LLM", Provider: "first", Model: "mind"},
			Answers: []scripted.Answer{
				{Fault: &scripted.Fault{InChat: true, Err: &model.Error{Kind: model.KindStatus, Status: 503}}},
				{Text: "I am back", TTFT: 2 * time.Second},
				{Text: "And here I am"},
			},
		})
		c.opt.LLM = llm.Fallback(nil, llm.New(mind, nil), c.opt.LLM)
		c.start(nil)
		c.says(1, 2, "Hello")
		c.says(14, 15, "Bye")
		c.says(21, 22, "Are you there?")
		c.until(28)
		rep := c.close()
		c.wantHistory("handoff  -> default_agent", "user: Hello", "assistant: Good day to you", "user: Bye", "assistant: Bye bye", "user: Are you there?", "assistant: And here I am")
		for it := range c.s.History().All() {
			m, ok := it.(*chat.Message)
			if want := "scripted"; ok && m.Role == chat.Assistant {
				if m.Text() == "And here I am" {
					want = "first"
				}
				if got := m.Metrics.LLM.ModelProvider; got != want {
					t.Errorf("%q is said to be by %s, want %s", m.Text(), got, want)
				}
			}
		}
		used, _ := rep.Usage.LLM("first", "mind")
		if stated := mind.Stated(); used.InputTokens != stated.PromptTokens || used.OutputTokens != stated.CompletionTokens || used.OutputTokens != 7 {
			t.Errorf("usage %+v, the model stated %+v", used, stated)
		}
	})
}

// The recogniser fails while the user speaks. Another one hears all of it.
func TestC112FallbackWhileTheUserSpeaks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Text: "Good day to you"})
		first := sttscripted.New(&sttscripted.Options{
			Info:   model.Info{Label: "broken.STT", Provider: "broken", Model: "ears"},
			Faults: []sttscripted.Fault{{Call: 0, After: 1500 * time.Millisecond}, {Call: 1}},
		})
		c.opt.STT = stt.Fallback(nil, stt.New(first, nil), c.opt.STT)
		c.start(nil)
		c.says(1, 2, "Hello")
		c.until(8)
		rep := c.close()
		c.wantHistory("handoff  -> default_agent", "user: Hello", "assistant: Good day to you")
		used, _ := rep.Usage.STT("broken", "ears")
		if n := first.Ledger().Audio; used.AudioDuration != n || n == 0 {
			t.Errorf("usage of the first recogniser %+v, it got %v", used, n)
		}
		used, _ = rep.Usage.STT("script", "stt")
		if used.AudioDuration != c.stt.heard {
			t.Errorf("usage of the second recogniser %+v, it got %v", used, c.stt.heard)
		}
		told := 0
		for _, e := range c.events {
			if x, ok := e.(session.ModelAvailabilityChanged); ok && x.EventType() == "stt_availability_changed" && !x.Available {
				told++
			}
		}
		if told != 1 {
			t.Errorf("told %d times that the recogniser fails", told)
		}
		data, err := json.Marshal(rep)
		if err != nil || !strings.Contains(string(data), `{"available":false,"created_at"`) {
			t.Errorf("the report does not say so: %v", err)
		}
	})
}
