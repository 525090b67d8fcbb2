package telemetry

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/parley-go/parley/llm"
	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/session"
)

// maxTurns is how many turns of the agent are remembered for what comes late.
const maxTurns = 100

// tracer makes spans of what a session does. The session opens most of them itself; those of the user
// are made of its events, when all that belongs to them is known.
type tracer struct {
	s      *session.Session
	otel   trace.Tracer
	key    spanKey
	o      Options
	always []attribute.KeyValue // on every span

	mu      sync.Mutex
	root    context.Context // of the session's span; nil before the start
	turns   map[string]context.Context
	order   []string  // of turns, oldest first
	eou     []decided // that wait for the user's message
	talking *talking  // of the user, whose span waits for the verdict on an interruption
	stt     metrics.Metadata
}

// decided is the end of a turn that no message has told of yet.
type decided struct {
	attrs      []attribute.KeyValue
	start, end time.Time
}

// talking is a stretch of the user's speech.
type talking struct {
	start, end time.Time
	attrs      []attribute.KeyValue
}

// spanKey is where a context has the last span of a provider, an opened, since several may be at work.
type spanKey struct{ of any }

// outsideKey is where a context has the span that was around all of ours, if there is one of ours.
type outsideKey struct{}

// opened is a span that the session opened.
type opened struct {
	trace.Span
	name string
	told atomic.Bool // of a turn: what a response of it has cost
}

// askedKey is where the context of an LLM node has what the model is asked.
type askedKey struct{ t *tracer }

func newTracer(s *session.Session, o Options) *tracer {
	t := &tracer{s: s, o: o, otel: o.TracerProvider.Tracer(ScopeName), turns: make(map[string]context.Context)}
	if t.key = (spanKey{t}); reflect.TypeOf(o.TracerProvider).Comparable() {
		t.key.of = o.TracerProvider
	}
	t.always = append(o.Attributes[:len(o.Attributes):len(o.Attributes)],
		attribute.Bool("lk.simulation.enabled", o.Simulation), attribute.Bool("lk.redaction.enabled", o.Redact))
	return t
}

// identity is what tells of the job, on the spans of job and session.
func (o *Options) identity(ctx context.Context) (kvs []attribute.KeyValue) {
	put := func(key, v string) {
		if v != "" && !(o.Redact && private(key)) {
			kvs = append(kvs, attribute.String(key, v))
		}
	}
	if job := model.JobOf(ctx); job != nil {
		put("lk.job_id", job().ID)
	}
	put("lk.agent_name", o.AgentName)
	put("lk.pii.room_name", o.RoomName)
	put("lk.cloud_agent_id", os.Getenv("LIVEKIT_AGENT_ID"))
	put("lk.deployment_id", os.Getenv("LIVEKIT_AGENT_DEPLOYMENT"))
	return kvs
}

// StartJob opens the span job_entrypoint, which is around all that a job does: sessions that are started
// with the returned context are inside of it, and models that are asked with it have their spans there,
// too. end ends it with what the entrypoint returns.
func StartJob(ctx context.Context, o Options) (_ context.Context, end func(err error)) {
	if o.TracerProvider == nil {
		return ctx, func(error) {}
	}
	t := newTracer(nil, o)
	ctx, span := t.open(ctx, "job_entrypoint", trace.WithAttributes(append(t.always, o.identity(ctx)...)...))
	return model.WithSpans(ctx, t.start), func(err error) {
		t.fail(span, err)
		span.End()
	}
}

// start opens a span for the session. It is the hook of model.Hooks.
func (t *tracer) start(ctx context.Context, name string, attrs ...slog.Attr) (context.Context, func(error, ...slog.Attr)) {
	if name == "realtime_metrics" {
		t.spent(ctx, attrs)
		return ctx, func(error, ...slog.Attr) {}
	}
	kvs, began, _ := t.attributes(attrs)
	if name == "eou_detection" {
		return ctx, func(_ error, more ...slog.Attr) {
			rest, _, ended := t.attributes(more)
			t.mu.Lock()
			defer t.mu.Unlock()
			t.eou = append(t.eou, decided{append(kvs, rest...), began, ended})
		}
	}
	switch name {
	case "agent_session":
		kvs = append(kvs, t.o.identity(ctx)...)
	case "agent_speaking":
		kvs = append(kvs, t.participant(model.JobOf(ctx))...)
	}
	at := time.Now()
	opts := []trace.SpanStartOption{trace.WithAttributes(append(t.always[:len(t.always):len(t.always)], kvs...)...)}
	if !began.IsZero() {
		at = began
	}
	opts = append(opts, trace.WithTimestamp(at))
	ctx, span := t.open(ctx, name, opts...)
	switch name {
	case "agent_session":
		t.begin(ctx)
	case "agent_turn":
		t.remember(metrics.TagsFrom(ctx).SpeechID, ctx)
	case "llm_node":
		for _, a := range attrs {
			if c, ok := a.Value.Any().(*chat.Context); ok {
				ctx = context.WithValue(ctx, askedKey{t}, c)
			}
		}
	case "llm_request":
		t.asked(span, ctx)
	}
	return ctx, func(err error, attrs ...slog.Attr) { t.end(name, span, at, err, attrs) }
}

// open opens a span where it belongs.
func (t *tracer) open(ctx context.Context, name string, opts ...trace.SpanStartOption) (context.Context, trace.Span) {
	if ctx.Value(outsideKey{}) == nil {
		ctx = context.WithValue(ctx, outsideKey{}, trace.SpanFromContext(ctx))
	}
	ctx, span := t.otel.Start(t.parent(ctx, name), name, opts...)
	return context.WithValue(ctx, t.key, &opened{Span: span, name: name}), span
}

