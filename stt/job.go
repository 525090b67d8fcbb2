package stt

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/metrics"
)

// interimRest is how many times the duration of a run passes before the next interim run.
const interimRest = 4

var errTooSlow = errors.New("recogniser is too slow: too many segments wait for it")

// runKind says what a run is for.
type runKind uint8

const (
	interimRun runKind = iota // text so far
	guessRun                  // the text, should the speech have ended
	finalRun                  // the text
)

// job is one run over the audio of a segment.
type job struct {
	kind    runKind
	of      *segment
	frame   audio.Frame // owned
	at, end time.Duration
	cancel  context.CancelFunc
	started bool
	done    bool
	run     *run
	err     error
}

// newJob makes a job over all of the segment's audio. Only a final may keep the audio itself,
// because nothing is added to it any more.
func (s *adapted) newJob(kind runKind, g *segment) *job {
	j := &job{kind: kind, of: g, at: g.audio}
	j.end = g.audio + audio.Samples(len(g.data)).At(s.rate)
	data := g.data
	if kind != finalRun {
		data = slices.Clone(data)
	}
	j.frame = audio.Frame{Data: data, Rate: s.rate, Channels: 1}
	return j
}

// start runs the job on a goroutine that ends with it, with its cancel, or with the stream.
func (s *adapted) start(j *job) {
	ctx, conn := s.guessCtx, s.a.m.conn
	if j.kind == finalRun {
		ctx = s.ctx
	} else {
		conn.MaxRetry = 0
	}
	ctx, cancel := context.WithCancel(ctx)
	j.started, j.cancel = true, cancel
	told := metrics.Expect(ctx)
	go func() {
		defer told()
		defer cancel()
		began := time.Now()
		r, err := s.a.m.recognize(ctx, j.frame, &s.o, how{conn: conn, life: s.ctx})
		s.finished(j, r, err, time.Since(began))
	}()
}

// finished takes the result of a run.
func (s *adapted) finished(j *job, r *run, err error, took time.Duration) {
	s.mu.Lock()
	j.done, j.run, j.err = true, r, err
	if i := slices.Index(s.pending, j); s.closed && err == nil && i >= 0 { // too late for anybody to see it
		s.pending = slices.Delete(s.pending, i, i+1)
		s.mu.Unlock()
		r.discard(s.ctx)
		return
	}
	s.interimAt = later(s.interimAt, time.Now().Add(interimRest*took))
	if g := s.seg; g != nil && !s.closed {
		switch j {
		case g.sofar:
			g.sofar = nil
			s.interimAt = later(s.interimAt, time.Now().Add(s.a.o.InterimInterval-took))
			if err == nil && r.result.Text != "" && r.result.Text != g.text {
				g.text = r.result.Text
				s.put(s.transcript(Interim, j))
			}
		case g.guess:
			if err == nil && r.result.Text != "" {
				s.put(s.transcript(Preflight, j))
			}
		}
	}
	s.mu.Unlock()
	s.deliver()
}

// deliver hands on the finals that are ready, in order, and books each before anybody sees it. One
// goroutine does it at a time, without the lock while it books.
func (s *adapted) deliver() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.delivering {
		return
	}
	s.delivering = true
	for len(s.pending) > 0 && s.pending[0].done && !s.closed && s.err == nil {
		j := s.pending[0]
		if j.err != nil {
			s.again(j)
			continue
		}
		s.pending = s.pending[1:]
		s.startFinals()
		s.mu.Unlock()
		j.run.book(s.ctx)
		s.mu.Lock()
		if j.run.result.Text != "" {
			s.put(s.transcript(Final, j))
		}
	}
	s.delivering = false
	s.signal()
}

// again gives a guess that failed a proper run; a final that failed ends the stream.
func (s *adapted) again(j *job) {
	if j.kind != guessRun {
		s.fail(j.err)
		return
	}
	j.kind, j.done, j.err = finalRun, false, nil
	s.start(j)
}

// transcript makes the event of a run. Times of the recogniser count from the start of its audio.
func (s *adapted) transcript(kind EventKind, j *job) *Event {
	a := j.run.result.Alternative
	a.Words = slices.Clone(a.Words)
	for i := range a.Words {
		a.Words[i].Start += j.at
		a.Words[i].End += j.at
	}
	if a.End > 0 {
		a.Start, a.End = a.Start+j.at, a.End+j.at
	} else {
		a.Start, a.End = j.at, j.end
	}
	return &Event{Kind: kind, RequestID: j.run.result.RequestID, Alternatives: []Alternative{a}}
}
