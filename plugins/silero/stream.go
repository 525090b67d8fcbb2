package silero

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/vad/driver"
)

// slow is the lag behind the audio from which on the log is told.
const slow = 200 * time.Millisecond

var errClosed = errors.New("silero: stream is closed")

// stream implements driver.Stream. All its scratch belongs to it, so that a window allocates
// nothing.
type stream struct {
	d         *Detector
	state     state
	gate      gate
	event     driver.Event
	resampler *audio.Resampler // nil before the first frame
	rate      int              // of the input, in Hz
	channels  int              // of the input

	input []int16 // audio that no window has used yet, interleaved
	mixed []int16 // scratch: the new audio as one channel
	ready []int16 // audio at the model's rate that no window has used yet
	win   [windowLen]float32

	windows   int64 // so far
	past      history
	truncated bool          // the segment outgrew the history, and the log was told
	lag       time.Duration // how far inference is behind the audio
	lagging   bool          // the log was told
	closed    bool
}

// Process implements driver.Stream.
func (s *stream) Process(f audio.Frame, emit func(*driver.Event)) error {
	if s.closed {
		return errClosed
	}
	if err := s.accept(f); err != nil {
		return fmt.Errorf("silero: %w", err)
	}
	set := s.d.settings.Load()
	s.input = append(s.input, f.Data...)
	s.ready = s.resampler.Process(s.ready, s.mono(f.Data))
	used, usedReady := 0, 0
	for {
		n := s.windowSpan() * s.channels
		if len(s.input)-used < n || len(s.ready)-usedReady < windowLen {
			break
		}
		for i, v := range s.ready[usedReady : usedReady+windowLen] {
			s.win[i] = float32(v) / 32768
		}
		s.window(s.input[used:used+n], set, emit)
		used, usedReady = used+n, usedReady+windowLen
	}
	s.input = s.input[:copy(s.input, s.input[used:])]
	s.ready = s.ready[:copy(s.ready, s.ready[usedReady:])]
	return nil
}

// accept checks the format of f, which the first frame decides.
func (s *stream) accept(f audio.Frame) error {
	if err := f.Validate(); err != nil {
		return err
	}
	if s.resampler == nil {
		r, err := audio.NewResampler(f.Rate, rate, 1, audio.Fast)
		if err != nil {
			return err
		}
		s.resampler, s.rate, s.channels = r, f.Rate, f.Channels
	}
	if f.Rate != s.rate || f.Channels != s.channels {
		return fmt.Errorf("audio of %d Hz with %d channels in a stream of %d Hz with %d",
			f.Rate, f.Channels, s.rate, s.channels)
	}
	return nil
}

// mono mixes interleaved samples to one channel.
func (s *stream) mono(data []int16) []int16 {
	if s.channels == 1 {
		return data
	}
	s.mixed = s.mixed[:0]
	for ; len(data) >= s.channels; data = data[s.channels:] {
		sum := 0
		for _, v := range data[:s.channels] {
			sum += int(v)
		}
		s.mixed = append(s.mixed, int16(sum/s.channels))
	}
	return s.mixed
}

// position is where window n begins in the input, in samples per channel since the start. It is
// computed from the start each time, so that the fraction of a sample is carried along.
func (s *stream) position(n int64) int64 { return n * windowLen * int64(s.rate) / rate }

// windowSpan is the length of the next window in the input, in samples per channel.
func (s *stream) windowSpan() int { return int(s.position(s.windows+1) - s.position(s.windows)) }

// window takes the samples in s.win, which stand for in, and emits what they tell.
func (s *stream) window(in []int16, set *settings, emit func(*driver.Event)) {
	begin := time.Now()
	p := s.d.net.step(&s.state, s.win[:])
	took := time.Since(begin)
	s.watch(took)
	s.windows++
	s.keep(in, set)

	g := &s.gate
	g.smooth(p)
	s.event = driver.Event{
		Kind:              driver.InferenceDone,
		SamplesIndex:      s.position(s.windows),
		Timestamp:         windows(s.windows),
		SpeechDuration:    windows(g.publicSpeech),
		SilenceDuration:   windows(g.publicSilence),
		RawSpeech:         windows(g.speech),
		RawSilence:        windows(g.silence),
		Probability:       float32(g.smoothed),
		Speaking:          g.speaking,
		InferenceDuration: took,
		Audio:             audio.Frame{Rate: s.rate, Channels: s.channels},
	}
	next := s.event // emit only borrows the event, but may still write to it
	if set.windowAudio {
		s.event.Audio.Data = in
	}
	emit(&s.event)

	switch g.decide(set) {
	case started:
		s.edge(next, driver.StartOfSpeech, emit)
	case ended:
		s.edge(next, driver.EndOfSpeech, emit)
		g.publicSpeech = 0
		s.truncated = false
	}
	if !g.speaking && g.speech == 0 { // speech that may become a start is kept with its padding
		s.past.keepLast(s.samples(set.padding))
	}
}

// edge emits the start or the end of speech with everything that was kept.
func (s *stream) edge(e driver.Event, kind driver.EventKind, emit func(*driver.Event)) {
	s.event = e
	s.event.Kind = kind
	s.event.Speaking = s.gate.speaking
	s.event.SpeechDuration = windows(s.gate.publicSpeech)
	s.event.SilenceDuration = windows(s.gate.publicSilence)
	s.event.Audio.Data = s.past.held()
	emit(&s.event)
}

// keep adds the window to what the next edge will give out.
func (s *stream) keep(in []int16, set *settings) {
	limit := s.samples(set.padding) + s.samples(set.maxLen)
	if !s.past.add(in, limit) && s.gate.speaking && !s.truncated {
		s.truncated = true
		s.d.log.Warn("speech is longer than the buffer of the voice activity detector, its end will be missing in the event",
			slog.Duration("max_buffered_speech", set.maxLen))
	}
}

// samples is the number of values, of all channels, in d of the input.
func (s *stream) samples(d time.Duration) int { return audio.SamplesIn(d, s.rate) * s.channels }

// watch follows how far inference is behind and tells the log once, until it has caught up.
func (s *stream) watch(took time.Duration) {
	s.lag = max(0, s.lag+took-windowTime)
	switch {
	case s.lag == 0:
		s.lagging = false
	case !s.lagging && max(s.lag, took) > slow:
		s.lagging = true
		s.d.log.Warn("voice activity detection is slower than the audio",
			slog.Duration("lag", s.lag), slog.Duration("inference", took))
	}
}

// Flush implements driver.Stream. The format of the stream stays.
func (s *stream) Flush() {
	s.state.reset()
	s.gate = gate{}
	s.input, s.ready = s.input[:0], s.ready[:0]
	s.windows = 0
	s.past.keepLast(0)
	s.truncated, s.lag, s.lagging = false, 0, false
	if s.resampler != nil {
		s.resampler.Reset()
	}
}

// MinSilence implements driver.Stream.
func (s *stream) MinSilence() time.Duration { return s.d.settings.Load().minSilence }

// Close implements driver.Stream.
func (s *stream) Close() error {
	s.closed = true
	return nil
}
