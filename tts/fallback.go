package tts

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"time"

	"github.com/parley-go/parley/internal/failover"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/tts/driver"
)

// probeTime is how long a probe may take.
const probeTime = 30 * time.Second

// FallbackOptions tune a Fallback; nil and zero values mean the defaults.
type FallbackOptions struct {
	// Conn says how each model is tried, instead of its own options: default two retries, 0.5 s between
	// them and a timeout of 5 s.
	Conn model.ConnOptions
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
		d.Conn.MaxRetry = 2
	}
	if d.Conn.RetryInterval == 0 {
		d.Conn.RetryInterval = 500 * time.Millisecond
	}
	if d.Conn.Timeout == 0 {
		d.Conn.Timeout = 5 * time.Second
	}
	return d
}

type (
	group  = failover.Group[*Model]
	member = failover.Member[*Model]
)

// Fallback returns a model that speaks with the first of models, with the next one when that fails, and
// so on; o may be nil. A model that failed is passed over by all sessions until it works again, and asked
// only when all others fail. The whole text is said by one voice: once there was audio, a failure ends
// the speech. Audio has the highest rate of all models. Models may take text while it is written or whole
// texts, mixed as you like; those that do both may fail at one and be asked for the other.
//
// Speeches that pass over a model probe it now and then: once their text is complete they have it speak
// that too, and throw the first audio away. What that costs is booked as discarded. Probes end with the
// stream.
//
// Each failure is reported once, as a recoverable error as long as there is somebody else to ask, and
// metrics are those of the models that were asked; the time to the first audio counts from the first
// model that was given text. Info is the model that would be asked now, Stream.Info the one that was.
// Prewarm warms the first model; the models are closed by whoever made them. A Fallback among models
// stands for its own models.
func Fallback(o *FallbackOptions, models ...*Model) *Model {
	d := o.defaults()
	var all []*Model
	for _, m := range models {
		switch {
		case m == nil:
		case m.streams != nil:
			all = append(all, m.streams.Models()...)
		default:
			all = append(all, m)
		}
	}
	m := New(nobody{}, &ModelOptions{Conn: d.Conn})
	if len(all) == 0 {
		return m
	}
	m.caps = Capabilities{AlignedTranscript: true, Channels: 1}
	for _, x := range all {
		m.caps.AlignedTranscript = m.caps.AlignedTranscript && x.caps.AlignedTranscript
		m.caps.SampleRate = max(m.caps.SampleRate, x.caps.SampleRate)
	}
	m.streams = failover.New("tts", d.ProbeAfter, d.OnAvailability, all)
	m.wholes = failover.New("tts", d.ProbeAfter, d.OnAvailability, all)
	return m
}

var errNobody = errors.New("a fallback without models")

// nobody is the driver of a Fallback, which nothing gets to unless it has no models.
type nobody struct{}

func (nobody) Info() model.Info           { return model.Info{Label: "tts.Fallback"} }
func (nobody) Capabilities() Capabilities { return Capabilities{Channels: 1} }

func (nobody) Synthesize(context.Context, string) (driver.AudioStream, error) {
	return nil, &model.Error{Kind: model.KindRequest, Op: "synthesize", Err: errNobody}
}

// takeover is the source of a stream of a Fallback: that of one model after the other, each of which gets
// all text.
type takeover struct {
	g     *group
	whole bool
	asked []*member
	src   source // of the present model
	text  strings.Builder
	ended bool
}

func newTakeover(m *Model, whole bool) *takeover {
	t := &takeover{g: m.streams, whole: whole}
	if whole {
		t.g = m.wholes
	}
	t.asked = t.g.Order()
	t.src = t.asked[0].Model.newSource(whole)
	return t
}

func (t *takeover) push(text string) {
	t.text.WriteString(text)
	t.src.push(text)
}

func (t *takeover) end() {
	t.ended = true
	t.src.end()
}

func (t *takeover) ready() bool { return t.src.ready() }

func (t *takeover) run(s *Stream) (err error) {
	var end func(error, ...slog.Attr)
	s.span, end = model.StartSpan(s.ctx, "tts_fallback_adapter")
	defer func() { end(err) }()
	began := time.Now()
	var errs []error
	for i, who := range t.asked {
		s.turnTo(t, i)
		err := t.src.run(s)
		heard := !s.FirstAudio().IsZero()
		if s.ctx.Err() != nil {
			return err
		}
		if err == nil {
			if heard {
				who.Works(s.user)
			}
			return nil
		}
		who.Failed(s.user)
		errs = append(errs, err)
		if heard {
			break
		}
	}
	return failover.Failure(s.who.info, "speak", began, errs)
}

// turnTo has model i of t speak.
func (s *Stream) turnTo(t *takeover, i int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.who, s.more = t.asked[i].Model, i < len(t.asked)-1
	if i == 0 {
		return
	}
	if a := s.acct; s.since.IsZero() && a != nil {
		s.since = a.started()
	}
	t.src = s.who.newSource(t.whole)
	if t.text.Len() > 0 {
		t.src.push(t.text.String())
	}
	if t.ended {
		t.src.end()
	}
	s.signal()
}

// mayPassOn reports whether another model will speak when the present one fails.
func (s *Stream) mayPassOn() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.more && s.first.IsZero()
}

// probePassed probes the models that the speech passes over, where it is time to. The text is complete.
// It is called under the lock.
func (s *Stream) probePassed() {
	t, ok := s.src.(*takeover)
	if !ok || !speakable(t.text.String()) {
		return
	}
	for _, who := range t.g.Passed() {
		end, ok := who.Probe()
		if !ok {
			continue
		}
		text := t.text.String()
		s.probes.Add(1)
		go func() {
			defer s.probes.Done()
			end(s.user, s.probe(who.Model, text, t.whole))
		}()
	}
}

// probe reports whether m speaks. Nothing is taken from its stream, so that all of it is discarded.
func (s *Stream) probe(m *Model, text string, whole bool) bool {
	ctx, cancel := context.WithTimeout(model.WithHooks(s.user, nil), probeTime)
	defer cancel()
	conn := s.conn
	conn.MaxRetry = 0
	p := m.newStream(ctx, conn, whole)
	defer p.Discard()
	_ = p.Push(text)
	_ = p.EndInput()
	for {
		select {
		case it, ok := <-p.out:
			if !ok || len(it.Frame.Data) > 0 {
				return ok
			}
		case <-s.closed:
			return false
		}
	}
}
