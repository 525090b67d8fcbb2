package providertest

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/parley-go/parley/agent"
	"github.com/parley-go/parley/internal/sandbox"
	"github.com/parley-go/parley/internal/sandbox/openaibox"
	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model/fault"
	"github.com/parley-go/parley/plugins/openai"
	"github.com/parley-go/parley/realtime"
	"github.com/parley-go/parley/session"
)

// talker is a realtime model on a sandbox, which notes what it knew and where it cut its answers.
type talker struct {
	*realtime.Model
	box *sandbox.Server

	mu  sync.Mutex
	cut map[string]time.Duration
	// knew is the conversation before each answer.
	knew [][]sandbox.Turn
}

// talkerOf makes a realtime model of the service, which gives the answers one after the other, and the last one again.
func talkerOf(t *testing.T, service openai.Service, answers ...string) *talker {
	t.Helper()
	x := &talker{box: sandbox.Start(t, fault.Plan{}), cut: map[string]time.Duration{}}
	o := openaibox.ConverseOptions{Provider: "127.0.0.1", Cut: x.note}
	if service == openai.XAI {
		o.Provider, o.Form = "xai", openaibox.XAI
	}
	o.Answer = func(r sandbox.TalkRequest) sandbox.Reply {
		x.mu.Lock()
		defer x.mu.Unlock()
		x.knew = append(x.knew, slices.Clone(r.Turns))
		return sandbox.Reply{Text: answers[min(len(x.knew), len(answers))-1]}
	}
	openaibox.Converse(x.box, "/v1", o)
	var err error
	if x.Model, err = openai.NewRealtime(&openai.RealtimeOptions{
		Service: service, APIKey: x.box.Key, BaseURL: x.box.URL() + "/v1", Front: &realtime.ModelOptions{Conn: conn},
	}); err != nil {
		t.Fatal(err)
	}
	return x
}

func (x *talker) note(item string, heard time.Duration) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.cut[item] = heard
}

// known is what the model knew before the answer number n.
func (x *talker) known(n int) []sandbox.Turn {
	x.mu.Lock()
	defer x.mu.Unlock()
	if n >= len(x.knew) {
		return nil
	}
	return x.knew[n]
}

// The history and the provider remember of an answer that was spoken over the same: what was heard.
func TestRealtimeCutWhereItWasHeard(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("All lights of the house are on now. ", 10)
	x := talkerOf(t, openai.OpenAI, long, sandbox.TalkText)
	c := start(t, session.Options{Realtime: x.Model})
	c.speak(600 * time.Millisecond)
	c.await("the answer", func(list []session.Event) bool {
		return slices.ContainsFunc(list, func(e session.Event) bool {
			s, ok := e.(session.AgentStateChanged)
			return ok && s.New == agent.Speaking
		})
	})
	c.hear(300 * time.Millisecond) // some words
	c.speak(600 * time.Millisecond)
	c.awaitMessages(4)
	var cut *chat.Message
	for m := range c.History().Messages() {
		if m.Role == chat.Assistant && m.Interrupted {
			cut = m
		}
	}
	if cut == nil || cut.Metrics.AudioPlayed == nil || !strings.HasPrefix(long, cut.Text()) {
		t.Fatalf("history is %q; the answer that was cut is %+v", c.said(), cut)
	}
	heard := cut.Metrics.AudioPlayed.Truncate(time.Millisecond)
	x.mu.Lock()
	at := x.cut[cut.ID]
	x.mu.Unlock()
	if heard <= 0 || at != heard {
		t.Errorf("%v were heard, the provider cut at %v", heard, at)
	}
	knew := x.known(1)
	if len(knew) != 3 || knew[1].Role != "assistant" || knew[1].Audio != heard {
		t.Errorf("the next answer knew %+v", knew)
	}
}

// xAI bills the time of connections, and says what it is told to.
func TestRealtimeSayAndTime(t *testing.T) {
	t.Parallel()
	x := talkerOf(t, openai.XAI, sandbox.TalkText)
	c := start(t, session.Options{Realtime: x.Model})
	sp := c.Say("Good evening.", nil)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := sp.Wait(ctx); err != nil {
		t.Fatal(err)
	}
	c.speak(600 * time.Millisecond)
	got := c.awaitMessages(3)
	if want := []string{"assistant: Good evening.", "user: " + sandbox.EarText, "assistant: " + sandbox.TalkText}; !slices.Equal(got, want) {
		t.Errorf("history is %q, want %q", got, want)
	}
	c.hangUp()
	idle(t, x.box)
	u := spent[metrics.LLMUsage](c)
	var billed time.Duration
	for _, m := range x.box.Ledger.Billed().Models {
		if l, ok := m.(metrics.LLMUsage); ok {
			billed += l.SessionDuration
		}
	}
	if d := (u.SessionDuration - billed).Abs(); billed < time.Second || d > 500*time.Millisecond || u.InputTokens+u.OutputTokens != 0 {
		t.Errorf("the session has used %+v, the provider bills %v", u, billed)
	}
}
