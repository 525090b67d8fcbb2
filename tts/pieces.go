package tts

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/parley-go/parley/internal/attempt"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/tokenize"
	"github.com/parley-go/parley/tts/driver"
)

// pieces is the source of a stream whose driver speaks whole texts: one request per piece, in
// order. A piece is asked for once the reader has begun to take the one before it, so that one
// piece at most is paid for and not heard when the speech is interrupted.
type pieces struct {
	m     *Model
	d     driver.Synthesizer
	tok   *tokenize.Sentences // nil: the whole text is one piece
	whole strings.Builder
	queue []string
	ended bool
}

func newPieces(m *Model, d driver.Synthesizer, whole bool) *pieces {
	p := &pieces{m: m, d: d}
	if !whole {
		p.tok = newSentences()
	}
	return p
}

// newSentences cuts text for drivers that want whole pieces of it. The first one comes early.
func newSentences() *tokenize.Sentences {
	return tokenize.NewSentences(&tokenize.SentenceOptions{FirstClause: true, RetainFormat: true})
}

func (p *pieces) push(text string) {
	if p.tok == nil {
		p.whole.WriteString(text)
		return
	}
	p.queue = append(p.queue, p.tok.Push(text)...)
}

func (p *pieces) end() {
	p.ended = true
	if p.tok != nil {
		p.queue = append(p.queue, p.tok.Flush()...)
	} else if p.whole.Len() > 0 {
		p.queue = append(p.queue, p.whole.String())
	}
}

func (p *pieces) ready() bool { return slices.ContainsFunc(p.queue, speakable) }

func (p *pieces) run(s *Stream) (err error) {
	if p.tok != nil {
		outer := s.span
		ctx, end := model.StartSpan(outer, "tts_stream_adapter")
		s.span = ctx
		defer func() {
			s.span = outer
			end(err)
		}()
	}
	var at time.Duration
	for n := 1; ; n++ {
		text, ok := p.next(s, n)
		if !ok {
			return s.ctx.Err()
		}
		got, err := p.speak(s, n, text, at)
		if err != nil {
			return err
		}
		at += got
	}
}

// next waits for piece n and for the reader to have begun with the one before; false means that
// there is no more.
func (p *pieces) next(s *Stream, n int) (text string, ok bool) {
	s.await(s.ctx, func() bool {
		if len(p.queue) == 0 {
			return p.ended
		}
		if s.taken < n-1 {
			return false
		}
		text, p.queue, ok = p.queue[0], p.queue[1:], true
		return true
	})
	return text, ok
}

// speak makes one request and returns how much audio came of it. A piece without sound is only
// passed on as text.
func (p *pieces) speak(s *Stream, n int, text string, at time.Duration) (time.Duration, error) {
	if !speakable(text) {
		s.emit(item{Audio: Audio{Text: text, PieceEnd: true}, piece: n})
		return 0, s.ctx.Err()
	}
	r := &request{s: s, a: newAccount(s.ctx, p.m, ""), piece: n, text: text, start: at}
	s.open(r.a)
	asked := strings.TrimSpace(text)
	err := r.retry(s.span, func() string { return asked }, func(ctx context.Context, _ int) error {
		return p.attempt(ctx, r, asked)
	})
	if err != nil {
		return r.got, err
	}
	s.emit(item{Audio: Audio{PieceEnd: true}, piece: n})
	return r.got, s.ctx.Err()
}

func (p *pieces) attempt(ctx context.Context, r *request, text string) error {
	t := r.begin(ctx)
	defer t.cancel(nil)
	t.dog.Arm()
	r.a.sending()
	ctx, conn := attempt.Watch(t.ctx)
	d, err := p.ask(ctx, t, text)
	if err != nil {
		if r.s.ctx.Err() != nil && !attempt.IsUnsent(err) {
			r.a.accepted(text) // on its way when it was cancelled: the provider has the text
		}
		return t.judge(err)
	}
	r.a.accepted(text)
	if conn.Known() {
		r.a.acquired(conn)
	} else {
		r.a.acquired(d)
	}
	closeDriver := t.closer(d)
	defer closeDriver()
	if err := t.judge(t.receive(d)); err != nil {
		return err
	}
	if !r.heard {
		return p.m.newError(model.KindConnection, "speak", "provider sent no audio for the text")
	}
	return nil
}

func (p *pieces) ask(ctx context.Context, t *attemptState, text string) (d driver.AudioStream, err error) {
	t.dog.Wait()
	defer t.dog.Got()
	err = attempt.Guard(p.m.info, "synthesize", func() (err error) {
		d, err = p.d.Synthesize(ctx, text)
		return err
	})
	if err == nil && d == nil {
		err = p.m.newError(model.KindProtocol, "synthesize", "driver returned no stream")
	}
	return d, err
}
