package googlebox

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/parley-go/parley/internal/wire"
)

// reader reads the field of a message with that number.
type reader map[protowire.Number]func(f wire.Field) error

// read reads a message, and refuses fields that nobody knows.
func (r reader) read(b []byte) error {
	return wire.Fields(b, func(f wire.Field) error {
		take := r[f.Number]
		if take == nil {
			return fmt.Errorf("unknown field %d", f.Number)
		}
		return take(f)
	})
}

// message reads a field that is a message.
func (r reader) message(f wire.Field) error { return r.read(f.Data) }

func text(to *string) func(wire.Field) error {
	return func(f wire.Field) error {
		*to = string(f.Data)
		return nil
	}
}

func truth(to *bool) func(wire.Field) error {
	return func(f wire.Field) error {
		*to = f.Num != 0
		return nil
	}
}

func number(to *int) func(wire.Field) error {
	return func(f wire.Field) error {
		*to = int(f.Num)
		return nil
	}
}

func data(to *[]byte) func(wire.Field) error {
	return func(f wire.Field) error {
		*to = f.Data
		return nil
	}
}

// read takes a StreamingRecognizeRequest or a RecognizeRequest.
func (r *Recognition) read(m []byte, streaming bool) error {
	config := func(f wire.Field) error {
		r.configured = true
		return r.config().message(f)
	}
	if !streaming {
		return reader{1: config, 3: text(&r.Recognizer), 5: data(&r.audio)}.read(m)
	}
	features := reader{1: truth(&r.Activity), 2: truth(&r.Interim)}
	return reader{
		3: text(&r.Recognizer), 5: data(&r.audio),
		6: reader{1: config, 2: features.message}.message,
	}.read(m)
}

// config reads a RecognitionConfig.
func (r *Recognition) config() reader {
	var encoding, channels int
	decoding := reader{1: number(&encoding), 2: number(&r.Rate), 3: number(&channels)}
	r.Features = map[protowire.Number]uint64{}
	feature := func(f wire.Field) error {
		r.Features[f.Number] = f.Num
		return nil
	}
	var least int
	speakers := reader{2: number(&least), 3: number(&r.Speakers)}
	phrase := reader{
		1: func(f wire.Field) error {
			r.Phrases = append(r.Phrases, string(f.Data))
			return nil
		},
		2: func(f wire.Field) error {
			r.Boost = float64(f.Float())
			return nil
		},
	}
	phrases := reader{3: phrase.message}
	set := reader{2: phrases.message}
	adaptation := reader{1: set.message}
	denoiser := reader{1: truth(&r.Denoise)}
	return reader{
		2: reader{1: feature, 2: feature, 4: feature, 14: feature, 15: feature, 9: speakers.message}.message,
		6: adaptation.message,
		8: func(f wire.Field) error {
			if err := decoding.message(f); err != nil || encoding != 1 || channels != 1 {
				return fmt.Errorf("audio must be one channel of 16-bit samples: %v", err)
			}
			return nil
		},
		9: text(&r.Model),
		10: func(f wire.Field) error {
			r.Languages = append(r.Languages, string(f.Data))
			return nil
		},
		16: denoiser.message,
	}
}
