package sarvam

import (
	"cmp"
	"context"
	"encoding/json"
	"io"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/internal/wire"
	"github.com/parley-go/parley/tts/driver"
)

// Open implements driver.Streamer.
func (d *synthesizer) Open(ctx context.Context) (driver.Stream, error) {
	e, err := d.pool.Exchange(ctx)
	if err != nil {
		return nil, err
	}
	return &speech{Exchange: e, d: d}, nil
}

// speech implements driver.Stream: what is said up to a flush, on a connection that it has alone.
type speech struct {
	*wire.Exchange
	d       *synthesizer
	pcm     wire.PCM
	chunk   driver.Chunk
	flushed atomic.Bool // the flush is out
}

// Push implements driver.Stream.
func (s *speech) Push(ctx context.Context, text string) error {
	if strings.TrimSpace(text) == "" {
		return nil
	}
	return s.WriteJSON(ctx, packet{Type: "text", Data: map[string]string{"text": text}})
}

// CloseSend implements driver.Stream.
func (s *speech) CloseSend(ctx context.Context) error {
	s.flushed.Store(true)
	return s.WriteJSON(ctx, packet{Type: "flush"})
}

// reply is a message of the provider.
type reply struct {
	Type string `json:"type"`
	Data struct {
		Audio     []byte          `json:"audio"`
		Event     string          `json:"event_type"`
		RequestID string          `json:"request_id"`
		Code      json.RawMessage `json:"code"` // a number or a name
		Message   string          `json:"message"`
	} `json:"data"`
}

// Next implements driver.AudioStream.
func (s *speech) Next(ctx context.Context) (*driver.Chunk, error) {
	for {
		var r reply
		if err := s.ReadJSON(ctx, &r); err != nil {
			return nil, err
		}
		more, err := s.take(&r)
		if err == io.EOF {
			s.Complete()
		}
		if more || err != nil {
			return &s.chunk, err
		}
	}
}

// take makes the chunk of a reply; false means that there is nothing in it.
func (s *speech) take(r *reply) (bool, error) {
	switch {
	case r.Type == "audio":
		s.chunk = driver.Chunk{
			Frame: audio.Frame{Data: s.pcm.Add(r.Data.Audio), Rate: s.d.o.Rate, Channels: 1}, RequestID: r.Data.RequestID,
		}
		return len(s.chunk.Frame.Data) > 0, nil
	case r.Type == "event" && r.Data.Event == "final" && s.flushed.Load(): // before that it is of somebody before
		return false, io.EOF
	}
	return false, s.d.refused(r)
}

// refused is the error that a message states, if any.
func (d *synthesizer) refused(r *reply) error {
	if r.Type != "error" {
		return nil
	}
	name := strings.Trim(string(r.Data.Code), `"`)
	text := cmp.Or(r.Data.Message, "no reason was given")
	if code, err := strconv.Atoi(name); err == nil && code >= 400 && code < 600 {
		return d.Status("speak", code, text)
	}
	return d.Protocol("speak", "%s: %s", cmp.Or(name, "error"), text)
}
