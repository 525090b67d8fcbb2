package stt

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/internal/failover"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/stt/driver"
	"github.com/parley-go/parley/vad"
)

// probeTime is how long a probe may take.
const probeTime = 30 * time.Second

// FallbackOptions tune a Fallback; nil and zero values mean the defaults.
type FallbackOptions struct {
	// Conn says how each model is tried, instead of its own options: default one retry and a timeout of
	// 10 s. A model that was adapted before keeps its own.
	Conn model.ConnOptions
	// VAD makes those of the models streaming that are not, see Adapt. Without it a Fallback streams
	// only if all of them do.
	VAD *vad.Model
	// ProbeAfter is the time from the failure of a model to the first probe of whether it works again:
	// default 10 s. It doubles with every probe that fails, up to 5 minutes.
	ProbeAfter time.Duration
	// OnAvailability is told when a model is passed over from now on, and when it is asked again. It is
	// called from the goroutine of a call and must return quickly.
	OnAvailability func(model.AvailabilityEvent)
}

func (o *FallbackOptions) defaults() FallbackOptions {
	var d FallbackOptions
	if o != nil {
		d = *o
	}
	if d.Conn.MaxRetry == 0 {
		d.Conn.MaxRetry = 1
	}
	if d.Conn.RetryInterval == 0 {
		d.Conn.RetryInterval = 5 * time.Second
	}
	d.Conn = d.Conn.Defaults()
	return d
}

type (
	group  = failover.Group[*Model]
	member = failover.Member[*Model]
)

// Fallback returns a model that transcribes with the first of models, with the next one when that fails,
// and so on; o may be nil. A model that failed is passed over by all sessions until it works again, and
// asked only when all others fail.
//
// A stream that goes on with the next model gives it the audio since the last final again, at most 30 s of
// it, and times go on from where they were. It does not go back when a model works again: the next stream
// does. While a model is passed over, streams probe it now and then: it gets a copy of the audio until it
// has understood something, for 30 s at most. Recognize probes with the same utterance. What that costs is
// booked as discarded.
//
// Each failure is reported once, as a recoverable error as long as there is somebody else to ask, and
// metrics are those of the models that were asked. Info is the model that would be asked now, Stream.Info
// the one that is. A Fallback among models stands for its own models.
func Fallback(o *FallbackOptions, models ...*Model) *Model {
	d := o.defaults()
	var all []*Model
	for _, m := range models {
		switch {
		case m == nil:
		case m.group != nil:
			all = append(all, m.group.Models()...)
		case d.VAD != nil && !m.Streaming():
			x := *m
			x.conn = d.Conn
			all = append(all, Adapt(&x, d.VAD, nil))
		default:
			all = append(all, m)
		}
	}
	m := New(nobody{}, nil)
	m.conn = d.Conn
	if len(all) == 0 {
		return m
	}
	m.caps = all[0].caps
	for _, x := range all[1:] {
		m.caps = common(m.caps, x.caps)
	}
	m.group = failover.New("stt", d.ProbeAfter, d.OnAvailability, all)
	return m
}

// common is what a can do and somebody like b can stand in for. Keyterms are for those who know them.
func common(a, b Capabilities) Capabilities {
	a.InterimResults = a.InterimResults && b.InterimResults
	a.Diarization = a.Diarization && b.Diarization
	a.Speculative = a.Speculative && b.Speculative
	a.Keyterms = a.Keyterms || b.Keyterms
	if a.SampleRate != b.SampleRate {
		a.SampleRate = 0 // each gets its own
	}
	if b.AlignedTranscript == "" {
		a.AlignedTranscript = ""
	}
	return a
}

var errNobody = errors.New("a fallback without models")

// nobody is the driver of a Fallback, which nothing gets to unless it has no models.
type nobody struct{}

func (nobody) Info() model.Info           { return model.Info{Label: "stt.Fallback"} }
func (nobody) Capabilities() Capabilities { return Capabilities{} }

func (nobody) Recognize(context.Context, audio.Frame, Options) (*Result, error) {
	return nil, &model.Error{Kind: model.KindRequest, Op: "recognize", Err: errNobody}
}

func (nobody) Open(context.Context, Options) (driver.Stream, error) {
	return nil, &model.Error{Kind: model.KindRequest, Op: "open", Err: errNobody}
}

// accepted are the options that a model of a Fallback can do something with.
func accepted(m *Model, o *Options) *Options {
	x := optionsOf(o)
	if !m.caps.Keyterms {
		x.Keyterms = nil
	}
	return &x
}

// failure is a model that failed, and why.
type failure struct {
	who *member
	err error
}

func errorsOf(tried []failure) (errs []error) {
	for _, f := range tried {
		errs = append(errs, f.err)
	}
	return errs
}

