package agent

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// ToolRuntime is how a tool acts on the session while it runs. Sessions implement it.
type ToolRuntime interface {
	WaitForPlayout(ctx context.Context) error
	Update(ctx context.Context, message any) error
	WithFiller(ctx context.Context, f Filler) (stop func(), err error)
	// InBackground reports whether the speech that called the tool does not wait for it any more.
	InBackground() bool
}

// Filler is what the agent says while the user waits for a tool.
type Filler struct {
	// Text is said; or Func is called, with 0 and then the number of fillers so far, to say something
	// with the session and return its speech. It returns nil to let the moment pass.
	Text string
	Func func(ctx context.Context, step int) *Speech
	// Delay is how long nobody must have said anything before a filler: default 0.
	Delay time.Duration
	// Interval is the time from one filler to the next; 0 makes it one filler only.
	Interval time.Duration
	// MaxSteps is how many fillers there are at most; 0 means any number.
	MaxSteps int
}

// Validate says what is wrong with f.
func (f *Filler) Validate() error {
	switch {
	case (f.Text == "") == (f.Func == nil):
		return errors.New("filler needs either a text or a function")
	case f.Delay < 0 || f.Interval < 0 || f.MaxSteps < 0:
		return fmt.Errorf("filler with a negative number: delay %v, interval %v, at most %d", f.Delay, f.Interval, f.MaxSteps)
	}
	return nil
}

var errNoTool = errors.New("only a tool has something to update")

// Update tells the model how far the tool is. The first call ends the waiting: its message is the
// tool's output for now, the agent answers, and the tool goes on in the background. Later messages and
// at last the tool's own result become calls and outputs of their own in what the agent knows, and the
// agent tells the user about them in the next quiet moment. Texts are told together with the remark that
// the tool still runs; other values are told as they are.
//
// A tool in the background cannot hand over to another agent. Its context ends when its agent is
// replaced, after it was waited for; a tool of the session goes on.
//
// Update fails when the call is over or ctx has ended. Without a session, as in a test of the tool,
// it does nothing.
func (rc *RunContext) Update(ctx context.Context, message any) error {
	switch {
	case rc.call == nil:
		return errNoTool
	case rc.runtime == nil:
		return ctx.Err()
	}
	return rc.runtime.Update(ctx, message)
}

// WithFiller has the agent say something while the user waits, until stop is called, ctx ends, or the
// speech that called the tool is interrupted:
//
//	stop, err := rc.WithFiller(ctx, agent.Filler{Text: "One moment.", Delay: 2 * time.Second})
//	if err != nil {
//		return "", err
//	}
//	defer stop()
//
// A filler comes in a quiet moment, see Session.WaitForIdle, that has lasted for Delay. When anybody
// begins to speak, the agent begins to think, or the tool calls Update, the delay begins anew. What was
// said to the queue already is said also after stop. stop is never nil, and may be called twice.
func (rc *RunContext) WithFiller(ctx context.Context, f Filler) (stop func(), err error) {
	if err := f.Validate(); err != nil {
		return func() {}, err
	}
	if rc.runtime == nil {
		return func() {}, nil
	}
	return rc.runtime.WithFiller(ctx, f)
}
