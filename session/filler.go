package session

import (
	"context"
	"slices"

	"github.com/parley-go/parley/agent"
)

// filler says things while the user waits for a tool. It is used on the loop only.
type filler struct {
	r    *run
	call *toolCall
	what agent.Filler
	ctx  context.Context
	step int         // fillers so far
	wait *idleWaiter // for a quiet moment; nil while something else is waited for
	// delay runs while the moment must stay quiet, pause between two fillers.
	delay, pause timer
}

// WithFiller implements agent.ToolRuntime.
func (k *toolCall) WithFiller(ctx context.Context, what agent.Filler) (stop func(), err error) {
	f := &filler{r: k.r, call: k, what: what, ctx: ctx}
	f.delay.s, f.pause.s = k.r, k.r
	err = agent.ErrNotRunning
	k.r.ask(func() {
		switch {
		case k.r.closing != nil:
		case isClosed(k.ended):
			err = errCallOver
		case isClosed(k.sp.stopped):
			err = agent.ErrInterrupted
		default:
			err = nil
			k.r.fillers = append(k.r.fillers, f)
			f.again()
		}
	})
	if err != nil {
		return func() {}, err
	}
	end := func() { k.r.post(f.stop) }
	release := context.AfterFunc(ctx, end)
	return func() { release(); end() }, nil
}

// again waits for the next quiet moment.
func (f *filler) again() {
	f.wait = &idleWaiter{floor: floorOf(f.ctx), f: func(err error) {
		f.wait = nil
		if err != nil {
			f.stop()
			return
		}
		f.delay.start(f.what.Delay, f.speak)
	}}
	f.r.whenIdle(f.wait)
}

// speak says something in a moment that has been quiet for long enough.
func (f *filler) speak() {
	if r := f.r; r.closing != nil || !r.quietFor(floorOf(f.ctx)) {
		f.again() // somebody has taken the floor, or is about to take over
		return
	}
	if f.what.Func == nil {
		_, err := f.r.say(one(f.what.Text), &agent.SayOptions{})
		f.spoke(err == nil)
		return
	}
	step := f.step
	f.r.goDo("filler", func() {
		sp := f.what.Func(f.ctx, step)
		f.r.post(func() { f.spoke(sp != nil) })
	})
}

// spoke prepares the next filler.
func (f *filler) spoke(said bool) {
	if !slices.Contains(f.r.fillers, f) {
		return
	}
	if said {
		f.step++
	}
	if f.what.Interval == 0 || f.what.MaxSteps > 0 && f.step >= f.what.MaxSteps {
		f.stop()
		return
	}
	f.pause.start(f.what.Interval, f.again)
}

func (f *filler) stop() {
	f.delay.stop()
	f.pause.stop()
	if f.wait != nil {
		f.r.forgetIdle(f.wait)
		f.wait = nil
	}
	f.r.fillers = slices.DeleteFunc(f.r.fillers, func(o *filler) bool { return o == f })
}

// dropFillers stops the fillers that which picks.
func (r *run) dropFillers(which func(*filler) bool) {
	for _, f := range slices.Clone(r.fillers) {
		if which(f) {
			f.stop()
		}
	}
}

// stirFillers begins the delay of fillers anew, of those that which picks or of all with nil.
func (r *run) stirFillers(which func(*filler) bool) {
	for _, f := range r.fillers {
		if f.delay.running() && (which == nil || which(f)) {
			f.delay.stop()
			f.again()
		}
	}
}
