package resemble

import (
	"context"
	"io"
	"strconv"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/internal/wire"
	"github.com/parley-go/parley/tts/driver"
)

// request asks for a text.
type request struct {
	VoiceUUID string `json:"voice_uuid"`
	Data      string `json:"data"`
	ID        int64  `json:"request_id"`
	Model     string `json:"model,omitempty"`
	Rate      int    `json:"sample_rate"`
	Precision string `json:"precision"`
	Format    string `json:"output_format"`
	Binary    bool   `json:"binary_response"`
	NoHeader  bool   `json:"no_audio_header"`
}

// Synthesize implements driver.Synthesizer.
func (d *synthesizer) Synthesize(ctx context.Context, text string) (driver.AudioStream, error) {
	e, err := d.pool.Exchange(ctx)
	if err != nil {
		return nil, err
	}
	s := &speech{Exchange: e, d: d, id: d.last.Add(1)}
	err = e.WriteJSON(ctx, &request{
		VoiceUUID: d.o.VoiceUUID, Data: text, ID: s.id, Model: d.o.Model,
		Rate: d.o.Rate, Precision: "PCM_16", Format: "wav", NoHeader: true,
	})
	if err != nil {
		_ = e.Close()
		return nil, err
	}
	return s, nil
}

// speech implements driver.AudioStream: a text on a connection that it has alone.
type speech struct {
	*wire.Exchange
	d     *synthesizer
	id    int64
	pcm   wire.PCM
	chunk driver.Chunk
}

// reply is a message of the provider.
type reply struct {
	Type      string `json:"type"`
	RequestID *int64 `json:"request_id"`
	Audio     []byte `json:"audio_content"`
	ErrorName string `json:"error_name"`
	Message   string `json:"message"`
	Status    int    `json:"status_code"`
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
	if r.RequestID != nil && *r.RequestID != s.id {
		return false, nil // the end of a text before, sent twice
	}
	switch r.Type {
	case "audio":
		s.chunk = driver.Chunk{
			Frame:     audio.Frame{Data: s.pcm.Add(r.Audio), Rate: s.d.o.Rate, Channels: 1},
			RequestID: strconv.FormatInt(s.id, 10),
		}
		return len(s.chunk.Frame.Data) > 0, nil
	case "audio_end":
		s.Complete()
		return false, io.EOF
	}
	return false, s.d.refused(r)
}

// reason is the error that a message states of the connection, if any.
func (d *synthesizer) reason(r *reply) error {
	if r.RequestID != nil {
		return nil
	}
	return d.refused(r)
}

// refused is the error that a message states, if any.
func (d *synthesizer) refused(r *reply) error {
	if r.Type != "error" {
		return nil
	}
	text := r.Message
	if r.ErrorName != "" {
		text = r.ErrorName + ": " + text
	}
	if r.Status == 0 {
		return d.peer.Protocol("speak", "%s", text)
	}
	return d.peer.Status("speak", r.Status, text)
}
