// Package scripted has a voice activity detector for tests: it finds speech where the audio is loud
// or where a script says so, by the rules of a real detector, and keeps a ledger.
package scripted

import (
	"errors"
	"sync"
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/vad/driver"
)

// Options tune the detector; nil and zero values mean the defaults.
type Options struct {
	// Info is who the detector says it is; default "scripted.VAD", "scripted", "script".
	Info model.Info
	// Speech are the stretches of audio that are speech; nil means wherever it is loud. They
	// count from the start of the stream, whatever was flushed.
	Speech []Interval
	// Threshold is the mean of absolute samples of a window from which it is loud: default 300.
	Threshold int
	// MinSpeech is the unbroken speech that starts: default 0.05 s.
	MinSpeech time.Duration
	// MinSilence is the unbroken silence that ends: default 0.55 s.
	MinSilence time.Duration
	// PrefixPadding is the audio kept from before the start: default 0.5 s.
	PrefixPadding time.Duration
	// MaxSpeech bounds the audio kept of one speech: default 60 s.
	MaxSpeech time.Duration
	// InferenceTime is what every window is said to have taken.
	InferenceTime time.Duration
	// FailAt makes the window at that position of each stream fail with Err; 0 never.
	FailAt time.Duration
	// Err is the failure; nil panics.
	Err error
}

// Interval is a stretch of audio, counted from the start of the stream.
type Interval struct{ From, To time.Duration }

// Ledger is what a detector served.
type Ledger struct {
	Streams int           // opened
	Open    int           // not closed
	Audio   time.Duration // processed
	Windows int64
	Starts  int
	Ends    int
	Flushes int
}

// VAD is the detector.
type VAD struct {
	o Options

	mu     sync.Mutex
	ledger Ledger
}

// New returns a detector; o may be nil.
func New(o *Options) *VAD {
	v := &VAD{}
	if o != nil {
		v.o = *o
	}
	if v.o.Info == (model.Info{}) {
		v.o.Info = model.Info{Label: "scripted.VAD", Provider: "scripted", Model: "script"}
	}
	set := func(d *time.Duration, def time.Duration) {
		if *d == 0 {
			*d = def
		}
	}
	set(&v.o.MinSpeech, 50*time.Millisecond)
	set(&v.o.MinSilence, 550*time.Millisecond)
	set(&v.o.PrefixPadding, 500*time.Millisecond)
	set(&v.o.MaxSpeech, time.Minute)
	if v.o.Threshold == 0 {
		v.o.Threshold = 300
	}
	return v
}

// Info implements driver.VAD.
func (v *VAD) Info() model.Info { return v.o.Info }

// Ledger returns what was served until now.
func (v *VAD) Ledger() Ledger {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.ledger
}

func (v *VAD) book(f func(l *Ledger)) {
	v.mu.Lock()
	defer v.mu.Unlock()
	f(&v.ledger)
}

// NewStream implements driver.VAD.
func (v *VAD) NewStream() (driver.Stream, error) {
	v.book(func(l *Ledger) { l.Streams++; l.Open++ })
	return &stream{v: v}, nil
}

// windowTime is the audio that is judged at once.
const windowTime = 32 * time.Millisecond

var (
	errClosed = errors.New("scripted: stream is closed")
	errFormat = errors.New("scripted: audio format changed within the stream")
)

type stream struct {
	v        *VAD
	rate     int
	channels int
	closed   bool

	window  []int16 // being filled
	heard   int64   // windows since the beginning
	windows int64   // windows since the last flush
	buf     []int16 // padding or speech
	e       driver.Event

	speaking         bool
	speech, silence  int64 // public durations, in windows
	rawSpeech, rawSi int64 // unbroken, in windows
}

// Process implements driver.Stream.
func (s *stream) Process(f audio.Frame, emit func(*driver.Event)) error {
	if s.closed {
		return errClosed
	}
	if s.rate == 0 {
		s.rate, s.channels = f.Rate, f.Channels
		s.window = make([]int16, 0, s.size())
	}
	if f.Rate != s.rate || f.Channels != s.channels {
		return errFormat
	}
	for data := f.Data; len(data) > 0; {
		n := min(len(data), s.size()-len(s.window))
		s.window = append(s.window, data[:n]...)
		data = data[n:]
		if len(s.window) < s.size() {
			return nil
		}
		if err := s.judge(emit); err != nil {
			return err
		}
		s.window = s.window[:0]
	}
	return nil
}