// transcribe has one model after the other transcribe, until one has come to the end.
func (s *Stream) transcribe() error {
	g := s.m.group
	if g == nil {
		return s.connectAll()
	}
	for _, who := range g.Passed() {
		s.recover(who)
	}
	began := time.Now()
	for {
		order := slices.DeleteFunc(g.Order(), func(who *member) bool {
			return slices.ContainsFunc(s.tried, func(f failure) bool { return f.who == who })
		})
		if len(order) == 0 {
			return failover.Failure(s.who.Info(), "stream", began, errorsOf(s.tried))
		}
		s.turnTo(order[0])
		err := s.connectAll()
		if err == nil || s.ctx.Err() != nil {
			return err
		}
		order[0].Failed(s.user)
		s.recover(order[0])
		s.tried = append(s.tried, failure{order[0], err})
	}
}

// turnTo has who transcribe from now on.
func (s *Stream) turnTo(who *member) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.member, s.who = who, who.Model
	s.usage = usage{m: s.who, outcome: s.usage.outcome}
	s.conn = s.m.conn
	if s.who.quiet {
		s.conn = s.who.conn
	}
}

// mayPassOn reports whether another model will transcribe should the present one fail. It is for the
// goroutine that runs the stream.
func (s *Stream) mayPassOn() bool {
	return s.m.group != nil && len(s.tried)+1 < len(s.m.group.Models())
}

// works says that the present model has understood something.
func (s *Stream) works() {
	if s.member != nil {
		s.member.Works(s.user)
	}
}

// recover probes who now and then in the background, until it works or the stream ends.
func (s *Stream) recover(who *member) {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.closed:
		return
	default:
	}
	if slices.Contains(s.probed, who) {
		return
	}
	s.probed = append(s.probed, who)
	s.probes.Add(1)
	go func() {
		defer s.probes.Done()
		for s.waitToProbe(who) {
			if end, ok := who.Probe(); ok {
				end(s.user, s.probe(who.Model))
			}
		}
	}()
}

// waitToProbe reports whether who is still to be probed, once it may be.
func (s *Stream) waitToProbe(who *member) bool {
	pause, down := who.Pause()
	t := time.NewTimer(pause)
	defer t.Stop()
	if down {
		select {
		case <-t.C:
			return true
		case <-s.ctx.Done():
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.probed = slices.DeleteFunc(s.probed, func(m *member) bool { return m == who })
	return false
}

// probe reports whether m understands something of what the stream hears from now on.
func (s *Stream) probe(m *Model) bool {
	ctx, cancel := context.WithTimeout(model.WithHooks(s.ctx, nil), probeTime)
	defer cancel()
	conn := s.m.conn
	conn.MaxRetry = 0
	p, err := m.stream(ctx, accepted(m, &s.o), how{conn: conn, window: replayWindow, outcome: metrics.Discarded})
	if err != nil {
		return false
	}
	defer p.Close()
	s.mu.Lock()
	s.also = append(s.also, p)
	if s.ended {
		_ = p.EndInput()
	}
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.also = slices.DeleteFunc(s.also, func(x *Stream) bool { return x == p })
	}()
	for {
		e, err := p.Next()
		if err != nil {
			return false
		}
		if e.Kind == Final && e.Text() != "" {
			return true
		}
	}
}

// recognizeAny transcribes with one model after the other, until one has done it.
func (m *Model) recognizeAny(ctx context.Context, f audio.Frame, o *Options, how how) (*run, error) {
	began := time.Now()
	asked := m.group.Order()
	m.probePassed(ctx, f, o, how)
	var tried []failure
	for i, who := range asked {
		ctx := ctx
		if i < len(asked)-1 {
			ctx = model.WithFallback(ctx)
		}
		r, err := who.Model.recognize(ctx, f, accepted(who.Model, o), how)
		if err == nil {
			who.Works(ctx)
			return r, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		who.Failed(ctx)
		tried = append(tried, failure{who, err})
	}
	err := failover.Failure(asked[len(asked)-1].Model.Info(), "recognize", began, errorsOf(tried))
	return nil, fmt.Errorf("stt: recognize: %w", err)
}

// probePassed probes the models that a recognition passes over, where it is time to. The caller does not
// wait for it.
func (m *Model) probePassed(ctx context.Context, f audio.Frame, o *Options, how how) {
	how.conn.MaxRetry, how.outcome = 0, metrics.Discarded
	if how.life == nil {
		how.life = context.WithoutCancel(ctx)
	}
	for _, who := range m.group.Passed() {
		end, ok := who.Probe()
		if !ok {
			continue
		}
		f, o := f.Clone(), accepted(who.Model, o)
		go func() {
			bounded, cancel := context.WithTimeout(model.WithHooks(how.life, nil), probeTime)
			defer cancel()
			r, err := who.Model.recognize(bounded, f, o, how)
			if err == nil {
				r.book(how.life)
			}
			end(how.life, err == nil)
		}()
	}
}
