package session

import (
	"context"
	"errors"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/parley-go/parley/agent"
	"github.com/parley-go/parley/llm"
	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model"
)

const sourceReply = "generate_reply"

// replyRequest says what the model is asked.
type replyRequest struct {
	turn         *userTurn
	user         *chat.Message // what the user said; remembered when the reply gets its turn
	base         *chat.Context // nil: what the agent knows
	messages     *chat.Context // all that the model sees; made of the above
	instructions string        // for this reply only
	choice       llm.ToolChoice
	tools        []llm.Tool        // that go along; made like messages
	wait         []<-chan struct{} // for the tools to be set up
	typed        bool              // for a user who reads
	entering     bool              // asked for by OnEnter, so some tools are hidden
	only         []string          // names of the tools and toolsets that may be used; nil for all
	priority     agent.Priority
}

// generateReply is Session.GenerateReply, on the loop; entering says that OnEnter asks.
func (r *run) generateReply(q agent.Reply, entering bool) (*speech, error) {
	act := r.speaker()
	switch {
	case act == nil:
		return nil, agent.ErrNotRunning
	case act.mute():
		return nil, agent.ErrNoLanguage
	}
	if err := act.mind.checkNames(act.r.opt.Tools, q.Tools); err != nil {
		return nil, err
	}
	rq := replyRequest{base: q.ChatContext, instructions: q.Instructions, choice: q.ToolChoice, entering: entering,
		only: q.Tools, priority: q.Priority}
	rq.typed = q.UserInput != "" || r.ears == nil
	if q.UserInput != "" {
		rq.user = chat.NewMessage(chat.User, q.UserInput)
	}
	return r.newReply(act, rq, q.Protected || act.protectedByDefault(), true), nil
}

// newReply asks the model and queues its answer.
func (r *run) newReply(act *activity, q replyRequest, protected, byUser bool) *speech {
	if q.base == nil {
		q.base = act.mind.Copy(nil)
	}
	q.compose(act)
	id := ""
	switch {
	case q.turn != nil:
		id = q.turn.id
	case q.user != nil: // he typed
		id = metrics.NewID("turn_")
	}
	sp := r.newSpeech(act.ctx, act, sourceReply, protected, id)
	sp.turn, sp.user, sp.priority = q.turn, q.user, q.priority
	sp.told = join(act.system(q.typed), q.instructions)
	if q.user != nil {
		sp.asked = q.user.Text()
	}
	if act.rt != nil && q.turn != nil {
		sp.user = nil // the model has heard him; see converser.said
	}
	r.startSpeech(sp, func(sp *speech) error { return r.runReply(sp, q) })
	r.enqueue(sp, byUser)
	return sp
}

// await waits for something that lets the speech go on; false when it will not go on.
func (sp *speech) await(c <-chan struct{}) bool {
	select {
	case <-c:
	case <-sp.stopped:
	case <-sp.ctx.Done():
	}
	return isClosed(c) && !isClosed(sp.stopped) && sp.ctx.Err() == nil
}

// runReply asks the model and speaks its answer, again after every round of tools.
func (r *run) runReply(sp *speech, q replyRequest) error {
	st := sp.step
	for {
		var round *toolRound
		var err error
		if st.rt != nil {
			round, err = r.converse(sp, st, q)
		} else {
			round, err = r.runStep(sp, st, q)
		}
		if round == nil {
			return err
		}
		// What the tools did is kept although the model or the voice failed beside them.
		again := false
		// A realtime model's answer that was cut off is taken up again with what its tools did.
		if q, again = r.afterTools(sp, round, q, err != nil && st.rt == nil); st.rt != nil {
			again = r.tellOutputs(sp, round, again)
		}
		if !again {
			return err
		}
		r.ask(func() {
			st = r.again(sp)
			r.schedule()
		})
	}
}

