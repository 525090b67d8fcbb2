package providertest

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/parley-go/parley/internal/sandbox"
	"github.com/parley-go/parley/internal/sandbox/openaibox"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model/fault"
	"github.com/parley-go/parley/session"
)

func TestConversation(t *testing.T) {
	t.Parallel()
	ears, earBox := hearing(t, fault.Plan{})
	brain, brainBox := mind(t, fault.Plan{})
	mouth, mouthBox := voice(t, fault.Plan{})
	c := start(t, session.Options{STT: ears, LLM: brain, TTS: mouth})
	c.speak(800 * time.Millisecond)
	said := c.awaitMessages(2)
	if want := []string{"user: " + sandbox.EarText, "assistant: " + openaibox.ChatText}; !slices.Equal(said, want) {
		t.Errorf("the conversation was %q, want %q", said, want)
	}
	c.hangUp()
	bill(t, c, earBox, brainBox, mouthBox)
	if n := len(c.connections("stt")) * len(c.connections("llm")) * len(c.connections("tts")); n == 0 {
		t.Error("a model did not tell how it got its connection")
	}
}

// bill checks that the session's usage is what the providers would bill.
func bill(t *testing.T, c *call, stt, llm, tts *sandbox.Server) {
	t.Helper()
	if got, want := spent[metrics.TTSUsage](c).CharactersCount, tts.Characters(); got != want {
		t.Errorf("booked %d characters, the provider bills %d", got, want)
	}
	u, want := spent[metrics.LLMUsage](c), llm.LLM()
	if u.InputTokens != want.PromptTokens || u.OutputTokens != want.CompletionTokens {
		t.Errorf("booked %+v, the provider stated %+v", u, want)
	}
	if stt == nil {
		return
	}
	if got, want := spent[metrics.STTUsage](c).AudioDuration, stt.Audio(); (got - want).Abs() > time.Millisecond {
		t.Errorf("booked %v of heard audio, the provider bills %v", got, want)
	}
}

func TestDroppedSTTSocketIsDialledAgain(t *testing.T) {
	t.Parallel()
	for _, f := range []fault.Kind{fault.Reset, fault.HangUp, fault.Malformed} {
		t.Run(string(f), func(t *testing.T) {
			t.Parallel()
			ears, box := hearing(t, fault.Once(f))
			brain, brainBox := mind(t, fault.Plan{})
			mouth, mouthBox := voice(t, fault.Plan{})
			c := start(t, session.Options{STT: ears, LLM: brain, TTS: mouth})
			c.speak(800 * time.Millisecond) // the socket drops in the middle of it
			if said := c.awaitMessages(2); said[0] != "user: "+sandbox.EarText {
				t.Errorf("the user was understood as %q", said)
			}
			if e := c.failures("stt"); len(e) != 1 || !e[0].Recoverable || box.Dials() != 2 {
				t.Errorf("%d dials, error events %v", box.Dials(), e)
			}
			c.hangUp()
			// What is on its way to a connection that breaks is on nobody's account.
			if got, want := spent[metrics.STTUsage](c).AudioDuration, box.Audio(); got < want || got > want+100*time.Millisecond {
				t.Errorf("booked %v of heard audio, the provider bills %v", got, want)
			}
			bill(t, c, nil, brainBox, mouthBox)
		})
	}
}

// A session whose STT does not come back says so, again and again, and ends at last.
func TestDeafSessionTells(t *testing.T) {
	t.Parallel()
	ears, _ := hearing(t, fault.Always(fault.Refuse))
	c := start(t, session.Options{STT: ears})
	c.await("the close", func(es []session.Event) bool {
		return slices.ContainsFunc(es, func(e session.Event) bool {
			end, ok := e.(session.Closed)
			return ok && end.Reason == session.ReasonError && end.Err != nil
		})
	})
	final := 0
	for _, e := range c.failures("stt") {
		if !e.Recoverable {
			final++
		}
	}
	if final != 4 { // the budget of three, and the one that was too much
		t.Errorf("%d final errors", final)
	}
}

func TestVoiceThatFailsBeforeItIsHeardSaysItAll(t *testing.T) {
	t.Parallel()
	for f, times := range map[fault.Kind]int{
		fault.CloseEarly: 2, fault.ServerError: 2, // the connection that was to be ready for it, and the next
		fault.Empty: 1, fault.Malformed: 1, fault.Silence: 1,
	} {
		t.Run(string(f), func(t *testing.T) {
			t.Parallel()
			mouth, box := voice(t, fault.Plan{Kind: f, Times: times})
			c := start(t, session.Options{TTS: mouth})
			c.Say("All of this is to be heard.", nil)
			if said := c.awaitMessages(1); said[0] != "assistant: All of this is to be heard." {
				t.Errorf("said %q", said)
			}
			e := c.failures("tts")
			if len(e) != 1 || !e[0].Recoverable {
				t.Errorf("error events %v", e)
			}
			if segs := c.room.Out.Segments(); len(segs) != 1 || segs[0].Played < time.Second/2 {
				t.Errorf("heard %+v", segs)
			}
			c.hangUp()
			if got := spent[metrics.TTSUsage](c).CharactersCount; got != box.Characters() {
				t.Errorf("booked %d characters, the provider bills %d", got, box.Characters())
			}
		})
	}
}

func TestVoiceThatBreaksOffIsTold(t *testing.T) {
	t.Parallel()
	const text = "Nobody knows whether the last of these words will ever be heard by anybody."
	for _, f := range []fault.Kind{fault.Reset, fault.HangUp, fault.HalfOpen} {
		t.Run(string(f), func(t *testing.T) {
			t.Parallel()
			mouth, box := voice(t, fault.Once(f))
			c := start(t, session.Options{TTS: mouth})
			sp := c.Say(text, nil)
			said := strings.TrimPrefix(c.awaitMessages(1)[0], "assistant: ")
			if said == "" || said == text || !strings.HasPrefix(text, said) {
				t.Errorf("the history says %q", said)
			}
			if e := c.failures("tts"); len(e) != 1 || e[0].Recoverable {
				t.Errorf("error events %v", e)
			}
			if err := sp.Wait(t.Context()); err != nil || sp.Err() == nil {
				t.Errorf("the speech ended with %v, %v", err, sp.Err())
			}
			c.hangUp()
			if got := spent[metrics.TTSUsage](c).CharactersCount; got != box.Characters() {
				t.Errorf("booked %d characters, the provider bills %d", got, box.Characters())
			}
		})
	}
}

// The provider would take a minute for the rest of the first answer.
func TestInterruptedSynthesisDoesNotHoldUpTheNext(t *testing.T) {
	t.Parallel()
	mouth, box := voice(t, fault.Plan{Kind: fault.Slow, Times: -1})
	c := start(t, session.Options{TTS: mouth})
	c.Say(words(400), nil)
	for end := time.Now().Add(patience); c.room.Out.Played() < time.Second; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the agent does not speak")
		}
	}
	if err := c.Interrupt(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	idle(t, box) // the provider was told, and the connection is free again
	c.Say("Yes?", nil)
	said := c.awaitMessages(2)
	if said[1] != "assistant: Yes?" || len(said[0]) > len(words(200)) {
		t.Errorf("said %q", said)
	}
	if conns := c.connections("tts"); len(conns) != 2 || !conns[1].Reused || box.Dials() != 1 {
		t.Errorf("%d dials; %+v", box.Dials(), conns)
	}
}
