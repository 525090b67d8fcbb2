package teller

import (
	"context"
	"errors"
	"io"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/parley-go/parley/internal/modeltest"
	"github.com/parley-go/parley/internal/wire"
	llm "github.com/parley-go/parley/llm/driver"
	"github.com/parley-go/parley/realtime/driver"
)

// told is what is ready to be told.
func told(t *Teller) []string {
	var all []driver.Event
	for {
		e, err := t.Next(context.Background(), func(context.Context) (wire.Message, error) { return wire.Message{}, io.EOF }, nil)
		if err != nil {
			return modeltest.Told(all)
		}
		all = append(all, e)
	}
}

func TestAnswers(t *testing.T) {
	pcm := make([]byte, 480) // 10 ms
	for _, c := range []struct {
		name string
		text bool
		do   func(t *Teller)
		want []string
	}{
		{"spoken", false, func(t *Teller) {
			t.Begin()
			t.Text("Hel")
			t.Audio(pcm)
			t.Said("Hello.")
			t.Said("Help")
			t.End()
			t.End()
		},
			[]string{"created a for ", "message b of a text=false", `text b "Hel"`, "audio b 10ms", `text b "lo."`, "whole b", "done a for  completed"}},
		{"written", true, func(t *Teller) { t.Audio(pcm); t.Text("Hello."); t.Text(""); t.End() },
			[]string{"created a for ", "message b of a text=true", `text b "Hello."`, "whole b", "done a for  completed"}},
		{"asked", false, func(t *Teller) {
			t.Ask("one")
			t.Ask("two")
			t.Text("A")
			t.End()
			t.Text("B")
			t.Begin()
			t.Begin()
			t.End()
		},
			[]string{"created a for one", "message b of a text=false", `text b "A"`, "whole b", "done a for one completed",
				"created c for two", "message d of c text=false", `text d "B"`, "whole d", "done c for two completed",
				"created e for ", "done e for  cancelled"}},
		{"call", false, func(t *Teller) { t.Text("A"); t.Call(llm.ToolCall{CallID: "c", Name: "f", Arguments: "{}"}) },
			[]string{"created a for ", "message b of a text=false", `text b "A"`, "call of a: c f({})", "whole b", "done a for  completed"}},
		{"interrupted", false, func(t *Teller) { t.Interrupted(); t.Text("A"); t.Interrupted(); t.Interrupted(); t.End() },
			[]string{"created a for ", "message b of a text=false", `text b "A"`, "interrupted a", "whole b", "done a for  cancelled"}},
		{"cut", false, func(t *Teller) {
			t.Ask("one")
			t.Ask("two")
			t.Begin()
			t.Cut()
			t.Interrupted()
			t.Begin()
			t.End()
		},
			[]string{"created a for one", "done a for one cancelled", "created b for ", "done b for  cancelled"}},
		{"call after a cut", false, func(t *Teller) {
			t.Text("A")
			t.Cut()
			t.Ask("one")
			t.Call(llm.ToolCall{CallID: "c", Name: "f", Arguments: "{}"})
		},
			[]string{"created a for ", "message b of a text=false", `text b "A"`, "whole b", "done a for  cancelled",
				"created c for one", "call of c: c f({})", "done c for one completed"}},
		{"declined", false, func(t *Teller) { t.Declined(); t.Begin(); t.Declined(); t.Ask("one"); t.Declined() },
			[]string{"created a for ", "done a for  completed", "created b for one", "done b for one completed"}},
		{"refused", false, func(t *Teller) { t.Ask("one"); t.Refused(io.EOF); t.Refused(io.EOF) },
			[]string{"error of one: EOF", "error of : EOF"}},
		{"user", false, func(t *Teller) {
			t.SpeechStopped()
			t.SpeechStarted()
			t.SpeechStarted()
			t.Heard("I", "en", false)
			t.SpeechStopped()
			t.SpeechStarted()
			t.Heard("I am", "en", true)
			t.SpeechStopped()
			t.Heard("here", "en", true)
			t.Heard("too", "en", true)
		}, []string{"speech started", `heard a "I" en final=false`, "speech stopped a", "speech started", `heard a "I am" en final=true`,
			"speech stopped b", `heard b "here" en final=true`, `heard c "too" en final=true`}},
	} {
		x := New(24000, c.text)
		c.do(x)
		if got := told(x); !slices.Equal(got, c.want) {
			t.Errorf("%s: told %q\nwant %q", c.name, got, c.want)
		}
	}
}

// What somebody else tells wakes who waits for the provider. What a message tells does not end the context in which
// it is taken, and its error is not lost.
func TestNextIsWoken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := New(24000, false)
		messages := make(chan wire.Message)
		read := func(ctx context.Context) (wire.Message, error) {
			select {
			case m := <-messages:
				return m, nil
			case <-ctx.Done():
				return wire.Message{}, context.Cause(ctx)
			}
		}
		take := func(ctx context.Context, m wire.Message) error {
			x.Text("A")
			if ctx.Err() != nil {
				t.Errorf("the context ended: %v", ctx.Err())
			}
			if m.Binary {
				return io.ErrUnexpectedEOF
			}
			return nil
		}
		type got struct {
			e   driver.Event
			err error
		}
		next := func(ctx context.Context) chan got {
			c := make(chan got)
			go func() {
				e, err := x.Next(ctx, read, take)
				c <- got{e, err}
			}()
			synctest.Wait()
			return c
		}
		c := next(t.Context())
		x.Tell(&driver.Updated{ID: "u"})
		if e, ok := (<-c).e.(*driver.Updated); !ok || e.ID != "u" {
			t.Errorf("told %+v", e)
		}
		c = next(t.Context())
		messages <- wire.Message{}
		if e, ok := (<-c).e.(*driver.ResponseCreated); !ok {
			t.Errorf("told %+v", e)
		}
		told(x)
		c = next(t.Context())
		messages <- wire.Message{Binary: true}
		if g := <-c; !errors.Is(g.err, io.ErrUnexpectedEOF) {
			t.Errorf("told %+v, %v", g.e, g.err)
		}
		told(x)
		ctx, cancel := context.WithCancel(t.Context())
		c = next(ctx)
		cancel()
		if g := <-c; !errors.Is(g.err, context.Canceled) {
			t.Errorf("after the end of the context: %v", g.err)
		}
	})
}
