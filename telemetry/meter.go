package telemetry

import (
	"context"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/session"
)

// meter turns the events of a session into measurements. A message is measured when it is added to the
// conversation, which happens once; so a call that crashes loses its last turn only.
type meter struct {
	in   *instruments
	base []attribute.KeyValue

	mu  sync.Mutex
	stt metrics.Metadata // who last recognised, for the turns of the user
}

func newMeter(o Options) (*meter, error) {
	in, err := newInstruments(o.MeterProvider.Meter(ScopeName), o.GenAI)
	if err != nil {
		return nil, err
	}
	return &meter{in: in, base: o.Attributes}, nil
}

func (m *meter) listen(s *session.Session) (cancel func()) {
	undo := []func(){
		session.On(s, func(e session.MetricsCollected) { m.spent(e.Metrics) }),
		session.On(s, func(e session.ConversationItemAdded) {
			if msg, ok := e.Item.(*chat.Message); ok {
				m.turn(msg)
			}
		}),
		session.On(s, func(e session.ErrorOccurred) { m.failed(e.ErrorEvent) }),
	}
	return func() {
		for _, f := range undo {
			f()
		}
	}
}

// by is the attributes of what who did.
func (m *meter) by(who metrics.Metadata, more ...attribute.KeyValue) metric.MeasurementOption {
	kvs := make([]attribute.KeyValue, 0, len(m.base)+2+len(more))
	kvs = append(kvs, m.base...)
	if who.ModelProvider != "" {
		kvs = append(kvs, attribute.String("model_provider", who.ModelProvider))
	}
	if who.ModelName != "" {
		kvs = append(kvs, attribute.String("model_name", who.ModelName))
	}
	return metric.WithAttributeSet(attribute.NewSet(append(kvs, more...)...))
}

// turn measures one turn of the user or the agent.
func (m *meter) turn(msg *chat.Message) {
	t := msg.Metrics
	switch msg.Role {
	case chat.User:
		who := t.STT
		if who == (metrics.Metadata{}) {
			m.mu.Lock()
			who = m.stt
			m.mu.Unlock()
		}
		by := m.by(who)
		delay(m.in.transcription, t.TranscriptionDelay, by)
		delay(m.in.endOfTurn, t.EndOfTurnDelay, by)
		delay(m.in.hook, t.OnUserTurnCompletedDelay, by)
	case chat.Assistant:
		delay(m.in.e2e, t.E2ELatency, m.by(t.LLM))
		delay(m.in.ttft, t.LLMNodeTTFT, m.by(t.LLM))
		delay(m.in.ttfb, t.TTSNodeTTFB, m.by(t.TTS))
	}
}

// delay records d if it is known.
func delay(h metric.Float64Histogram, d *time.Duration, by metric.MeasurementOption) {
	if d != nil && *d >= 0 {
		h.Record(context.Background(), d.Seconds(), by)
	}
}

