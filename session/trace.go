package session

import (
	"context"
	"log/slog"
	"slices"
	"strconv"

	"github.com/parley-go/parley/llm"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/turn"
)

// Trace has f open the spans of what the session does, from its next Start on, and returns a function
// that stops it, at the next Start again. f runs on the session's own goroutines, so it must return at
// once. More than one f may be given. Package telemetry has one for OpenTelemetry.
func (s *Session) Trace(f model.SpanStarter) (cancel func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := &f
	s.tracers = append(s.tracers, t)
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.tracers = slices.DeleteFunc(slices.Clone(s.tracers), func(o *model.SpanStarter) bool { return o == t })
	}
}

// spans is what opens the spans of a run; nil for nothing. Called with the lock.
func (s *Session) spans() model.SpanStarter {
	var all []model.SpanStarter
	for _, t := range s.tracers {
		all = append(all, *t)
	}
	return model.JoinSpans(all...)
}

// Linked is the participant that the session talks to, as far as its transport has said.
func (s *Session) Linked() Participant {
	if p := s.linked.Load(); p != nil {
		return *p
	}
	return Participant{}
}

// trace opens the span of step st of sp.
func (sp *speech) trace(st *step) {
	n := sp.Steps()
	name := func(n int) string { return sp.ID() + "_" + strconv.Itoa(n) }
	attrs := []slog.Attr{slog.String("lk.speech_id", sp.ID()), slog.String("lk.generation_id", name(n))}
	if n > 1 {
		attrs = append(attrs, slog.String("lk.parent_generation_id", name(n-1)))
	}
	st.ctx, st.endSpan = model.StartSpan(sp.ctx, "agent_turn", attrs...)
}

// traced ends the span of st, once. On the loop.
func (sp *speech) traced(st *step, err error) {
	end := st.endSpan
	if end == nil {
		return
	}
	st.endSpan = nil
	attrs := append(st.account, slog.Bool("lk.interrupted", sp.Interrupted()))
	text := func(key, v string) {
		if v != "" {
			attrs = append(attrs, slog.String(key, v))
		}
	}
	text("lk.pii.instructions", sp.told)
	text("lk.pii.user_input", sp.asked)
	if m := st.said; m != nil {
		text("lk.pii.response.text", m.Text())
		if e := m.Metrics.E2ELatency; e != nil {
			attrs = append(attrs, slog.Float64("lk.e2e_latency", e.Seconds()))
		}
	}
	end(err, attrs...)
}

// traceSpeaking tells when the agent was heard.
func (r *run) traceSpeaking(st *step, said spoken) {
	if r.io.AudioOut == nil || said.started.IsZero() {
		return
	}
	_, end := model.StartSpan(st.ctx, "agent_speaking", model.StartedAt(said.started))
	end(nil, model.EndedAt(said.stopped))
}

// traceRequest opens the span of a request to the LLM node.
func (q *replyRequest) trace(ctx context.Context, g *generation, st *step, req *llm.Request) (context.Context, func()) {
	var sets []string
	for _, t := range q.tools {
		if set, ok := t.(llm.Toolset); ok {
			sets = append(sets, set.ID())
		}
	}
	ctx, end := model.StartSpan(ctx, "llm_node", slog.Any("lk.pii.chat_ctx", req.Messages),
		slog.Any("lk.function_tools", g.tools.Names()), slog.Any("lk.tool_sets", sets))
	return ctx, func() {
		by := metadata(st.llm, g.by())
		attrs := []slog.Attr{slog.String("gen_ai.request.model", by.ModelName), slog.String("gen_ai.provider.name", by.ModelProvider)}
		if g.said.Len() > 0 {
			attrs = append(attrs, slog.String("lk.pii.response.text", g.said.String()))
		}
		if len(g.called) > 0 {
			attrs = append(attrs, slog.Any("lk.pii.response.function_calls", g.called))
		}
		if !g.first.IsZero() {
			attrs = append(attrs, slog.Float64("lk.response.ttft", g.first.Sub(g.begun).Seconds()))
		}
		end(g.err, attrs...)
	}
}

// trace opens the span of a synthesis.
func (u *utterance) trace() (end func()) {
	if u.line.audio != nil {
		return func() {}
	}
	ctx, endSpan := model.StartSpan(u.ctx, "tts_node")
	u.ctx = ctx
	return func() {
		by := metadata(u.v.tts, u.spokenBy())
		attrs := []slog.Attr{slog.String("gen_ai.request.model", by.ModelName), slog.String("gen_ai.provider.name", by.ModelProvider)}
		if ready := u.readyAt(); !u.said.audioAt.IsZero() && !ready.IsZero() {
			attrs = append(attrs, slog.Float64("lk.response.ttfb", max(u.said.audioAt.Sub(ready), 0).Seconds()))
		}
		endSpan(u.err, attrs...)
	}
}

// hookSpans are the names of the spans of an agent's hooks.
var hookSpans = map[string]string{hookEnter: "on_enter", hookExit: "on_exit"}

// verdict is why a turn of the user ended when it did.
type verdict struct {
	after  int64 // nanoseconds of silence that it took
	known  bool  // the two below are
	by     turn.Prediction
	cached bool // it was there when it was asked for
}

// traceVerdict tells why t is over. On the loop.
func (r *run) traceVerdict(t *userTurn) {
	h, v := &r.heard, r.heard.verdict
	source := "vad"
	switch {
	case r.act.detection() == turn.DetectManual:
		source = "manual"
	case r.turnsBySTT() || !r.hasVAD():
		source = "stt"
	}
	attrs := []slog.Attr{slog.String("lk.eou.source", source), slog.Float64("lk.eou.endpointing_delay", float64(v.after)/1e9)}
	if h.language != "" {
		attrs = append(attrs, slog.String("lk.eou.language", h.language))
	}
	if p := v.by; v.known {
		attrs = append(attrs, slog.Float64("lk.eou.probability", p.Probability), slog.Float64("lk.eou.unlikely_threshold", p.Threshold),
			slog.Float64("lk.eou.detection_delay", p.DetectionDelay.Seconds()), slog.Bool("lk.eou.from_cache", v.cached))
	}
	if h.asked != nil {
		attrs = append(attrs, slog.Any("lk.pii.chat_ctx", h.asked))
	}
	if t.delays {
		attrs = append(attrs, model.StartedAt(t.stopped))
	}
	_, end := model.StartSpan(r.ctx, "eou_detection", attrs...)
	end(nil, model.EndedAt(t.decided))
}
