package modeltest

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	sttdriver "github.com/parley-go/parley/stt/driver"
	ttsdriver "github.com/parley-go/parley/tts/driver"
)

// Transcribe opens a stream of d without its front, sends what send does, and returns all events until
// the end, and the error if the end was no good one.
func Transcribe(t testing.TB, d sttdriver.Streamer, o sttdriver.Options, send func(ctx context.Context, s sttdriver.Stream)) ([]*sttdriver.Event, error) {
	t.Helper()
	s, err := d.Open(t.Context(), o)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	send(t.Context(), s)
	var events []*sttdriver.Event
	for {
		e, err := s.Next(t.Context())
		if errors.Is(err, io.EOF) {
			return events, nil
		}
		if err != nil {
			return events, err
		}
		events = append(events, e)
	}
}

// Kinds are the kinds of events; a row of interims counts as one.
func Kinds(events []*sttdriver.Event) (k []sttdriver.EventKind) {
	for _, e := range events {
		if e.Kind != sttdriver.Interim || len(k) == 0 || k[len(k)-1] != sttdriver.Interim {
			k = append(k, e.Kind)
		}
	}
	return k
}

// Say speaks pieces of text on a stream of d without its front, and returns how much audio came, and
// the error if the end was no good one.
func Say(t testing.TB, d ttsdriver.Streamer, pieces ...string) (got time.Duration, err error) {
	t.Helper()
	s, err := d.Open(t.Context())
	if err != nil {
		return 0, err
	}
	defer s.Close()
	for _, p := range pieces {
		if err := s.Push(t.Context(), p); err != nil {
			return 0, err
		}
	}
	if err := s.CloseSend(t.Context()); err != nil {
		return 0, err
	}
	for {
		c, err := s.Next(t.Context())
		if errors.Is(err, io.EOF) {
			return got, nil
		}
		if err != nil {
			return got, err
		}
		got += c.Frame.Duration()
	}
}
