package telemetry

import (
	"context"
	"log/slog"
	"strconv"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/parley-go/parley/agent"
	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/session"
)

// listen makes the spans that are made of events.
func (t *tracer) listen() (cancel func()) {
	undo := []func(){
		session.On(t.s, t.userState),
		session.On(t.s, t.overlapped),
		session.On(t.s, func(e session.ConversationItemAdded) {
			if m, ok := e.Item.(*chat.Message); ok && m.Role == chat.User {
				t.userTurn(m, e.When())
			}
		}),
		session.On(t.s, func(e session.MetricsCollected) {
			switch m := e.Metrics.(type) {
			case *metrics.STT:
				t.mu.Lock()
				t.stt = m.Metadata
				t.mu.Unlock()
			case *metrics.Interruption:
				t.predicted(m)
			}
		}),
		session.On(t.s, func(session.Closed) { t.flushTalking() }),
	}
	return func() {
		for _, f := range undo {
			f()
		}
	}
}

// spanOf makes a span that is over, inside of the one of ctx.
func (t *tracer) spanOf(ctx context.Context, name string, start, end time.Time, kvs []attribute.KeyValue) context.Context {
	if end.Before(start) {
		end = start
	}
	ctx, span := t.otel.Start(ctx, name, trace.WithTimestamp(start),
		trace.WithAttributes(append(t.always[:len(t.always):len(t.always)], kvs...)...))
	span.End(trace.WithTimestamp(end))
	return ctx
}

// userTurn tells about a turn of the user when its message is there.
func (t *tracer) userTurn(m *chat.Message, at time.Time) {
	t.flushTalking()
	t.mu.Lock()
	root, who, waiting := t.root, m.Metrics.STT, t.eou
	if who == (metrics.Metadata{}) {
		who = t.stt
	}
	t.eou = nil
	t.mu.Unlock()
	if root == nil {
		return
	}
	start := m.Metrics.StartedSpeakingAt
	if start.IsZero() {
		start = m.CreatedAt
	}
	attrs := []slog.Attr{
		slog.String("gen_ai.request.model", who.ModelName), slog.String("gen_ai.provider.name", who.ModelProvider),
		slog.String("lk.pii.user_transcript", m.Text()), slog.Any("lk.provider_request_ids", m.Metrics.ProviderRequestIDs),
	}
	if m.Confidence > 0 {
		attrs = append(attrs, slog.Float64("lk.transcript_confidence", m.Confidence))
	}
	if d := m.Metrics.TranscriptionDelay; d != nil {
		attrs = append(attrs, slog.Float64("lk.transcription_delay", d.Seconds()))
	}
	if d := m.Metrics.EndOfTurnDelay; d != nil {
		attrs = append(attrs, slog.Float64("lk.end_of_turn_delay", d.Seconds()))
	}
	kvs, _, _ := t.attributes(attrs)
	turn := t.spanOf(root, "user_turn", start, at, kvs)
	for _, e := range waiting {
		if e.start.After(at) { // of a later turn
			t.mu.Lock()
			t.eou = append(t.eou, e)
			t.mu.Unlock()
			continue
		}
		if e.start.IsZero() {
			e.start = e.end
		}
		t.spanOf(turn, "eou_detection", e.start, e.end, e.attrs)
	}
}

// userState follows when the user speaks. The span waits, since the verdict on whether he interrupted
// the agent may come after he fell silent.
func (t *tracer) userState(e session.UserStateChanged) {
	if e.New == agent.UserSpeaking {
		t.flushTalking()
		t.mu.Lock()
		t.talking = &talking{start: e.When()}
		t.mu.Unlock()
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.talking != nil && e.Old == agent.UserSpeaking {
		t.talking.end = e.When()
	}
}

// overlapped is the verdict on the user's talking over the agent.
func (t *tracer) overlapped(e session.OverlappingSpeech) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.talking == nil {
		return
	}
	t.talking.attrs = append(t.talking.attrs,
		attribute.String("lk.is_interruption", strconv.FormatBool(e.Interruption)),
		attribute.Float64("lk.interruption.total_duration", e.Duration.Seconds()),
		attribute.Float64("lk.interruption.detection_delay", e.When().Sub(e.StartedAt).Seconds()))
}

// predicted adds what a detector of interruptions tells.
func (t *tracer) predicted(m *metrics.Interruption) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.talking != nil {
		t.talking.attrs = append(t.talking.attrs,
			attribute.Float64("lk.interruption.prediction_duration", m.PredictionDuration.Seconds()))
	}
}

// flushTalking tells about what the user has said last, if he is silent.
func (t *tracer) flushTalking() {
	t.mu.Lock()
	talked, root := t.talking, t.root
	if talked == nil || talked.end.IsZero() || root == nil {
		t.mu.Unlock()
		return
	}
	t.talking = nil
	t.mu.Unlock()
	p := t.s.Linked()
	kvs, _, _ := t.attributes([]slog.Attr{slog.String("lk.participant_id", p.ID), slog.String("lk.pii.participant_identity", p.Identity), slog.String("lk.participant_kind", p.Kind)})
	t.spanOf(root, "user_speaking", talked.start, talked.end, append(kvs, talked.attrs...))
}

// spent tells what a response of a realtime model has cost: on the turn that ctx is of, or, if that is over or
// had another response, on a span of its own.
func (t *tracer) spent(ctx context.Context, attrs []slog.Attr) {
	for _, a := range attrs {
		m, ok := a.Value.Any().(*metrics.Realtime)
		if !ok {
			continue
		}
		kvs := t.realtimeAttrs(m)
		turn, _ := ctx.Value(t.key).(*opened)
		if turn != nil && turn.name == "agent_turn" && turn.IsRecording() && m.Outcome != metrics.Failed && turn.told.CompareAndSwap(false, true) {
			turn.SetAttributes(kvs...)
			continue
		}
		now := time.Now()
		t.spanOf(t.parent(ctx, "realtime_metrics"), "realtime_metrics", now, now, kvs)
	}
}

func (t *tracer) realtimeAttrs(m *metrics.Realtime) []attribute.KeyValue {
	known := func(s string) string {
		if s == "" {
			return "unknown"
		}
		return s
	}
	i, o := m.InputTokenDetails, m.OutputTokenDetails
	attrs := []slog.Attr{
		slog.String("gen_ai.operation.name", "chat"),
		slog.String("gen_ai.provider.name", known(m.Metadata.ModelProvider)),
		slog.String("gen_ai.request.model", known(m.Metadata.ModelName)),
		slog.Any("lk.realtime_model_metrics", m),
		slog.Int64("gen_ai.usage.input_tokens", m.InputTokens),
		slog.Int64("gen_ai.usage.output_tokens", m.OutputTokens),
		slog.Int64("gen_ai.usage.input_text_tokens", i.TextTokens),
		slog.Int64("gen_ai.usage.input_audio_tokens", i.AudioTokens),
		slog.Int64("gen_ai.usage.input_cached_tokens", i.CachedTokens),
		slog.Int64("gen_ai.usage.output_text_tokens", o.TextTokens),
		slog.Int64("gen_ai.usage.output_audio_tokens", o.AudioTokens),
	}
	if m.TTFT != metrics.NoOutput {
		attrs = append(attrs, slog.String("langfuse.observation.completion_start_time", iso(m.Timestamp.Add(m.TTFT))))
	}
	kvs, _, _ := t.attributes(attrs)
	return kvs
}
