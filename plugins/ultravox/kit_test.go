package ultravox

import (
	"strings"
	"testing"
	"time"

	"github.com/parley-go/parley/internal/sandbox"
	"github.com/parley-go/parley/internal/sandbox/stage"
	"github.com/parley-go/parley/internal/sandbox/ultravoxbox"
	"github.com/parley-go/parley/realtime/realtimetest"
)

// skipped is what the provider has no way to do.
var skipped = map[string]string{
	"context":       "a call grows at its end only, and takes nothing that the assistant is to have said",
	"removed":       "what was said cannot be taken back",
	"withdrawn":     "the provider names no requests: the end of an answer that was stopped before it began may be taken for that of the next, which is asked for again",
	"failed once":   "the provider tells of no answers that failed",
	"failed always": "the provider tells of no answers that failed",
}

func TestConformance(t *testing.T) {
	t.Parallel()
	realtimetest.Run(t, realtimetest.Harness{
		Start: func(t testing.TB, s realtimetest.Scene) realtimetest.Provider {
			answer := s.Answer
			s.Answer = func(a realtimetest.Asked) realtimetest.Reply {
				a.Instructions = strings.TrimSuffix(a.Instructions, "\n\n"+about) // which is ours
				return answer(a)
			}
			box := sandbox.Start(t, s.Plan)
			return realtimetest.Provider{Driver: on(t, box, ultravoxbox.Options{Talk: stage.Talk(s)}, RealtimeOptions{}), Served: stage.Served(box)}
		},
		Speech: sandbox.EarSpeech(defaultInput), Text: sandbox.EarText, Secret: sandbox.DefaultKey, Skip: skipped,
		Tolerance: time.Second, // of a busy machine; see TestTime
	})
}

// on is a driver on a sandbox.
func on(t testing.TB, box *sandbox.Server, bo ultravoxbox.Options, o RealtimeOptions) *converser {
	t.Helper()
	ultravoxbox.Converse(box, "/api", bo)
	o.APIKey, o.BaseURL = box.Key, box.URL()+"/api"
	d, err := newRealtime(&o)
	if err != nil {
		t.Fatal(err)
	}
	return d
}
