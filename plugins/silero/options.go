package silero

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/parley-go/parley/opt"
)

// Options tune the detector. The zero value means the defaults.
//
// The detector works in windows of 32 ms, so durations of speech and silence are in effect rounded
// up to whole windows: with the defaults speech starts after 64 ms and ends after 576 ms.
type Options struct {
	// Activation is the smoothed probability, 0..1, from which on a window is speech. Default 0.5.
	Activation float64
	// Deactivation is the probability above which a window still counts as speech while the user
	// speaks. Default: Activation - 0.15, at least 0.01. Zero is the default, negative an error.
	Deactivation float64
	// MinSpeech is the unbroken speech that starts a segment. Default 50 ms.
	MinSpeech time.Duration
	// MinSilence is the unbroken silence that ends a segment. Default 550 ms.
	MinSilence time.Duration
	// PrefixPadding is the audio before a start that is kept and given out with it. Default 500 ms;
	// off keeps none.
	PrefixPadding opt.Value[time.Duration]
	// MaxBufferedSpeech is the longest speech that is collected for an event; the rest of a longer
	// segment is detected but missing in the event's audio. Default 60 s.
	MaxBufferedSpeech time.Duration
	// NoWindowAudio leaves the audio out of the event of each window.
	NoWindowAudio bool
	// ModelPath is another ONNX file with the tensors of Silero 6, for 16 kHz or for both rates.
	// Default: empty, the embedded one.
	ModelPath string
	// Logger is told about lag and about speech that is too long. Default slog.Default().
	Logger *slog.Logger
}

// settings are checked options with the defaults filled in.
type settings struct {
	activation, deactivation               float64
	minSpeech, minSilence, padding, maxLen time.Duration
	windowAudio                            bool
}

// resolve checks the options and fills in the defaults.
func (o *Options) resolve() (settings, error) {
	s := settings{
		activation:   orDefault(o.Activation, 0.5),
		deactivation: o.Deactivation,
		minSpeech:    orDefault(o.MinSpeech, 50*time.Millisecond),
		minSilence:   orDefault(o.MinSilence, 550*time.Millisecond),
		padding:      o.PrefixPadding.Default(500 * time.Millisecond),
		maxLen:       orDefault(o.MaxBufferedSpeech, 60*time.Second),
		windowAudio:  !o.NoWindowAudio,
	}
	if s.deactivation == 0 {
		s.deactivation = max(s.activation-0.15, 0.01)
	}
	for _, p := range []struct {
		name  string
		value float64
	}{{"Activation", s.activation}, {"Deactivation", s.deactivation}} {
		if !(p.value > 0 && p.value <= 1) { // NaN as well
			return s, fmt.Errorf("option %s is %v, want more than 0 and at most 1", p.name, p.value)
		}
	}
	for _, d := range []struct {
		name  string
		value time.Duration
	}{
		{"MinSpeech", s.minSpeech}, {"MinSilence", s.minSilence},
		{"PrefixPadding", s.padding}, {"MaxBufferedSpeech", s.maxLen},
	} {
		if d.value < 0 || d.value > maxDuration {
			return s, fmt.Errorf("option %s is %v, want 0 to %v", d.name, d.value, maxDuration)
		}
	}
	return s, nil
}

// maxDuration bounds every duration, so that buffers stay of a sane size.
const maxDuration = time.Hour

func orDefault[T comparable](v, def T) T {
	var zero T
	if v == zero {
		return def
	}
	return v
}
