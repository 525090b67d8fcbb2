package openai

import (
	"context"
	"errors"
	"io"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/internal/modeltest"
	"github.com/parley-go/parley/internal/sandbox"
	"github.com/parley-go/parley/internal/sandbox/openaibox"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model/fault"
	"github.com/parley-go/parley/opt"
	"github.com/parley-go/parley/realtime"
)

// A user asks, the model answers in speech, and the session books what the service bills.
func TestRealtimeSession(t *testing.T) {
	t.Parallel()
	box := sandbox.Start(t, fault.Plan{})
	openaibox.Converse(box, "/v1", openaibox.ConverseOptions{Provider: "127.0.0.1"})
	m, err := NewRealtime(&RealtimeOptions{APIKey: box.Key, BaseURL: box.URL() + "/v1"})
	if err != nil {
		t.Fatal(err)
	}
	var log modeltest.Log
	ctx, cancel := context.WithTimeout(log.Context(t.Context()), 10*time.Second)
	defer cancel()
	s, err := m.Session(ctx, &realtime.SessionOptions{Instructions: "Be brief."})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, f := range []audio.Frame{sandbox.EarSpeech(realtimeRate), audio.Silence(500*time.Millisecond, realtimeRate, 1)} {
		if err := s.Push(f); err != nil {
			t.Fatal(err)
		}
	}
	var heard, said string
	for heard == "" || said == "" {
		e, err := s.Next()
		if err != nil {
			t.Fatal(err)
		}
		switch e := e.(type) {
		case *realtime.Transcript:
			if e.Final {
				heard = e.Text
			}
		case *realtime.GenerationCreated:
			msg, err := e.Generation.NextMessage(ctx)
			if err != nil {
				t.Fatal(err)
			}
			for err == nil {
				var text string
				text, err = msg.NextText(ctx)
				said += text
			}
			if !errors.Is(err, io.EOF) {
				t.Fatal(err)
			}
			var spoken time.Duration
			for err = nil; err == nil; {
				var f audio.Frame
				f, err = msg.NextAudio(ctx)
				spoken += f.Duration()
			}
			if spoken < 500*time.Millisecond {
				t.Errorf("%v of audio", spoken)
			}
			<-e.Generation.Done()
		}
	}
	if heard != sandbox.EarText || said != sandbox.TalkText {
		t.Errorf("heard %q, said %q", heard, said)
	}
	_ = s.Close()
	var booked metrics.Collector
	for _, e := range modeltest.Events[metrics.Event](&log) {
		booked.Add(e)
	}
	if got, want := booked.Usage().Models, box.Ledger.Billed().Models; len(want) != 2 || !reflect.DeepEqual(got, want) {
		t.Errorf("booked %+v\nbilled %+v", got, want)
	}
}

// Before the service ends a connection the conversation goes on over a new one, with what was said, and its usage
// is that of both.
func TestRealtimeOutlivesItsConnections(t *testing.T) {
	t.Parallel()
	box := sandbox.Start(t, fault.Plan{})
	var mu sync.Mutex
	var knew []string // of the newest answer
	openaibox.Converse(box, "/v1", openaibox.ConverseOptions{Provider: "127.0.0.1", MaxAge: 3 * time.Second, Talk: sandbox.Talk{
		Answer: func(r sandbox.TalkRequest) sandbox.Reply {
			mu.Lock()
			defer mu.Unlock()
			knew = nil
			for _, t := range r.Turns {
				knew = append(knew, t.Role+": "+t.Text)
			}
			return sandbox.Reply{Text: sandbox.TalkText}
		},
	}})
	m, err := NewRealtime(&RealtimeOptions{APIKey: box.Key, BaseURL: box.URL() + "/v1", MaxAge: opt.Some(time.Second)})
	if err != nil {
		t.Fatal(err)
	}
	var log modeltest.Log
	ctx, cancel := context.WithTimeout(log.Context(t.Context()), 10*time.Second)
	defer cancel()
	s, err := m.Session(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	speech := []audio.Frame{sandbox.EarSpeech(realtimeRate), audio.Silence(time.Second, realtimeRate, 1)}
	for turn := range 2 {
		for _, f := range speech {
			if err := s.Push(f); err != nil {
				t.Fatal(err)
			}
		}
		answered, heard := false, false
		for renewed := turn == 1; !answered || !heard || !renewed; {
			e, err := s.Next()
			if err != nil {
				t.Fatal(err)
			}
			switch e := e.(type) {
			case *realtime.GenerationCreated:
				<-e.Generation.Done()
				answered = true
			case *realtime.Transcript:
				heard = heard || e.Final
			case *realtime.Reconnected:
				renewed = true
			}
		}
	}
	_ = s.Close()
	mu.Lock()
	defer mu.Unlock()
	if want := []string{"user: " + sandbox.EarText, "assistant: " + sandbox.TalkText, "user: " + sandbox.EarText}; !reflect.DeepEqual(knew, want) {
		t.Errorf("the second answer knew %q, want %q", knew, want)
	}
	if errs := log.Errors(); len(errs) > 0 {
		t.Errorf("errors: %+v", errs)
	}
	var booked metrics.Collector
	for _, e := range modeltest.Events[metrics.Event](&log) {
		booked.Add(e)
	}
	if got, want := booked.Usage().Models, box.Ledger.Billed().Models; len(want) != 2 || !reflect.DeepEqual(got, want) {
		t.Errorf("booked %+v\nbilled %+v", got, want)
	}
}
