package modeltest

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/internal/sandbox"
	"github.com/parley-go/parley/model/fault"
	sttdriver "github.com/parley-go/parley/stt/driver"
	ttsdriver "github.com/parley-go/parley/tts/driver"
)

// Refused has a provider refuse all its websockets with a message as soon as they are open, and hang up. It
// returns the error of what a driver sends until that fails, without anybody who reads the answers; at
// makes the driver.
func Refused(t testing.TB, message string, at func(key, url string) (driver any, err error)) error {
	t.Helper()
	box := sandbox.Start(t, fault.Plan{})
	box.HandleSocket("/", func(_ *sandbox.Call, ws *sandbox.Socket) {
		_ = ws.Send(json.RawMessage(message), false)
		ws.Close(1000, "")
	}, func(*sandbox.Call) bool { return true })
	d, err := at(box.Key, box.URL())
	if err != nil {
		t.Fatal(err)
	}
	if c, ok := d.(ttsdriver.Closer); ok {
		defer func() { _ = c.Close(context.WithoutCancel(t.Context())) }()
	}
	switch d := d.(type) {
	case sttdriver.Streamer:
		return sent(t, func() (sttdriver.Stream, error) { return d.Open(t.Context(), sttdriver.Options{}) },
			func(s sttdriver.Stream) error {
				return s.Push(t.Context(), audio.Silence(100*time.Millisecond, 16000, 1))
			})
	case ttsdriver.Streamer:
		return sent(t, func() (ttsdriver.Stream, error) { return d.Open(t.Context()) },
			func(s ttsdriver.Stream) error { return s.Push(t.Context(), "Hello there. ") })
	case ttsdriver.Synthesizer: // which sends once
		return sent(t, func() (ttsdriver.AudioStream, error) { return d.Synthesize(t.Context(), "Hello there.") },
			func(s ttsdriver.AudioStream) error { _, err := s.Next(t.Context()); return err })
	}
	t.Fatalf("%T does not send", d)
	return nil
}

// sent opens a stream and sends on it until that fails.
func sent[S interface{ Close() error }](t testing.TB, open func() (S, error), send func(S) error) error {
	t.Helper()
	s, err := open()
	if err != nil {
		return err
	}
	defer s.Close()
	for range 1_000_000 {
		if err := send(s); err != nil {
			return err
		}
	}
	t.Fatal("all was sent to who hung up")
	return nil
}
