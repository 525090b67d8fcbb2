// Package flite turns text into speech with flite in the process itself: no service, no key, no
// cgo, no files. English only.
//
//	session.Options{TTS: flite.New(&flite.Options{Voice: "rms"})}
//
// A sentence takes 0.05 to 0.1 s of one core (kal and kal16: about 0.01 s). The synthesiser is part
// of the program (14.5 MB). At the first use it is unpacked and compiled, which takes 0.2 s of an
// idle machine and about 60 MB of memory (77 MB at its peak) and is shared by everything in the
// process; call Check at start to have it done before the first call comes in. At most as many
// sentences are spoken at the same time as there are cores; others wait for their turn.
package flite

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/tts"
	"github.com/parley-go/parley/tts/driver"
)

// Options of New. The zero value means the defaults.
type Options struct {
	// Voice is one of Voices: slt (female, the default), rms (male), awb (Scottish male), kal16
	// (male, quick to make, tinny) and kal (the same at 8 kHz). All others speak at 16 kHz.
	Voice string
	// Speed is how fast the voice speaks, 0.5 to 2: default 1. Twice the speed is half as long.
	Speed float64
	// Logger is told when text cannot be spoken or the machine is slow. Default: slog.Default().
	Logger *slog.Logger
}

// rates are the voices with their sample rates in Hz.
var rates = map[string]int{"slt": 16000, "rms": 16000, "awb": 16000, "kal16": 16000, "kal": 8000}

// Voices returns the names of the voices, sorted.
func Voices() []string {
	names := make([]string, 0, len(rates))
	for name := range rates {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// New returns a synthesiser; nil options mean the defaults. Nothing is unpacked before the first
// use. Options that are wrong are the error of the speech; Check tells of them before.
func New(o *Options) *tts.Model { return tts.New(NewSynthesizer(o), nil) }

// Check says what is wrong with the options and makes everything ready to speak, including a trial
// of the voice.
func Check(o *Options) error {
	s := NewSynthesizer(o)
	if s.invalid != nil {
		return s.invalid
	}
	_, err := s.speak(context.Background(), "ok.")
	return err
}

// Synthesizer is the driver behind New. It is safe for concurrent use and needs no closing.
type Synthesizer struct {
	voice   string
	stretch string // how much longer than normal, as flite reads it
	invalid error  // what is wrong with the options
	log     *slog.Logger
	warn    sync.Once
}

var (
	_ driver.TTS         = (*Synthesizer)(nil)
	_ driver.Synthesizer = (*Synthesizer)(nil)
)

// NewSynthesizer returns a driver for tts.New; nil options mean the defaults.
func NewSynthesizer(o *Options) *Synthesizer {
	if o == nil {
		o = &Options{}
	}
	s := &Synthesizer{voice: o.Voice, log: o.Logger}
	if s.voice == "" {
		s.voice = "slt"
	}
	if s.log == nil {
		s.log = slog.Default()
	}
	speed := o.Speed
	if speed == 0 {
		speed = 1
	}
	s.stretch = strconv.FormatFloat(1/speed, 'f', 4, 64)
	if rates[s.voice] == 0 {
		s.invalid = s.failed("open voice", fmt.Errorf("unknown voice %q, there are %s", s.voice, strings.Join(Voices(), ", ")))
	} else if math.IsNaN(speed) || speed < 0.5 || speed > 2 {
		s.invalid = s.failed("open voice", fmt.Errorf("speed %v is outside of 0.5 to 2", speed))
	}
	return s
}

// Info implements driver.TTS.
func (s *Synthesizer) Info() model.Info {
	return model.Info{Label: "flite.TTS", Provider: "local", Model: "flite-" + s.voice}
}

// Capabilities implements driver.TTS.
func (s *Synthesizer) Capabilities() driver.Capabilities {
	return driver.Capabilities{SampleRate: rates[s.voice], Channels: 1}
}

// Prewarm makes everything ready to speak. What is wrong is the error of the speech.
func (s *Synthesizer) Prewarm(context.Context) {
	_, _ = loaded()
}

// Synthesize implements driver.Synthesizer. The speech is made by Next, sentence by sentence when
// text is long. Text without anything to say has no audio. When ctx ends, or that of Next, the
// sentence that is being made is dropped.
func (s *Synthesizer) Synthesize(ctx context.Context, text string) (driver.AudioStream, error) {
	if s.invalid != nil {
		return nil, s.invalid
	}
	return &stream{s: s, ctx: ctx, parts: parts(text)}, nil
}

// speak makes the audio of one part of a text, trimmed.
func (s *Synthesizer) speak(ctx context.Context, text string) ([]int16, error) {
	clean, lost := cleanUp(text)
	if clean == "" {
		if !lost {
			return nil, nil
		}
		s.warn.Do(func() { s.log.WarnContext(ctx, "flite speaks English only: a text was left out", "voice", s.voice) })
		return make([]int16, rates[s.voice]/10), nil // text was asked for, so there must be audio
	}
	e, err := loaded()
	if err != nil {
		return nil, s.failed("load", err)
	}
	if e.slow {
		e.warn.Do(func() {
			s.log.WarnContext(ctx, "flite runs in an interpreter on this machine and may be too slow for conversation")
		})
	}
	file, err := e.run(ctx, s.voice, s.stretch, clean)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, s.failed("speak", err)
	}
	samples, rate, err := readWAV(file)
	if err == nil && rate != rates[s.voice] {
		err = fmt.Errorf("audio is at %d Hz, want %d", rate, rates[s.voice])
	}
	if err != nil {
		return nil, s.failed("speak", err)
	}
	return trim(samples, rate, endsSentence(clean)), nil
}

// failed is the error of a call that would fail again in the same way.
func (s *Synthesizer) failed(op string, err error) error {
	var known *model.Error
	if errors.As(err, &known) {
		return err
	}
	return &model.Error{Kind: model.KindRequest, Provider: "local", Op: op, Permanent: true, Err: fmt.Errorf("flite: %w", err)}
}
