package scripted

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"
	"time"
	"unicode"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/tts/driver"
)

var errClosed = errors.New("scripted: stream is closed")

// voice is one stream or request.
type voice struct {
	c                    *core
	n                    int // number of the call
	index                int // in Ledger.Texts
	afterText, afterSome *Fault
	wake                 chan struct{} // one token: something changed
	gone                 chan struct{}

	mu       sync.Mutex
	text     []rune
	spoken   int           // characters whose words were given
	total    audio.Samples // of the text until now
	given    audio.Samples
	began    time.Time // the first text came
	ended    bool
	complete bool
	closed   bool

	chunk driver.Chunk // lent by Next
}

// Push implements driver.Stream.
func (v *voice) Push(_ context.Context, text string) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.closed {
		return errClosed
	}
	if v.began.IsZero() {
		v.began = time.Now()
	}
	v.text = append(v.text, []rune(text)...)
	v.total = audio.Samples(audio.SamplesIn(time.Duration(len(v.text))*v.c.o.PerCharacter, v.c.o.SampleRate))
	v.c.book(func(l *Ledger) {
		l.Characters += int64(characters(text))
		l.Texts[v.index] += text
	})
	v.signal()
	return nil
}

// CloseSend implements driver.Stream.
func (v *voice) CloseSend(context.Context) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.closed {
		return errClosed
	}
	v.ended = true
	v.signal()
	return nil
}

// Next implements driver.AudioStream.
func (v *voice) Next(ctx context.Context) (*driver.Chunk, error) {
	for {
		c, at, err := v.make()
		if c != nil || err != nil {
			return c, err
		}
		var due <-chan time.Time
		if !at.IsZero() {
			t := time.NewTimer(time.Until(at))
			defer t.Stop()
			due = t.C
		}
		select {
		case <-due:
		case <-v.wake:
		case <-v.gone:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// make returns the next chunk, or when it is due; neither means to wait for more text.
func (v *voice) make() (*driver.Chunk, time.Time, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.closed {
		return nil, time.Time{}, errClosed
	}
	if f := v.struck(); f != nil {
		switch f.Kind {
		case Hangup:
			return nil, time.Time{}, io.EOF
		case Stall:
			return nil, time.Time{}, nil
		}
		return nil, time.Time{}, f.error(v.c.o.Info)
	}
	left := v.total - v.given
	if left == 0 {
		if !v.ended {
			return nil, time.Time{}, nil
		}
		return v.last()
	}
	at := v.began.Add(v.c.o.TTFB + time.Duration(v.given.At(v.c.o.SampleRate).Seconds()*float64(v.c.o.Pace)))
	if time.Now().Before(at) {
		return nil, at, nil
	}
	return v.speak(min(left, audio.Samples(audio.SamplesIn(v.c.o.ChunkTime, v.c.o.SampleRate)))), time.Time{}, nil
}

// struck returns the fault that strikes now.
func (v *voice) struck() *Fault {
	if f := v.afterText; f != nil && v.given == 0 && len(v.text) >= max(f.Characters, 1) {
		return f
	}
	if f := v.afterSome; f != nil && v.given > 0 && v.given.At(v.c.o.SampleRate) >= f.Audio {
		return f
	}
	return nil
}

// speak makes the next n samples.
func (v *voice) speak(n audio.Samples) *driver.Chunk {
	o := v.c.o
	data := make([]int16, int(n)*o.Channels)
	if o.Sine {
		tone(data, v.given, o.SampleRate, o.Channels)
	}
	v.given += n
	v.chunk = driver.Chunk{
		Frame:     audio.Frame{Data: data, Rate: o.SampleRate, Channels: o.Channels},
		RequestID: v.request(),
	}
	if o.Words {
		v.chunk.Words = v.words()
	}
	v.c.book(func(l *Ledger) { l.Audio += n.At(o.SampleRate) })
	return &v.chunk
}

// words returns the words that begin in the audio given so far and are complete.
func (v *voice) words() []driver.Word {
	var out []driver.Word
	for at := v.spoken; ; {
		for at < len(v.text) && unicode.IsSpace(v.text[at]) {
			at++
		}
		end := at
		for end < len(v.text) && !unicode.IsSpace(v.text[end]) {
			end++
		}
		start := time.Duration(at) * v.c.o.PerCharacter
		if at == end || end == len(v.text) && !v.ended || start >= v.given.At(v.c.o.SampleRate) {
			return out
		}
		out = append(out, driver.Word{
			Text: string(v.text[at:end]), Start: start, End: time.Duration(end) * v.c.o.PerCharacter,
		})
		at, v.spoken = end, end
	}
}

// last ends the audio, with words that became complete and the statement first.
func (v *voice) last() (*driver.Chunk, time.Time, error) {
	if v.complete {
		return nil, time.Time{}, io.EOF
	}
	v.complete = true
	v.c.book(func(l *Ledger) { l.Complete++ })
	v.chunk = driver.Chunk{RequestID: v.request()}
	if v.c.o.Words {
		v.chunk.Words = v.words()
	}
	if v.c.o.States {
		v.chunk.Usage = &driver.UsageReport{Characters: int64(len(v.text)), Raw: metrics.Raw(fmt.Sprintf(`{"characters":%d}`, len(v.text)))}
	}
	if v.chunk.Words == nil && v.chunk.Usage == nil {
		return nil, time.Time{}, io.EOF
	}
	return &v.chunk, time.Time{}, nil
}

func (v *voice) request() string { return "script_" + strconv.Itoa(v.n) }

// Close implements driver.AudioStream.
func (v *voice) Close() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.closed {
		return nil
	}
	v.closed = true
	close(v.gone)
	v.c.book(func(l *Ledger) {
		l.Open--
		if !v.complete {
			l.Cut++
		}
	})
	return nil
}

func (v *voice) signal() {
	select {
	case v.wake <- struct{}{}:
	default: // a token is waiting already
	}
}