// spent measures one metrics event.
func (m *meter) spent(e metrics.Event) {
	who, in := e.Head().Metadata, m.in
	by := m.by(who)
	switch e := e.(type) {
	case *metrics.LLM:
		count(by, in.llmInput, e.PromptTokens, in.llmCached, e.PromptCachedTokens, in.llmCreated, e.CacheCreationTokens, in.llmOutput, e.CompletionTokens)
		m.genAI(who, e.PromptTokens, e.CompletionTokens, e.Duration, e.TTFT)
	case *metrics.Realtime:
		i, o := e.InputTokenDetails, e.OutputTokenDetails
		count(by, in.llmInput, e.InputTokens, in.llmCached, i.CachedTokens, in.llmOutput, e.OutputTokens,
			in.inputAudio, i.AudioTokens, in.inputText, i.TextTokens, in.inputImage, i.ImageTokens,
			in.outputAudio, o.AudioTokens, in.outputText, o.TextTokens)
		if c := i.CachedTokensDetails; c != nil {
			count(by, in.cachedAudio, c.AudioTokens, in.cachedText, c.TextTokens, in.cachedImage, c.ImageTokens)
		}
		lasted(by, in.llmSession, e.SessionDuration)
		m.acquired(who, e.Acquired, e.AcquireTime, e.ConnectionReused)
		if e.Duration > 0 {
			m.genAI(who, e.InputTokens, e.OutputTokens, e.Duration, e.TTFT)
		}
	case *metrics.TTS:
		count(by, in.characters, e.CharactersCount, in.ttsInput, e.InputTokens, in.ttsOutput, e.OutputTokens)
		lasted(by, in.ttsAudio, e.AudioDuration)
		m.acquired(who, e.Acquired, e.AcquireTime, e.ConnectionReused)
	case *metrics.STT:
		m.mu.Lock()
		m.stt = who
		m.mu.Unlock()
		count(by, in.sttInput, e.InputTokens, in.sttOutput, e.OutputTokens)
		lasted(by, in.sttAudio, e.AudioDuration)
		m.acquired(who, e.Acquired, e.AcquireTime, e.ConnectionReused)
	case *metrics.Interruption:
		count(by, in.interruptions, e.NumRequests)
	case *metrics.EOT:
		count(by, in.predictions, e.NumRequests)
	case *metrics.Connection:
		// The events of the other kinds of models tell of their connections themselves.
		m.acquired(who, e.Kind == "llm", e.AcquireTime, e.Reused)
	}
}

// count adds what there is: pairs of a counter and its growth.
func count(by metric.MeasurementOption, pairs ...any) {
	for i := 0; i < len(pairs); i += 2 {
		if n := pairs[i+1].(int64); n > 0 {
			pairs[i].(metric.Int64Counter).Add(context.Background(), n, by)
		}
	}
}

func lasted(by metric.MeasurementOption, c metric.Float64Counter, d time.Duration) {
	if d > 0 {
		c.Add(context.Background(), d.Seconds(), by)
	}
}

// acquired measures an acquisition if there was one; that of a connection from the pool takes no time,
// and counts.
func (m *meter) acquired(who metrics.Metadata, was bool, took time.Duration, reused bool) {
	if !was {
		return
	}
	flag := "false"
	if reused {
		flag = "true"
	}
	m.in.acquire.Record(context.Background(), max(took, 0).Seconds(), m.by(who, attribute.String("connection_reused", flag)))
}

// genAI mirrors a request of a language model in the GenAI conventions.
func (m *meter) genAI(who metrics.Metadata, input, output int64, took, first time.Duration) {
	if m.in.genTokens == nil {
		return
	}
	ctx, attrs := context.Background(), append(m.base[:len(m.base):len(m.base)], attribute.String("gen_ai.operation.name", "chat"))
	if who.ModelProvider != "" {
		attrs = append(attrs, attribute.String("gen_ai.provider.name", who.ModelProvider))
	}
	if who.ModelName != "" {
		attrs = append(attrs, attribute.String("gen_ai.request.model", who.ModelName))
	}
	with := func(more ...attribute.KeyValue) metric.MeasurementOption {
		return metric.WithAttributeSet(attribute.NewSet(append(attrs[:len(attrs):len(attrs)], more...)...))
	}
	if input > 0 {
		m.in.genTokens.Record(ctx, input, with(attribute.String("gen_ai.token.type", "input")))
	}
	if output > 0 {
		m.in.genTokens.Record(ctx, output, with(attribute.String("gen_ai.token.type", "output")))
	}
	if took > 0 {
		m.in.genDuration.Record(ctx, took.Seconds(), with())
	}
	if first >= 0 && first != metrics.NoOutput {
		m.in.genFirst.Record(ctx, first.Seconds(), with())
	}
}

// failed counts an attempt that failed.
func (m *meter) failed(e model.ErrorEvent) {
	who := metrics.Metadata{ModelName: e.Info.Model, ModelProvider: e.Info.Provider}
	kind := attribute.String("kind", e.Kind)
	m.in.errors.Add(context.Background(), 1, m.by(who, kind, attribute.String("error.type", errorType(e.Err)), attribute.Bool("recoverable", e.Recoverable)))
	if e.Recoverable {
		m.in.retries.Add(context.Background(), 1, m.by(who, kind))
	}
}