// runStep is one generation. It returns the round of tools that the model asked for, nil for none.
func (r *run) runStep(sp *speech, st *step, q replyRequest) (*toolRound, error) {
	gen := r.generate(sp, st, q)
	defer gen.stop()
	eager := sp.eager
	sp.eager = false // only the first step is begun before its time
	if !eager && !sp.await(st.scheduled) {
		return nil, nil
	}
	v := r.newVoice(sp, st, gen.text, gen)
	defer v.stop()
	if !sp.await(st.go_) {
		return nil, nil
	}
	began := r.stamp()
	round := r.newToolRound(sp, st, gen, q.entering)
	if q.choice.Mode != llm.ToolNone {
		r.goDo("tools", func() { round.run(gen.calls) })
	} else {
		round.refuse(gen.calls)
	}
	said := v.speak(nil)
	if said.err != nil {
		gen.stop() // nobody will hear the rest
	}
	gen.wait()
	idle := round.empty()
	r.ask(func() {
		r.keepSaid(sp, st, said, round.group, began, gen)
		sp.background = !idle
		r.endStep(sp, st)
		r.schedule()
		r.settle()
	})
	var err error
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

// keepSaid remembers what was heard of a step. On the loop.
func (r *run) keepSaid(sp *speech, st *step, said spoken, id string, began time.Time, gen *generation) {
	if said.text == "" {
		return
	}
	m := chat.NewMessage(chat.Assistant, said.text)
	m.ID, m.CreatedAt = id, began
	m.Interrupted = said.interrupted
	said.fill(&m.Metrics, sp.turn)
	m.Metrics.TTS = metadata(st.tts, said.by)
	if gen != nil {
		m.Extra = gen.extra
		gen.fill(&m.Metrics, said)
		m.Metrics.LLM = metadata(st.llm, gen.by())
	}
	st.said = m
	r.traceSpeaking(st, said)
	sp.own.Add(m)
	r.commit(sp.act, m)
}

// metadata names who did the work: by, or else m, which a node of the agent may have used.
func metadata[M interface{ Info() model.Info }](m M, by model.Info) metrics.Metadata {
	if by == (model.Info{}) && !isNil(m) {
		by = m.Info()
	}
	return metrics.Metadata{ModelName: by.Model, ModelProvider: by.Provider}
}

// generation is one answer of the model while it is being written.
type generation struct {
	text   *lines
	calls  *pipe[llm.ToolCall]
	stop   context.CancelFunc
	done   chan struct{}
	tools  *llm.ToolContext // that the model may call; set before the first call
	begun  time.Time
	first  time.Time // first text or tool call
	ids    []string
	chunks int // with text
	textAt [2]time.Time
	tokens int64
	said   strings.Builder // for the span, as is called
	called []llm.ToolCall
	extra  map[string]any             // of the provider, to be sent back with the message
	stream atomic.Pointer[llm.Stream] // of the model that was asked; nil for none
	err    error
}

// generate sends the request of q. It does not wait for the speech to get its turn: the answer is
// ready the earlier.
func (r *run) generate(sp *speech, st *step, q replyRequest) *generation {
	g := &generation{text: newLines(), calls: newPipe[llm.ToolCall](), done: make(chan struct{}), begun: now()}
	ctx, cancel := context.WithCancel(st.ctx)
	g.stop = cancel
	r.goDo("language model", func() {
		defer close(g.done)
		defer g.text.close()
		defer g.calls.close()
		defer r.guard("LLM node", &g.err)
		if waitAll(ctx, q.wait) != nil {
			return // nobody wants it any more
		}
		if g.tools, g.err = q.visible(); g.err != nil {
			return
		}
		req := &llm.Request{Messages: q.messages, ToolChoice: q.choice}
		for t := range g.tools.All() {
			if q.choice.Mode != llm.ToolNone {
				req.Tools = append(req.Tools, t)
			}
		}
		ctx, end := q.trace(ctx, g, st, req)
		defer end()
		g.read(sp.askModel(ctx, st, g, req))
		if errors.Is(g.err, context.Canceled) {
			g.err = nil
		}
	})
	return g
}

// askModel is the LLM node of the agent, or the model itself.
func (sp *speech) askModel(ctx context.Context, st *step, g *generation, req *llm.Request) iter.Seq2[*llm.Chunk, error] {
	act := sp.act
	node := func(ctx context.Context, req *llm.Request) iter.Seq2[*llm.Chunk, error] {
		return func(yield func(*llm.Chunk, error) bool) {
			if st.llm == nil { // switched off between two steps
				yield(nil, agent.ErrNoLanguage)
				return
			}
			s := st.llm.Chat(ctx, req)
			g.stream.Store(s)
			sp.answer.Store(s)
			if sp.discard.Load() {
				s.Discard()
			}
			defer s.Close()
			s.All()(yield)
		}
	}
	if act.agent.LLMNode != nil {
		return orNothing2(act.agent.LLMNode(ctx, req, node))
	}
	return node(ctx, req)
}

func (g *generation) read(chunks iter.Seq2[*llm.Chunk, error]) {
	for c, err := range chunks {
		if err != nil {
			g.err = err
			return
		}
		if g.first.IsZero() && (c.Text != "" || len(c.ToolCalls) > 0) {
			g.first = now()
		}
		if c.ID != "" && !slices.Contains(g.ids, c.ID) {
			g.ids = append(g.ids, c.ID)
		}
		if len(c.Extra) > 0 {
			if g.extra == nil {
				g.extra = make(map[string]any)
			}
			maps.Copy(g.extra, c.Extra)
		}
		if c.Usage != nil {
			g.tokens = c.Usage.CompletionTokens
		}
		if c.Text != "" {
			if g.chunks++; g.chunks == 1 {
				g.textAt[0] = now()
			}
			g.textAt[1] = now()
			g.said.WriteString(c.Text)
			g.text.write(c.Text)
		}
		if c.Flush {
			g.text.flush()
		}
		g.called = append(g.called, c.ToolCalls...)
		for _, call := range c.ToolCalls {
			g.calls.put(call)
		}
	}
}

// by is who answered; zero if only the agent's own node knows.
func (g *generation) by() model.Info {
	if s := g.stream.Load(); s != nil {
		return s.Info()
	}
	return model.Info{}
}

// wait waits for the end of the answer.
func (g *generation) wait() { <-g.done }

// fill writes the account of the answer into m. It is called after wait.
func (g *generation) fill(m *chat.TurnMetrics, said spoken) {
	if !g.first.IsZero() {
		ttft := g.first.Sub(g.begun)
		m.LLMNodeTTFT = &ttft
	}
	if !said.readyAt.IsZero() {
		ttfs := max(said.readyAt.Sub(g.begun), 0)
		m.LLMNodeTTFS = &ttfs
	}
	if d := g.textAt[1].Sub(g.textAt[0]); g.chunks > 1 && d > 0 && g.tokens > 0 {
		m.LLMNodeTPS = float64(g.tokens) / d.Seconds()
	}
	m.ProviderRequestIDs = append(m.ProviderRequestIDs, g.ids...)
}