func (s *stream) size() int { return s.samples(windowTime) }

func (s *stream) samples(d time.Duration) int { return audio.SamplesIn(d, s.rate) * s.channels }

// isSpeech judges the window.
func (s *stream) isSpeech() bool {
	if s.v.o.Speech != nil {
		at := time.Duration(s.heard)*windowTime - windowTime/2
		for _, i := range s.v.o.Speech {
			if at >= i.From && at < i.To {
				return true
			}
		}
		return false
	}
	sum := 0
	for _, x := range s.window {
		sum += max(int(x), -int(x))
	}
	return sum/len(s.window) >= s.v.o.Threshold
}

// judge goes through the rules for one window.
func (s *stream) judge(emit func(*driver.Event)) error {
	s.heard++
	s.windows++
	if at := s.v.o.FailAt; at > 0 && s.heard == int64((at+windowTime-1)/windowTime) {
		s.window = s.window[:0]
		if s.v.o.Err == nil {
			panic("scripted panic")
		}
		return s.v.o.Err
	}
	s.keep()
	speech := s.isSpeech()
	if s.speaking {
		s.speech++
	} else {
		s.silence++
	}
	s.v.book(func(l *Ledger) { l.Windows++; l.Audio += windowTime })
	p := float32(0)
	if speech {
		p = 1
	}
	s.give(emit, driver.InferenceDone, p, s.window)
	if speech {
		s.onSpeech(emit, p)
	} else {
		s.onSilence(emit, p)
	}
	return nil
}

// keep adds the window to the buffer, if there is room.
func (s *stream) keep() {
	if len(s.buf)+len(s.window) <= s.samples(s.v.o.MaxSpeech) {
		s.buf = append(s.buf, s.window...)
	}
}

func (s *stream) onSpeech(emit func(*driver.Event), p float32) {
	s.rawSpeech++
	s.rawSi = 0
	if s.speaking || time.Duration(s.rawSpeech)*windowTime < s.v.o.MinSpeech {
		return
	}
	s.speaking, s.silence, s.speech = true, 0, s.rawSpeech
	s.v.book(func(l *Ledger) { l.Starts++ })
	s.give(emit, driver.StartOfSpeech, p, s.buf)
}

func (s *stream) onSilence(emit func(*driver.Event), p float32) {
	s.rawSi++
	s.rawSpeech = 0
	if s.speaking && time.Duration(s.rawSi)*windowTime >= s.v.o.MinSilence {
		s.speaking, s.silence = false, s.rawSi
		s.speech = max(0, s.speech-s.rawSi)
		s.v.book(func(l *Ledger) { l.Ends++ })
		s.give(emit, driver.EndOfSpeech, p, s.buf)
		s.speech = 0
	}
	if !s.speaking {
		if extra := len(s.buf) - s.samples(s.v.o.PrefixPadding); extra > 0 {
			s.buf = s.buf[:copy(s.buf, s.buf[extra:])]
		}
	}
}

func (s *stream) give(emit func(*driver.Event), k driver.EventKind, p float32, data []int16) {
	d := func(n int64) time.Duration { return time.Duration(n) * windowTime }
	s.e = driver.Event{
		Kind:              k,
		SamplesIndex:      s.windows * int64(s.size()/s.channels),
		Timestamp:         d(s.windows),
		SpeechDuration:    d(s.speech),
		SilenceDuration:   d(s.silence),
		RawSpeech:         d(s.rawSpeech),
		RawSilence:        d(s.rawSi),
		Probability:       p,
		Speaking:          s.speaking,
		InferenceDuration: s.v.o.InferenceTime,
		Audio:             audio.Frame{Data: data, Rate: s.rate, Channels: s.channels},
	}
	emit(&s.e)
}

// Flush implements driver.Stream.
func (s *stream) Flush() {
	s.v.book(func(l *Ledger) { l.Flushes++ })
	s.window, s.buf = s.window[:0], s.buf[:0]
	s.windows, s.speech, s.silence, s.rawSpeech, s.rawSi = 0, 0, 0, 0, 0
	s.speaking = false
}

// MinSilence implements driver.Stream.
func (s *stream) MinSilence() time.Duration { return s.v.o.MinSilence }

// Close implements driver.Stream.
func (s *stream) Close() error {
	if !s.closed {
		s.closed = true
		s.v.book(func(l *Ledger) { l.Open-- })
	}
	return nil
}
