package silero

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/parley-go/parley/opt"
)

func TestDefaults(t *testing.T) {
	want := settings{0.5, 0.35, 50 * time.Millisecond, 550 * time.Millisecond,
		500 * time.Millisecond, time.Minute, true}
	if got := *defaults(t); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestDeactivationFollowsActivation(t *testing.T) {
	for activation, want := range map[float64]float64{0.9: 0.75, 0.1: 0.01, 1: 0.85} {
		s, err := (&Options{Activation: activation}).resolve()
		if err != nil || math.Abs(s.deactivation-want) > 1e-12 {
			t.Errorf("activation %v: got %v, %v, want %v", activation, s.deactivation, err, want)
		}
	}
}

func TestPaddingCanBeOff(t *testing.T) {
	s, err := (&Options{PrefixPadding: opt.Off[time.Duration]()}).resolve()
	if err != nil || s.padding != 0 {
		t.Errorf("got %v, %v, want no padding", s.padding, err)
	}
}

func TestOptionsOutOfRange(t *testing.T) {
	for name, o := range map[string]Options{
		"Activation":        {Activation: 1.5},
		"Activation ":       {Activation: math.NaN()},
		"Deactivation":      {Deactivation: -0.1},
		"Deactivation ":     {Deactivation: 2},
		"MinSpeech":         {MinSpeech: -1},
		"MinSilence":        {MinSilence: -1},
		"PrefixPadding":     {PrefixPadding: opt.Some(-time.Second)},
		"MaxBufferedSpeech": {MaxBufferedSpeech: 100 * time.Hour},
	} {
		name = strings.TrimSpace(name)
		if _, err := NewDetector(&o); err == nil || !strings.Contains(err.Error(), "silero: option "+name+" is") {
			t.Errorf("got %v, want an error that names %s", err, name)
		}
		if _, err := New(&o).NewStream(t.Context()); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("NewStream after New: got %v, want an error that names %s", err, name)
		}
	}
}
