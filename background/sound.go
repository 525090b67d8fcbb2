package background

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"os"
	"time"

	"github.com/parley-go/parley/audio"
)

// rate is the sample rate of everything that is mixed, in Hz.
const rate = 48_000

// minFadeOut keeps a sound that is cut off from clicking.
const minFadeOut = 10 * time.Millisecond

// Sound is something to play, and how.
type Sound struct {
	Source Source // required
	// Gain is how much louder it is played than it was recorded, in decibels: default 0; -20 is a tenth
	// of the amplitude.
	Gain float64
	// FadeIn is how long it takes to its full loudness: default 0.
	FadeIn time.Duration
	// FadeOut is how long it takes to fall silent once it is stopped: default, and at least, 10 ms.
	FadeOut time.Duration
	// Loop plays it again and again. What is played all the time or while the agent thinks always is.
	Loop bool
	// Probability is how often it is chosen from a list: default 1; below 0 is never. Probabilities that
	// add up to less than 1 leave the rest to silence; those that add up to more are weights.
	Probability float64
}

// amplitude is what the samples are multiplied with.
func (s Sound) amplitude() float64 { return math.Pow(10, s.Gain/20) }

func (s Sound) probability() float64 {
	if s.Probability == 0 {
		return 1
	}
	return max(s.Probability, 0)
}

// pick chooses from a list; x is random, from 0 to below 1. It returns false for silence.
func pick(sounds []Sound, x float64) (Sound, bool) {
	sum := 0.0
	for _, s := range sounds {
		sum += s.probability()
	}
	x *= max(sum, 1)
	for _, s := range sounds {
		if x -= s.probability(); x < 0 {
			return s, true
		}
	}
	return Sound{}, false
}

// Source is where a sound comes from: a Clip, a ReadWAV, Frames, or one of those that come along. It may
// be shared by any number of players and played many times at once.
type Source interface {
	// open begins to play. What it starts ends with ctx, and is known to start.
	open(ctx context.Context, loop bool, start func(f func())) reader
}

// reader gives samples at the rate of the mix. It is used under the lock of a player and never waits.
type reader interface {
	// read moves samples into dst and returns how many there were, fewer than fit if the source is
	// late, and whether no more will come.
	read(dst []int16) (n int, ended bool)
	// failure is why it ended, nil at the proper end.
	failure() error
}

// clip is a sound in memory.
type clip []int16

// Clip is a sound in memory, of any sample rate and one or two channels. The frame is copied.
func Clip(f audio.Frame) (Source, error) {
	var c converter
	pcm, err := c.convert(f)
	if err != nil {
		return nil, fmt.Errorf("background clip: %w", err)
	}
	pcm = append(pcm, c.flush()...)
	if len(pcm) == 0 {
		return nil, errors.New("background clip: it has no audio")
	}
	return clip(pcm), nil
}

// ReadWAV reads a clip from a WAV file of 16-bit PCM.
func ReadWAV(path string) (Source, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("background clip: %w", err)
	}
	defer func() { _ = file.Close() }() // it was only read
	f, err := audio.ReadWAV(file)
	if err != nil {
		return nil, fmt.Errorf("background clip %s: %w", path, err)
	}
	return Clip(f)
}

func (c clip) open(_ context.Context, loop bool, _ func(func())) reader {
	return &clipReader{pcm: c, loop: loop}
}

type clipReader struct {
	pcm  []int16
	at   int
	loop bool
}

func (r *clipReader) read(dst []int16) (n int, ended bool) {
	for n < len(dst) {
		if r.at == len(r.pcm) {
			if !r.loop {
				return n, true
			}
			r.at = 0
		}
		k := copy(dst[n:], r.pcm[r.at:])
		n += k
		r.at += k
	}
	return n, false
}

func (*clipReader) failure() error { return nil }

// stream is a sound that is made while it plays.
type stream func(ctx context.Context) iter.Seq2[audio.Frame, error]

// Frames is a sound that is made while it plays: open is asked for its frames each time it begins, on a
// goroutine of the player. Frames are borrowed, of any sample rate and one or two channels. They are taken
// a little ahead of their time; while they are late there is silence. ctx ends when the sound is not
// wanted any more; the iteration must end then. An error ends the sound, and Wait returns it.
func Frames(open func(ctx context.Context) iter.Seq2[audio.Frame, error]) Source { return stream(open) }

// streamAhead is how many frames of a stream wait to be mixed.
const streamAhead = 10

func (s stream) open(ctx context.Context, loop bool, start func(func())) reader {
	r := &streamReader{chunks: make(chan []int16, streamAhead)} // a full one makes the stream wait
	start(func() { s.run(ctx, loop, r) })
	return r
}

func (s stream) run(ctx context.Context, loop bool, r *streamReader) {
	defer close(r.chunks)
	defer func() {
		if v := recover(); v != nil {
			r.err = fmt.Errorf("background sound: panic: %v", v)
		}
	}()
	for {
		some, err := s.round(ctx, r)
		if err != nil {
			r.err = fmt.Errorf("background sound: %w", err)
		}
		if err != nil || !loop || !some || ctx.Err() != nil {
			return
		}
	}
}

// round plays the stream once and tells whether there was any audio.
func (s stream) round(ctx context.Context, r *streamReader) (some bool, err error) {
	var c converter
	for f, err := range s(ctx) {
		if err != nil {
			return some, err
		}
		pcm, err := c.convert(f)
		if err != nil {
			return some, err
		}
		if !r.push(ctx, pcm) {
			return some, nil
		}
		some = some || len(pcm) > 0
	}
	r.push(ctx, c.flush())
	return some, nil
}

type streamReader struct {
	chunks chan []int16
	rest   []int16
	err    error // valid once chunks is closed
}

// push hands over samples, and reports false when nobody wants them any more.
func (r *streamReader) push(ctx context.Context, pcm []int16) bool {
	select {
	case r.chunks <- pcm:
		return true
	case <-ctx.Done():
		return false
	}
}

func (r *streamReader) read(dst []int16) (n int, ended bool) {
	for n < len(dst) {
		if len(r.rest) == 0 {
			select {
			case pcm, ok := <-r.chunks:
				if !ok {
					return n, true
				}
				r.rest = pcm
				continue
			default:
				return n, false
			}
		}
		k := copy(dst[n:], r.rest)
		n += k
		r.rest = r.rest[k:]
	}
	return n, false
}

func (r *streamReader) failure() error { return r.err }

// converter brings frames to the format of the mix. A new format is a new beginning.
type converter struct {
	from int // rate
	rs   *audio.Resampler
	mono []int16
}

// convert returns samples that the caller owns.
func (c *converter) convert(f audio.Frame) ([]int16, error) {
	if err := f.Validate(); err != nil {
		return nil, err
	}
	if f.Channels > 2 {
		return nil, fmt.Errorf("audio frame: %d channels, want 1 or 2", f.Channels)
	}
	data := f.Data
	if f.Channels == 2 {
		c.mono = c.mono[:0]
		for i := 0; i < len(data); i += 2 {
			c.mono = append(c.mono, int16((int(data[i])+int(data[i+1]))/2))
		}
		data = c.mono
	}
	var out []int16
	if c.from != f.Rate {
		out = c.flush()
		rs, err := audio.NewResampler(f.Rate, rate, 1, audio.High)
		if err != nil {
			return nil, err
		}
		c.rs, c.from = rs, f.Rate
	}
	return c.rs.Process(out, data), nil
}

// flush returns what the resampler still has.
func (c *converter) flush() []int16 {
	if c.rs == nil {
		return nil
	}
	return c.rs.Flush(nil)
}
