package openai

import (
	"context"
	"errors"
	"io"
	"reflect"
	"testing"
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/internal/modeltest"
	"github.com/parley-go/parley/internal/sandbox"
	"github.com/parley-go/parley/internal/sandbox/openaibox"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model/fault"
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
