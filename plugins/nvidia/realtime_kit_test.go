package nvidia

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/parley-go/parley/internal/sandbox"
	"github.com/parley-go/parley/internal/sandbox/nvidiabox"
	"github.com/parley-go/parley/internal/sandbox/stage"
	"github.com/parley-go/parley/internal/wire"
	"github.com/parley-go/parley/realtime/driver"
	"github.com/parley-go/parley/realtime/realtimetest"
)

// dialled is a driver whose connections are made in memory.
type dialled struct {
	driver.Realtime
	dial wire.DialFunc
}

// Connect implements driver.Realtime.
func (d dialled) Connect(ctx context.Context, s *driver.Setup) (driver.Conn, error) {
	return d.Realtime.Connect(wire.WithDial(ctx, d.dial), s)
}

// reads is a model that takes the conversation out of its prompt.
func reads(t sandbox.Talk) sandbox.Talk {
	answer := t.Answer
	t.Answer = func(r sandbox.TalkRequest) sandbox.Reply {
		prompt, before, _ := strings.Cut(r.Instructions, " The conversation so far: ")
		r.Instructions = prompt
		var turns []sandbox.Turn
		for before != "" {
			role := "user"
			rest, ok := strings.CutPrefix(before, "User: ")
			if !ok {
				role, rest = "assistant", strings.TrimPrefix(before, "You: ")
			}
			end := len(rest)
			for _, next := range []string{" User: ", " You: "} {
				if i := strings.Index(rest, next); i >= 0 && i < end {
					end = i
				}
			}
			turns = append(turns, sandbox.Turn{Role: role, Text: rest[:end]})
			before = strings.TrimSpace(rest[end:])
		}
		r.Turns = append(turns, r.Turns...)
		return answer(r)
	}
	return t
}

func TestRealtimeConformance(t *testing.T) {
	noNews, noTools := "the server does not tell when the user speaks", "the model calls no tools"
	never := "the server's answers do not fail"
	h := realtimetest.Harness{
		Start: func(t testing.TB, s realtimetest.Scene) realtimetest.Provider {
			box, dial := sandbox.InMemory(t)
			t.Cleanup(func() { _ = box.Close() })
			box.Plan(s.Plan)
			nvidiabox.Converse(box, "", nvidiabox.ConverseOptions{Talk: reads(stage.Talk(s))})
			return realtimetest.Provider{Driver: dialled{made(t, box, RealtimeOptions{}), dial}, Served: func() realtimetest.Served {
				served := stage.Served(box)()
				served.Open += box.Open() // until it is billed
				return served
			}}
		},
		Speech: speech(), Text: sandbox.EarText, Secret: sandbox.DefaultKey,
		Skip: map[string]string{
			"spoken over": noNews, "reconnect in a turn": noNews,
			"tool call": noTools, "words and two calls": noTools, "tools": noTools, "no tools": noTools, "reconnect": noTools, "max age": noTools,
			"text only": "the model always speaks", "two sessions": "the server holds one conversation at a time",
			"failed once": never, "failed always": never,
		},
	}
	for _, c := range realtimetest.Cases() {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { c.Run(t, h) })
		})
	}
}
