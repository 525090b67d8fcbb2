package tts

import (
	"context"
	"strings"
	"time"

	"github.com/parley-go/parley/internal/attempt"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/tokenize"
	"github.com/parley-go/parley/tts/driver"
)

// lastWords is how long a provider may still explain itself after it refused text.
const lastWords = 250 * time.Millisecond

// segment is the source of a stream whose driver takes text while it is written.
type segment struct {
	m         *Model
	d         driver.Streamer
	tok       *tokenize.Sentences // nil: the driver takes text as it is written
	texts     []string            // all of it, to be sent again by a retry
	speakable bool
	ended     bool
}

func newSegment(m *Model, d driver.Streamer) *segment {
	g := &segment{m: m, d: d}
	if m.caps.Sentences {
		g.tok = newSentences()
	}
	return g
}

func (g *segment) push(text string) {
	g.speakable = g.speakable || speakable(text)
	if g.tok == nil {
		g.texts = append(g.texts, text)
	} else {
		g.texts = append(g.texts, g.tok.Push(text)...)
	}
}

func (g *segment) ready() bool { return g.speakable && len(g.texts) > 0 }

func (g *segment) end() {
	if g.tok != nil && !g.ended {
		g.texts = append(g.texts, g.tok.Flush()...)
	}
	g.ended = true
}

func (g *segment) run(s *Stream) error {
	if !s.await(s.ctx, func() bool { return g.speakable || g.ended }) {
		return s.ctx.Err()
	}
	s.mu.Lock()
	silent := !g.speakable
	s.mu.Unlock()
	if silent {
		return nil
	}
	r := &request{s: s, a: newAccount(s.ctx, g.m, metrics.NewID("seg_")), piece: 1}
	s.open(r.a)
	input := func() string {
		s.mu.Lock()
		defer s.mu.Unlock()
		return strings.Join(g.texts, "")
	}
	return r.retry(s.span, input, func(ctx context.Context, n int) error { return g.attempt(ctx, r) })
}

// attempt speaks the segment with one stream of the driver.
func (g *segment) attempt(ctx context.Context, r *request) error {
	d, err := g.openDriver(ctx, r.s)
	if err != nil {
		return err
	}
	r.a.acquired(d)
	r.a.opened(d)
	t := r.begin(ctx)
	closeDriver := t.closer(d)
	fed := make(chan error, 1) // the feeder's only word
	go func() { fed <- g.feed(t, d) }()
	err = t.judge(t.receive(d))
	t.over.Store(true)
	closeDriver()
	t.cancel(err)
	fedErr := <-fed
	switch {
	case err != nil:
		return err
	case fedErr != nil:
		return fedErr
	case !r.heard:
		return g.m.newError(model.KindConnection, "speak", "provider sent no audio for the text")
	}
	return nil
}

func (g *segment) openDriver(ctx context.Context, s *Stream) (d driver.Stream, err error) {
	limit := s.conn.Timeout
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	err = attempt.Guard(g.m.info, "open", func() (err error) {
		d, err = g.d.Open(ctx)
		return err
	})
	if err == nil && d == nil {
		err = g.m.newError(model.KindProtocol, "open", "driver returned no stream")
	}
	return d, attempt.Classify(s.ctx, g.m.info, "open", limit, err)
}

// feed sends the text, from its beginning, and its end.
func (g *segment) feed(t *attemptState, d driver.Stream) error {
	s, limit := t.r.s, t.r.s.conn.Timeout
	stuck := time.AfterFunc(limit, func() { t.cancel(attempt.Timeout(g.m.info, "push", limit)) })
	stuck.Stop()
	for next := 0; ; {
		var text string
		var end bool
		ready := func() bool {
			end = next == len(g.texts) && g.ended
			if next < len(g.texts) {
				text = strings.Join(g.texts[next:], "")
				next = len(g.texts)
				return true
			}
			return end
		}
		if !s.await(t.ctx, ready) {
			return g.endedEarly()
		}
		stuck.Reset(limit)
		err := attempt.Guard(g.m.info, "push", func() error {
			if end {
				return d.CloseSend(t.ctx)
			}
			t.r.a.sending()
			return d.Push(t.ctx, text)
		})
		stuck.Stop()
		switch {
		case err != nil && t.over.Load(): // not the provider's word: we closed the stream
			return g.endedEarly()
		case err != nil:
			t.giveUp(err)
			return err
		case end:
			t.dog.Arm()
			return nil
		}
		t.r.a.accepted(text)
	}
}

func (g *segment) endedEarly() error {
	return g.m.newError(model.KindConnection, "speak", "provider ended the speech before its text")
}

// giveUp ends the attempt because it takes no more text. A provider that refuses often says why in
// its last message, which tells more than a failed write, so the receiver gets time to read it.
func (t *attemptState) giveUp(err error) {
	timer := time.NewTimer(lastWords)
	defer timer.Stop()
	select {
	case <-timer.C:
		t.cancel(err)
	case <-t.ctx.Done():
	}
}
