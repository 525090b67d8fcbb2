package phonic

import (
	"strings"
	"testing"
	"time"

	"github.com/parley-go/parley/internal/sandbox"
	"github.com/parley-go/parley/internal/sandbox/phonicbox"
	"github.com/parley-go/parley/internal/sandbox/stage"
	"github.com/parley-go/parley/realtime/realtimetest"
)

// skipped is what the provider has no way to do.
var skipped = map[string]string{
	"context":       "a conversation grows at its end only, and takes nothing that the assistant is to have said",
	"removed":       "what was said cannot be taken back",
	"failed once":   "the provider tells of no answers that failed",
	"failed always": "the provider tells of no answers that failed",
}

func TestConformance(t *testing.T) {
	t.Parallel()
	realtimetest.Run(t, realtimetest.Harness{
		Start: func(t testing.TB, s realtimetest.Scene) realtimetest.Provider {
			answer := s.Answer
			s.Answer = func(a realtimetest.Asked) realtimetest.Reply { return answer(unfold(a)) }
			box := sandbox.Start(t, s.Plan)
			return realtimetest.Provider{Driver: on(t, box, phonicbox.Options{Talk: stage.Talk(s)}, RealtimeOptions{}), Served: stage.Served(box)}
		},
		Speech: sandbox.EarSpeech(rate), Text: sandbox.EarText, Secret: sandbox.DefaultKey, Skip: skipped,
		Tolerance: time.Second, // of a busy machine; see TestTime
	})
}

// unfold takes what was said before a connection out of the instructions, where we put it.
func unfold(a realtimetest.Asked) realtimetest.Asked {
	instructions, lines, ok := strings.Cut(a.Instructions, "\n\n"+before+"\n")
	if !ok {
		return a
	}
	a.Instructions = instructions
	lines, more, _ := strings.Cut(lines, "\n\n")
	a.Instructions += more
	var turns []realtimetest.Turn
	for _, l := range strings.Split(lines, "\n") {
		role, text, _ := strings.Cut(l, ": ")
		turns = append(turns, realtimetest.Turn{Role: role, Text: text})
	}
	a.Turns = append(turns, a.Turns...)
	return a
}

// on is a driver on a sandbox.
func on(t testing.TB, box *sandbox.Server, bo phonicbox.Options, o RealtimeOptions) *converser {
	t.Helper()
	phonicbox.Converse(box, "/v1", bo)
	o.APIKey, o.BaseURL = box.Key, box.URL()+"/v1"
	d, err := newRealtime(&o)
	if err != nil {
		t.Fatal(err)
	}
	return d
}
