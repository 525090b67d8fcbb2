package session

import (
	"context"
	"log/slog"
	"sync/atomic"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/turn"
	"github.com/parley-go/parley/vad"
)

// judge is a turn detector by audio at work. It hears the user beside the VAD and is asked once in
// every pause that may end the turn. It stays when the agent or the ears change, as long as the
// detector is the same. It is used on the loop only, but for stream.
type judge struct {
	r      *run
	model  *turn.Model
	tags   metrics.LiveTags
	ctx    context.Context // of the stream and of the questions
	cancel context.CancelFunc
	work   *mailbox                    // what the stream is told, in order and off the loop
	stream atomic.Pointer[turn.Stream] // nil until it is open

	opinion *opinion // of the present pause; nil for none
	flushed bool     // the turn is over, and the user has not spoken since
}

// opinion is what a judge thinks of one pause.
type opinion struct {
	cancel     context.CancelFunc // of the question
	known      bool               // the two below are
	prediction turn.Prediction
	err        error
}

// judgeFor makes the judge that act needs. On the loop.
func (r *run) judgeFor(act *activity) {
	model := act.detector
	if model != nil && (model.Kind() != turn.Audio || !r.hasVAD()) {
		model = nil
	}
	if old := r.judge.Load(); old != nil {
		if old.model == model {
			return
		}
		r.judge.Store(nil)
		old.forget()
		old.cancel()
	}
	if model == nil {
		return
	}
	j := &judge{r: r, model: model, work: newMailbox()}
	j.tags.Set(r.listening())
	j.ctx, j.cancel = context.WithCancel(metrics.WithLiveTags(r.ctx, &j.tags))
	context.AfterFunc(j.ctx, j.work.close)
	r.judge.Store(j)
	r.goDo("turn detector", j.listen)
}

// listen keeps the stream until the judge is not needed any more. A session whose detector cannot
// listen, which was reported, goes on without.
func (j *judge) listen() {
	s, err := j.model.NewStream(j.ctx)
	if err == nil {
		j.stream.Store(s)
		defer s.Close()
	}
	j.work.run(func(m *message) { m.do() })
}

// hear takes the user's audio (borrowed). It is called by the ears.
func (j *judge) hear(f audio.Frame) {
	if s := j.stream.Load(); s != nil {
		s.Push(f)
	}
}

// follow asks when a pause inside of speech is long enough to be the end of the turn, and forgets the
// answer when the user goes on.
func (j *judge) follow(ev *vad.Event) {
	switch {
	case ev.RawSpeech > 0:
		j.forget()
	case ev.RawSilence >= turn.SilenceWindow:
		j.ask()
	}
}

// ask asks about the present pause, unless that was done.
func (j *judge) ask() {
	s := j.stream.Load()
	if s == nil || j.opinion != nil {
		return
	}
	language := j.r.heard.language
	ctx, cancel := context.WithCancel(metrics.WithTags(j.ctx, j.r.listening()))
	o := &opinion{cancel: cancel}
	j.opinion, j.flushed = o, false
	j.work.post(message{do: func() {
		defer cancel()
		p, err := s.Predict(ctx, language)
		j.r.post(func() { j.answered(o, p, err) })
	}})
}

func (j *judge) answered(o *opinion, p turn.Prediction, err error) {
	if j.opinion != o {
		return
	}
	o.known, o.prediction, o.err = true, p, err
	j.r.judged(j.r.heard.question, p, err)
}

// forget drops the opinion. A decision that waits for it is made without.
func (j *judge) forget() {
	o := j.opinion
	if o == nil {
		return
	}
	j.opinion = nil
	o.cancel()
	j.r.judged(j.r.heard.question, turn.Prediction{}, turn.ErrDropped)
}

// begin is called when the user begins to speak.
func (j *judge) begin() {
	j.forget()
	j.flushed = false
}

// flush ends the turn for the judge.
func (j *judge) flush() {
	j.forget()
	j.flushed = true
	if s := j.stream.Load(); s != nil {
		j.work.post(message{do: s.Flush})
	}
}

// judgeByAudio goes on with the decision as soon as there is an opinion. None is asked for here:
// it belongs to the pause.
func (r *run) judgeByAudio() {
	h, j := &r.heard, r.judge.Load()
	if j == nil || j.opinion == nil {
		if j != nil && j.flushed {
			level := slog.LevelWarn
			if h.toldLate {
				level = slog.LevelDebug
			}
			h.toldLate = true
			r.log.Log(r.ctx, level, "words came when their turn was over, so the turn detector is not asked about them")
		}
		r.endTurnAfter(r.minDelay())
		return
	}
	h.asking = true
	if o := j.opinion; o.known {
		h.verdict.cached = true
		r.judged(h.question, o.prediction, o.err)
	}
}

// resetJudge is called when a turn of the user has ended.
func (r *run) resetJudge() {
	if j := r.judge.Load(); j != nil {
		j.flush()
	}
}
