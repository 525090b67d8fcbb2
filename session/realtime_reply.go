package session

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/parley-go/parley/agent"
	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/llm"
	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/realtime"
)

// autoReplyWait is how long a model that answers the outputs of tools by itself may take to begin.
const autoReplyWait = 5 * time.Second

// speaks reports whether sp says g. On the loop.
func (sp *speech) speaks(g *realtime.Generation) bool { return sp.step.generation == g }

// converse is one generation of a realtime model, as runStep is one of an LLM.
func (r *run) converse(sp *speech, st *step, q replyRequest) (*toolRound, error) {
	g := sp.begun
	sp.begun = nil // later steps are asked for
	if g != nil {
		defer context.AfterFunc(st.ctx, g.Interrupt)()
	}
	c := r.conv.Load()
	if c == nil || !sp.await(st.scheduled) || waitAll(st.ctx, q.wait) != nil {
		return nil, nil
	}
	tools, err := q.visible()
	if err != nil {
		return nil, err
	}
	if g == nil {
		if c, g, err = r.request(st.ctx, func(c *converser) (*realtime.Generation, error) { return c.ask(sp, st, q, tools) }); g == nil {
			return nil, err
		}
		defer context.AfterFunc(st.ctx, g.Interrupt)()
	}
	r.ask(func() {
		if g.Requested() && !st.owed {
			c.rounds = 0
		}
		st.generation, st.conv, st.owed = g, c, false
		c.hushed = sp.source == sourceSay // a text is no answer that could be generated anew
	})
	gen := r.follow(st, g, tools)
	var round *toolRound
	defer func() { r.goDo("dropping calls", func() { c.drop(gen, round) }) }()
	if !sp.await(st.go_) {
		return nil, nil
	}
	began := r.stamp() // what the tools do comes later
	round = r.newToolRound(sp, st, gen, q.entering)
	if q.choice.Mode != llm.ToolNone {
		r.goDo("tools", func() { round.run(gen.calls) })
	} else {
		round.refuse(gen.calls)
	}
	v := r.newVoice(sp, st, gen.text, gen)
	defer v.stop()
	said := v.speak(func(l *line, s spoken) {
		r.heardOf(c, sp, st, g, l, s, began)
		began = time.Time{}
	})
	if said.err != nil || said.interrupted {
		g.Interrupt() // nobody will hear the rest
	}
	gen.wait()
	idle := round.empty()
	r.ask(func() {
		sp.background = !idle
		st.account = []slog.Attr{slog.Any("lk.pii.response.function_calls", gen.called)}
		if ttft := g.TTFT(); ttft != metrics.NoOutput {
			st.account = append(st.account, slog.Float64("lk.response.ttft", ttft.Seconds()))
		}
		r.endStep(sp, st)
		r.schedule()
		r.settle()
		if said.interrupted || sp.Interrupted() {
			r.tellModel(sp.act) // what nobody has heard is to be forgotten
		}
	})
	if !sp.Interrupted() {
		if err = gen.err; err == nil {
			err = said.err
		}
	}
	if idle {
		return nil, err
	}
	return round, err
}

// request asks the realtime model for something, and the next one if it is replaced meanwhile. The generation is nil when
// there will be none.
func (r *run) request(ctx context.Context, ask func(*converser) (*realtime.Generation, error)) (*converser, *realtime.Generation, error) {
	for {
		c := r.conv.Load()
		if c == nil {
			return nil, nil, nil
		}
		g, err := ask(c)
		if err == nil && g != nil {
			return c, g, nil
		}
		if over := errors.Is(err, realtime.ErrInterrupted) || errors.Is(err, realtime.ErrClosed); !over || ctx.Err() != nil || r.conv.Load() == c {
			return nil, nil, failure(err)
		}
	}
}

// ask asks the model for the answer to q; nil when there will be none.
func (c *converser) ask(sp *speech, st *step, q replyRequest, tools *llm.ToolContext) (*realtime.Generation, error) {
	if err := c.tell(st.ctx, sp.act); err != nil {
		var refused *model.Error
		if st.ctx.Err() != nil {
			return nil, nil
		}
		if !errors.As(err, &refused) {
			return nil, fmt.Errorf("telling the realtime model what the agent knows: %w", err)
		}
		c.r.log.Warn("the realtime model answers without knowing all", "err", err)
	}
	rq := &realtime.Request{Instructions: q.instructions}
	if q.entering || q.only != nil {
		specs := tools.Specs()
		rq.Tools = &specs
	}
	if q.choice.Mode != "" {
		rq.ToolChoice = &q.choice
	}
	g, err := c.s.Generate(st.ctx, rq)
	switch {
	case st.ctx.Err() != nil:
		return nil, nil
	case err != nil:
		return nil, err
	}
	return g, nil
}

// follow reads the answer g as it comes.
func (r *run) follow(st *step, g *realtime.Generation, tools *llm.ToolContext) *generation {
	gen := &generation{text: newLines(), calls: newPipe[llm.ToolCall](), done: make(chan struct{}), tools: tools, begun: now()}
	ctx, cancel := context.WithCancel(st.ctx)
	gen.stop = cancel
	called := make(chan struct{})
	r.goDo("realtime messages", func() {
		defer close(gen.done)
		defer func() { <-called }() // which ends when the messages do
		defer gen.text.close()
		for {
			m, err := g.NextMessage(ctx)
			if err != nil {
				gen.err = failure(err)
				return
			}
			if gen.first.IsZero() {
				gen.first = now()
			}
			x := &line{item: m.ID()}
			if !m.TextOnly() && r.io.AudioOut != nil {
				x.audio = frames(ctx, m)
			}
			gen.text.begin(x)
			for {
				t, err := m.NextText(ctx)
				if err != nil {
					break // NextMessage says why
				}
				gen.text.write(t)
			}
			gen.text.flush()
		}
	})
	r.goDo("realtime calls", func() {
		defer close(called)
		defer gen.calls.close()
		for {
			c, err := g.NextCall(ctx)
			if err != nil {
				return
			}
			gen.called = append(gen.called, c.ToolCall)
			gen.calls.put(c.ToolCall)
		}
	})
	return gen
}

