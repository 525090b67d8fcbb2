package llmtest

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/parley-go/parley/llm"
	"github.com/parley-go/parley/llm/driver"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model"
)

var weather = llm.NewRawTool(Tool, "Look up the weather for a place the user names.",
	json.RawMessage(`{"type":"object","properties":{"location":{"type":"string"}},"required":["location"]}`),
	func(context.Context, any, json.RawMessage) (any, error) { return nil, nil })

// patience is the timeout of requests whose provider does not answer; short, since with sockets
// it is real time.
const patience = 500 * time.Millisecond

// kit is one case at work.
type kit struct {
	*testing.T
	c     testCase
	stage *Stage
	model *llm.Model
	ctx   context.Context

	mu     sync.Mutex
	events []*metrics.LLM
	conns  []*metrics.Connection
	errs   []model.ErrorEvent
}

func newKit(t *testing.T, c testCase, st *Stage) *kit {
	k := &kit{T: t, c: c, stage: st, model: llm.New(st.LLM, nil)}
	k.ctx = model.WithHooks(metrics.WithRecorder(t.Context(), k), &model.Hooks{
		OnError: func(_ context.Context, e model.ErrorEvent) {
			k.mu.Lock()
			defer k.mu.Unlock()
			k.errs = append(k.errs, e)
		},
	})
	return k
}

// Record implements metrics.Recorder.
func (k *kit) Record(_ context.Context, e metrics.Event) {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch e := e.(type) {
	case *metrics.LLM:
		k.events = append(k.events, e)
	case *metrics.Connection:
		k.conns = append(k.conns, e)
	}
}

// broken reports what was seen against the sentence of the case.
func (k *kit) broken(format string, args ...any) {
	k.Helper()
	k.Errorf("expected: %s\nbut: "+format, append([]any{k.c.rule}, args...)...)
}

// chat sends the case's request with so many retries.
func (k *kit) chat(retries int) *llm.Stream {
	r := request(k.c.scene.Tool)
	if retries == 0 {
		retries = -1
	}
	r.Conn = &model.ConnOptions{MaxRetry: retries, RetryInterval: 10 * time.Millisecond, Timeout: 10 * time.Second}
	if k.c.scene.Fault.Hangs() {
		r.Conn.Timeout = patience
	}
	return k.model.Chat(k.ctx, r)
}

// text fails the case unless the answer is whole.
func (k *kit) text(s *llm.Stream) {
	k.Helper()
	text, calls, err := s.Collect()
	switch {
	case err != nil:
		k.broken("the request failed: %v", err)
	case len(calls) != 0:
		k.broken("tools were called: %+v", calls)
	case len(strings.Fields(text)) == 0:
		k.broken("there was no text")
	case k.stage.Text != "" && text != k.stage.Text:
		k.broken("the text was %q, not %q", text, k.stage.Text)
	}
}

// failure fails the case unless the request did, with an error of that kind.
func (k *kit) failure(s *llm.Stream, kind model.ErrorKind) (string, *model.Error) {
	k.Helper()
	text, _, err := s.Collect()
	if err == nil {
		k.broken("the request succeeded with %q", text)
		return text, &model.Error{}
	}
	for _, secret := range k.stage.Secrets {
		if secret != "" && strings.Contains(err.Error(), secret) {
			k.Errorf("the error gives a secret away")
		}
	}
	var e *model.Error
	if !errors.As(err, &e) {
		k.broken("the error is a %T, not a *model.Error: %v", err, err)
		return text, &model.Error{}
	}
	if e.Kind != kind {
		k.broken("the error is of kind %q, not %q: %v", e.Kind, kind, err)
	}
	if want := k.model.Info().Provider; e.Provider != want {
		k.broken("the error names provider %q, not %q", e.Provider, want)
	}
	return text, e
}

// event is the one metrics event of the case.
func (k *kit) event() *metrics.LLM {
	k.Helper()
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.events) != 1 {
		k.Fatalf("expected: %s\nbut: there were %d metrics events instead of one", k.c.rule, len(k.events))
	}
	return k.events[0]
}

// booked compares the event with the provider's ledger.
func (k *kit) booked() {
	k.Helper()
	e := k.event()
	if e.Source == metrics.Estimated {
		k.estimated()
		return
	}
	if k.stage.Usage == nil {
		return
	}
	got := driver.Usage{
		PromptTokens: e.PromptTokens, PromptCachedTokens: e.PromptCachedTokens, CacheCreationTokens: e.CacheCreationTokens,
		CompletionTokens: e.CompletionTokens, TotalTokens: e.TotalTokens,
	}
	want := k.stage.Usage()
	want.Measured, want.Partial, want.Raw = false, false, ""
	if got != want {
		k.broken("%+v was booked, and %+v is what the provider stated", got, want)
	}
}

// estimated compares the event roughly with what the provider bills: by half, and by ten tokens, since
// the model has not told anything to learn from, and what is on its way to a connection that breaks is
// billed and does not come.
func (k *kit) estimated() {
	k.Helper()
	if k.stage.Billed == nil {
		return
	}
	e := k.event()
	near := func(got, want int64) bool { return max(got-want, want-got) <= want/2+10 }
	want, ok := k.billed(func(want driver.Usage) bool {
		return near(e.PromptTokens, want.PromptTokens) && near(e.CompletionTokens, want.CompletionTokens)
	})
	if !ok || e.TotalTokens == 0 {
		k.broken("%d and %d tokens were booked, from %s, and the provider bills %d and %d",
			e.PromptTokens, e.CompletionTokens, e.Source, want.PromptTokens, want.CompletionTokens)
	}
}

// billed is the provider's bill once it is as it should be, or what it still is after 5 s: a provider may bill
// when it has noticed that we left, and after its last word.
func (k *kit) billed(right func(driver.Usage) bool) (u driver.Usage, ok bool) {
	for range 500 {
		if u = k.stage.Billed(); u.TotalTokens > 0 && right(u) {
			return u, true
		}
		time.Sleep(10 * time.Millisecond)
	}
	return u, false
}

// attempts fails the case unless so many attempts failed and were reported.
func (k *kit) attempts(failed int) {
	k.Helper()
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.errs) != failed {
		k.broken("%d failed attempts were reported, not %d: %+v", len(k.errs), failed, k.errs)
	}
}
