package session

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/parley-go/parley/agent"
	"github.com/parley-go/parley/llm"
	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/opt"
	"github.com/parley-go/parley/stt"
	"github.com/parley-go/parley/tts"
	"github.com/parley-go/parley/vad"
)

// activity is an agent's stay on the session. It is used on the loop only, but for the fields that
// never change.
type activity struct {
	r        *run
	agent    *agent.Agent
	stt      *stt.Model // streaming
	vad      *vad.Model
	llm      *llm.Model
	tts      *tts.Model
	tools    *llm.ToolContext // of the session and of the agent
	toolList []llm.Tool
	mind     *chat.Context // what the agent knows

	// ctx is of the tools: they outlive an interruption of the speech that called them.
	ctx    context.Context
	cancel context.CancelFunc

	blocked     bool // takes no more user turns
	paused      bool // takes no more speeches
	queue       []*speech
	current     *speech
	live        map[*speech]struct{} // not done
	idle        chan struct{}        // closed and replaced whenever live becomes empty
	delay       timer
	playedOutAt time.Time
}

const instructionsID = "lk.agent_task.instructions"

func pick[T any](override opt.Value[*T], inherited *T) *T {
	if override.IsUnset() {
		return inherited
	}
	v, _ := override.Get()
	return v
}

func (r *run) newActivity(a *agent.Agent) (*activity, error) {
	act := &activity{
		r: r, agent: a,
		stt: pick(a.STT, r.opt.STT), vad: pick(a.VAD, r.opt.VAD), llm: pick(a.LLM, r.opt.LLM), tts: pick(a.TTS, r.opt.TTS),
		live: make(map[*speech]struct{}), idle: make(chan struct{}),
	}
	act.delay.s = r
	if act.stt != nil && !act.stt.Streaming() {
		if act.vad == nil {
			return nil, fmt.Errorf("agent %s: %s transcribes whole utterances and needs a VAD to find them", a.Name(), act.stt.Info().Label)
		}
		act.stt = stt.Adapt(act.stt, act.vad, nil)
	}
	act.toolList = slices.Concat(r.opt.Tools, a.Tools)
	tools, err := llm.NewToolContext(act.toolList...)
	if err != nil {
		return nil, fmt.Errorf("agent %s: %w", a.Name(), err)
	}
	act.tools = tools
	act.mind = r.s.mind(a)
	act.ctx, act.cancel = context.WithCancel(metrics.WithTags(r.ctx, metrics.Tags{AgentID: a.Name()}))
	return act, nil
}

// enter puts act in charge: the ears listen for it, and OnEnter runs.
func (r *run) enter(act *activity, old *activity) error {
	oldID := ""
	if old != nil {
		oldID = old.agent.Name()
	}
	if err := r.listenFor(act); err != nil {
		act.cancel()
		return err
	}
	r.act = act
	r.s.mu.Lock()
	r.s.agent = act.agent
	r.s.mu.Unlock()
	// The handoff is an event of the session, not something the agent knows.
	h := &chat.Handoff{OldAgentID: oldID, NewAgentID: act.agent.Name()}
	h.CreatedAt = r.stamp()
	r.s.remember(h)
	r.emit(ConversationItemAdded{at(now()), h})
	if act.llm != nil {
		r.goDo("prewarm", func() { act.llm.Prewarm(act.ctx) })
	}
	if act.agent.OnEnter != nil {
		r.hook(act, "OnEnter", act.agent.OnEnter)
	}
	return nil
}

// hook runs a hook of an agent on a goroutine of its own and returns when it has ended.
func (r *run) hook(act *activity, name string, f func(context.Context, *agent.RunContext) error) (done chan struct{}) {
	done = make(chan struct{})
	r.goDo(name, func() {
		defer close(done)
		rc := agent.NewRunContext(r.s, nil, nil, nil)
		if err := f(agent.ContextWithRun(act.ctx, rc), rc); err != nil && !errors.Is(err, context.Canceled) {
			r.log.Error("hook failed", "hook", name, "agent", act.agent.Name(), "err", err)
		}
	})
	return done
}

// leave runs OnExit of act and then stops it from taking more speeches. It is not called on the loop.
func (r *run) leave(ctx context.Context, act *activity) {
	if act.agent.OnExit != nil {
		select {
		case <-r.hook(act, "OnExit", act.agent.OnExit):
		case <-ctx.Done():
			r.log.Error("OnExit takes too long", "agent", act.agent.Name())
		}
	}
	r.ask(func() { act.paused = true })
}

// close drops what the activity still had. On the loop.
func (act *activity) close() {
	act.paused, act.blocked = true, true
	act.delay.stop()
	act.cancel()
}

// waitIdle waits until no speech of act is left. It is not called on the loop.
func (act *activity) waitIdle(ctx context.Context) error {
	for {
		var idle chan struct{}
		n := 0
		act.r.ask(func() { idle, n = act.idle, len(act.live) })
		if n == 0 {
			return nil
		}
		select {
		case <-idle:
		case <-ctx.Done():
			return fmt.Errorf("waiting for %d speeches: %w", n, ctx.Err())
		}
	}
}

// handOver makes a the agent in charge, after the present one has finished speaking.
func (r *run) handOver(a *agent.Agent) error {
	if r.closing != nil || r.act == nil {
		return agent.ErrNotRunning
	}
	next, err := r.newActivity(a)
	if err != nil {
		return err
	}
	old := r.act
	if old.blocked {
		next.cancel()
		return errors.New("another handoff is under way")
	}
	old.blocked = true
	r.goDo("handoff", func() {
		r.leave(r.ctx, old)
		if err := old.waitIdle(r.ctx); err != nil {
			next.cancel()
			return
		}
		r.ask(func() {
			if r.closing != nil {
				next.cancel()
				return
			}
			if err := r.enter(next, old); err != nil {
				r.close(closeRequest{reason: ReasonError, err: fmt.Errorf("handing over to %s: %w", a.Name(), err)})
				return
			}
			old.close()
			r.settle()
		})
	})
	return nil
}