// drop has the model not wait for the calls of gen that are not made: those that were refused, or came to nothing with
// their speech. round is nil if none is.
func (c *converser) drop(gen *generation, round *toolRound) {
	gen.wait()
	var made []string
	if round != nil {
		<-round.all
		made = round.started
	}
	var left []string
	for _, call := range gen.called {
		if !slices.Contains(made, call.CallID) {
			left = append(left, call.CallID)
		}
	}
	if len(left) == 0 {
		return
	}
	endless := false
	c.r.ask(func() { endless = c.rounds > c.r.opt.MaxToolSteps.Default(defaultToolSteps)+2 && c.spent() })
	if endless { // it would call once more
		c.r.log.Warn("the realtime model calls tools again and again, and is given no more outputs", "calls", left)
		return
	}
	c.s.DropCalls(left...)
}

// failure is err, unless it is a good end or somebody's wish.
func failure(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, context.Canceled) || errors.Is(err, realtime.ErrInterrupted) || errors.Is(err, realtime.ErrClosed) {
		return nil
	}
	return err
}

// frames is the audio of m.
func frames(ctx context.Context, m *realtime.Message) iter.Seq2[audio.Frame, error] {
	return func(yield func(audio.Frame, error) bool) {
		for {
			f, err := m.NextAudio(ctx)
			if errors.Is(err, io.EOF) {
				return
			}
			if errors.Is(err, realtime.ErrInterrupted) {
				err = context.Canceled
			}
			if !yield(f, err) || err != nil {
				return
			}
		}
	}
}

// heardOf remembers what was heard of a message, and has the model know what was not. began is of the first.
func (r *run) heardOf(c *converser, sp *speech, st *step, g *realtime.Generation, l *line, said spoken, began time.Time) {
	r.ask(func() {
		if said.text == "" {
			return
		}
		if began.IsZero() {
			began = r.stamp()
		}
		m := chat.NewMessage(chat.Assistant, said.text)
		m.ID, m.CreatedAt, m.Interrupted = l.item, began, said.interrupted
		said.fill(&m.Metrics, sp.turn)
		if l.audio == nil {
			m.Metrics.TTS = metadata(st.tts, said.by)
		} else if !said.audioAt.IsZero() && !said.started.IsZero() {
			latency := max(said.started.Sub(said.audioAt), 0)
			m.Metrics.PlaybackLatency = &latency
		}
		if ttft := g.TTFT(); ttft != metrics.NoOutput {
			m.Metrics.LLMNodeTTFT = &ttft
		}
		m.Metrics.LLM = metadata(st.rt, g.Info())
		m.Metrics.ProviderRequestIDs = append(m.Metrics.ProviderRequestIDs, g.ResponseID())
		st.said = m
		r.traceSpeaking(st, said)
		sp.own.Add(m)
		r.commit(sp.act, m)
	})
	if said.interrupted && l.audio != nil && said.text != "" {
		_ = c.s.Truncate(l.item, said.played, said.text) // a session that failed says so to its reader
	}
}

// tellOutputs has the model know what the tools of a round did, and says whether it is to be asked for an answer. It is
// not called on the loop.
func (r *run) tellOutputs(sp *speech, round *toolRound, again bool) bool {
	c := r.conv.Load()
	if c == nil {
		return false
	}
	auto := c.s.Capabilities().AutoToolReply
	before := 0
	r.ask(func() {
		before = c.began
		if again && auto {
			c.rounds++
		}
	})
	if err := c.tell(sp.act.ctx, sp.act); err != nil && sp.act.ctx.Err() == nil {
		r.log.Warn("the realtime model does not know what its tools did", "err", err)
	}
	if !again || !auto {
		return again
	}
	ctx, cancel := context.WithTimeout(sp.ctx, autoReplyWait)
	defer cancel()
	if r.waitUntil(ctx, func() bool { return c.began > before }) != nil && sp.ctx.Err() == nil {
		r.log.Warn("the realtime model does not answer the outputs of its tools")
	}
	return false
}

// sayItself has the realtime model say a text. On the loop.
func (r *run) sayItself(act *activity, text iter.Seq[string], o *agent.SayOptions) *speech {
	sp := r.newSpeech(act.ctx, act, sourceSay, o.Protected || act.protectedByDefault(), "")
	sp.priority = o.Priority
	r.startSpeech(sp, func(sp *speech) error {
		var whole strings.Builder
		for t := range text {
			whole.WriteString(t)
		}
		st := sp.step
		if !sp.await(st.scheduled) {
			return nil
		}
		_, g, err := r.request(st.ctx, func(c *converser) (*realtime.Generation, error) { return c.s.Say(st.ctx, whole.String()) })
		if g == nil {
			return err
		}
		sp.begun = g
		_, err = r.converse(sp, st, replyRequest{choice: llm.ToolChoice{Mode: llm.ToolNone}})
		return err
	})
	r.enqueue(sp, true)
	return sp
}