// parent is ctx with the span under which a span of that name belongs: the application's if it is of the same
// provider, or else our last one, which is never one that another provider has.
func (t *tracer) parent(ctx context.Context, name string) context.Context {
	if name == "function_tool" { // tools outlive the turn that calls them, so their context is not the turn's
		t.mu.Lock()
		turn := t.turns[metrics.TagsFrom(ctx).SpeechID]
		t.mu.Unlock()
		if turn != nil {
			return trace.ContextWithSpan(ctx, trace.SpanFromContext(turn))
		}
	}
	if t.key.of != any(t) && trace.SpanFromContext(ctx).TracerProvider() == t.o.TracerProvider {
		return ctx
	}
	if o, ok := ctx.Value(t.key).(*opened); ok {
		return trace.ContextWithSpan(ctx, o.Span)
	}
	if outside, ok := ctx.Value(outsideKey{}).(trace.Span); ok {
		return trace.ContextWithSpan(ctx, outside)
	}
	return ctx
}

// begin is the start of a session.
func (t *tracer) begin(ctx context.Context) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.root, t.turns, t.order, t.eou, t.talking = ctx, make(map[string]context.Context), nil, nil, nil
}

// remember keeps the span of a turn of the agent.
func (t *tracer) remember(speech string, ctx context.Context) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, known := t.turns[speech]; !known {
		t.order = append(t.order, speech)
	}
	t.turns[speech] = ctx
	if len(t.order) > maxTurns {
		delete(t.turns, t.order[0])
		t.order = slices.Delete(t.order, 0, 1)
	}
}

// asked tells what the model is asked. These events have content in their body, so there are none when
// that is redacted.
func (t *tracer) asked(span trace.Span, ctx context.Context) {
	c, _ := ctx.Value(askedKey{t}).(*chat.Context)
	if c == nil || t.o.Redact {
		return
	}
	for _, m := range messages(c) {
		span.AddEvent(m.name, trace.WithAttributes(m.attrs...))
	}
}

// attributes converts attrs, less those that are redacted, and takes out when the span began and ended.
func (t *tracer) attributes(attrs []slog.Attr) (kvs []attribute.KeyValue, began, ended time.Time) {
	for _, a := range attrs {
		switch {
		case a.Key == model.SpanStart:
			began = a.Value.Time()
		case a.Key == model.SpanEnd:
			ended = a.Value.Time()
		case t.o.Redact && private(a.Key):
		default:
			if kv, ok := convert(a); ok {
				kvs = append(kvs, kv)
			}
		}
	}
	return kvs, began, ended
}

// end ends a span of the session.
func (t *tracer) end(name string, span trace.Span, began time.Time, err error, attrs []slog.Attr) {
	if name == "llm_request" {
		attrs = t.answered(span, began, attrs)
	}
	if name == "agent_session" {
		t.flushTalking()
	}
	kvs, _, ended := t.attributes(attrs)
	span.SetAttributes(kvs...)
	t.fail(span, err)
	if ended.IsZero() {
		ended = time.Now()
	}
	span.End(trace.WithTimestamp(ended))
}

// answered tells what the model answered, as an event, and when it began to. It returns the attributes
// that are left.
func (t *tracer) answered(span trace.Span, began time.Time, attrs []slog.Attr) (rest []slog.Attr) {
	choice := []attribute.KeyValue{attribute.String("role", string(chat.Assistant))}
	for _, a := range attrs {
		switch v := a.Value.Any().(type) {
		case *metrics.LLM:
			if v.TTFT != metrics.NoOutput {
				// That dialect wants a JSON string.
				span.SetAttributes(attribute.String("langfuse.observation.completion_start_time", `"`+iso(began.Add(v.TTFT))+`"`))
			}
			rest = append(rest, a)
		case []llm.ToolCall:
			if len(v) > 0 {
				choice = append(choice, attribute.StringSlice("tool_calls", callTexts(v)))
			}
		case string:
			if v != "" {
				choice = append(choice, attribute.String("content", v))
			}
		default:
			rest = append(rest, a)
		}
	}
	if len(choice) > 1 && !t.o.Redact {
		span.AddEvent("gen_ai.choice", trace.WithAttributes(choice...))
	}
	return rest
}

func iso(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000000Z07:00") }

// fail marks the span as failed. That nobody wanted the rest is no failure.
func (t *tracer) fail(span trace.Span, err error) {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, llm.ErrClosed) {
		return
	}
	text := err.Error()
	if t.o.Redact {
		text = redacted
	}
	kvs := []attribute.KeyValue{attribute.String("exception.type", exceptionType(err)), attribute.String("exception.message", text)}
	if p, ok := errors.AsType[*llm.PanicError](err); ok && !t.o.Redact {
		kvs = append(kvs, attribute.String("exception.stacktrace", string(p.Stack)))
	}
	span.AddEvent("exception", trace.WithAttributes(kvs...))
	span.SetAttributes(kvs...)
	span.SetAttributes(attribute.String("error.type", errorType(err)))
	span.SetStatus(codes.Error, text)
}

// participant is who the agent is.
func (t *tracer) participant(job func() model.Job) (kvs []attribute.KeyValue) {
	if job != nil {
		if id := job().AgentID; id != "" {
			kvs = append(kvs, attribute.String("lk.participant_id", id))
		}
	}
	if t.o.AgentIdentity != "" && !t.o.Redact {
		kvs = append(kvs, attribute.String("lk.pii.participant_identity", t.o.AgentIdentity))
	}
	return append(kvs, attribute.String("lk.participant_kind", "agent"))
}
