package llm

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/parley-go/parley/internal/failover"
	"github.com/parley-go/parley/llm/driver"
	"github.com/parley-go/parley/model"
)

// probeTime is how long a probe may take.
const probeTime = 30 * time.Second

// FallbackOptions tune a Fallback; nil and zero values mean the defaults.
type FallbackOptions struct {
	// Conn says how each model is tried, instead of its own options: default no retry, 0.5 s between
	// retries and a timeout of 5 s. Request.Conn overrides it.
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
		d.Conn.MaxRetry = -1
	}
	if d.Conn.RetryInterval == 0 {
		d.Conn.RetryInterval = 500 * time.Millisecond
	}
	if d.Conn.Timeout == 0 {
		d.Conn.Timeout = 5 * time.Second
	}
	return d
}

// Fallback returns a model that asks the first of models, the next one when that fails, and so on; o may
// be nil. A model that failed is passed over by all sessions until it works again, and asked only when
// all others fail. Once text or a tool call has come, nobody else is asked: what the user may have heard
// is not said again.
//
// Requests that pass over a model probe it now and then: they send it the same request in the background
// and throw the answer away. What that costs is booked as discarded.
//
// Each failure is reported once, as a recoverable error as long as there is somebody else to ask, and
// metrics are those of the models that were asked. Info is the model that would be asked now,
// Stream.Info the one that was. Prewarm warms the first model, Close ends the probes; the models are
// closed by whoever made them. A Fallback among models stands for its own models.
func Fallback(o *FallbackOptions, models ...*Model) *Model {
	d := o.defaults()
	var all []*Model
	for _, m := range models {
		switch {
		case m == nil:
		case m.group != nil:
			all = append(all, m.group.Models()...)
		default:
			all = append(all, m)
		}
	}
	m := New(nobody{}, &Options{Conn: d.Conn})
	if len(all) > 0 {
		m.group = failover.New("llm", d.ProbeAfter, d.OnAvailability, all)
	}
	return m
}

var errNobody = errors.New("a fallback without models")

// nobody is the driver of a Fallback, which nothing gets to unless it has no models.
type nobody struct{}

func (nobody) Info() model.Info { return model.Info{Label: "llm.Fallback"} }

func (nobody) Chat(context.Context, *driver.Request) (driver.Stream, error) {
	return nil, &model.Error{Kind: model.KindRequest, Op: "chat", Err: errNobody}
}

type member = failover.Member[*Model]

// probePassed probes the models that the request passes over, where it is time to. The stream is not
// done before them.
func (s *Stream) probePassed(req *driver.Request) {
	if s.m.group == nil {
		return
	}
	for _, who := range s.m.group.Passed() {
		if who == s.asked[0] || !s.m.enter() {
			continue
		}
		if !s.begin() { // the reader has left
			s.m.leave()
			return
		}
		end, ok := who.Probe()
		if !ok {
			s.end()
			s.m.leave()
			continue
		}
		go func() {
			defer s.m.leave()
			defer s.end()
			end(s.ctx, s.probe(who.Model, req))
		}()
	}
}

// probe reports whether m answers the request. The answer is read to its end, where most providers say
// what it costs.
func (s *Stream) probe(m *Model, req *driver.Request) bool {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), probeTime)
	defer cancel()
	defer context.AfterFunc(s.m.life, cancel)()
	p := newStream(model.WithHooks(ctx, nil), m, s.conn)
	p.probing = true
	go p.run(req, nil)
	for {
		if _, err := p.Next(); err != nil {
			p.Close()
			<-p.Done()
			return err == io.EOF && p.TTFT() >= 0
		}
	}
}
