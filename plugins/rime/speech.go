package rime

import (
	"context"
	"io"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/internal/wire"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/tts/driver"
)

// message is what is sent: text, or an operation.
type message struct {
	Text      string `json:"text,omitempty"`
	Operation string `json:"operation,omitempty"`
	ContextID string `json:"contextId"`
}

// Synthesize implements driver.Synthesizer.
func (d *synthesizer) Synthesize(ctx context.Context, text string) (driver.AudioStream, error) {
	e, err := d.pool.Exchange(ctx)
	if err != nil {
		return nil, err
	}
	s := &speech{Exchange: e, d: d, id: metrics.NewID("ctx_")}
	err = e.WriteJSON(ctx, &message{Text: text, ContextID: s.id})
	if err == nil { // the text is out: who gives up now is not told that nothing was sent
		err = e.WriteJSON(context.WithoutCancel(ctx), &message{Operation: "flush", ContextID: s.id})
	}
	if err != nil {
		_ = e.Close()
		return nil, err
	}
	return s, nil
}

// speech implements driver.AudioStream: a sentence on a connection that it has alone.
type speech struct {
	*wire.Exchange
	d     *synthesizer
	id    string
	pcm   wire.PCM
	chunk driver.Chunk
}

// reply is a message of the provider.
type reply struct {
	Type      string `json:"type"`
	ContextID string `json:"contextId"`
	Data      []byte `json:"data"`
	Words     struct {
		Words []string  `json:"words"`
		Start []float64 `json:"start"`
		End   []float64 `json:"end"`
	} `json:"word_timestamps"`
	Message string `json:"message"`
}

// Next implements driver.AudioStream.
func (s *speech) Next(ctx context.Context) (*driver.Chunk, error) {
	for {
		var r reply
		if err := s.ReadJSON(ctx, &r); err != nil {
			return nil, err
		}
		if more, err := s.take(&r); more || err != nil {
			return &s.chunk, err
		}
	}
}

// take makes the chunk of a reply; false means that there is nothing in it.
func (s *speech) take(r *reply) (bool, error) {
	if r.ContextID != "" && r.ContextID != s.id {
		return false, nil // the end of a sentence before, sent twice
	}
	s.chunk = driver.Chunk{RequestID: s.id}
	switch r.Type {
	case "chunk":
		s.chunk.Frame = audio.Frame{Data: s.pcm.Add(r.Data), Rate: s.d.o.Rate, Channels: 1}
		return len(s.chunk.Frame.Data) > 0, nil
	case "timestamps":
		w := r.Words
		for i := range min(len(w.Words), len(w.Start), len(w.End)) {
			s.chunk.Words = append(s.chunk.Words, driver.Word{Text: w.Words[i], Start: wire.Seconds(w.Start[i]), End: wire.Seconds(w.End[i])})
		}
		return len(s.chunk.Words) > 0, nil
	case "done":
		s.Complete()
		return false, io.EOF
	}
	return false, s.d.refused(r)
}

// reason is the error that a message states of the connection, if any.
func (d *synthesizer) reason(r *reply) error {
	if r.ContextID != "" {
		return nil
	}
	return d.refused(r)
}

// refused is the error that a message states, if any.
func (d *synthesizer) refused(r *reply) error {
	if r.Type != "error" {
		return nil
	}
	return d.peer.Protocol("speak", "%s", r.Message)
}
