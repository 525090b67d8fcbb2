package worker

import (
	"context"
	"sync"
)

// callbacks are functions that are called once, all at the same time.
type callbacks struct {
	mu    sync.Mutex
	list  []func(ctx context.Context, reason string) error
	begun bool
}

// add reports whether f was added; false when the others are being called, or were.
func (c *callbacks) add(f func(ctx context.Context, reason string) error) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.begun {
		c.list = append(c.list, f)
	}
	return !c.begun
}

// run has call call each function, and waits for all.
func (c *callbacks) run(call func(f func(ctx context.Context, reason string) error)) {
	c.mu.Lock()
	c.begun = true
	list := c.list
	c.list = nil
	c.mu.Unlock()
	var wg sync.WaitGroup
	for _, f := range list {
		wg.Go(func() { call(f) })
	}
	wg.Wait()
}

// BeforeDisconnect has f called when the job ends, after the session is closed, its usage final, and
// before the server is told how the job ended and the room is left. All such functions are called at the
// same time and have 5 s; their errors and panics are logged. One that is added too late is not called.
// Where the end of the call is that the room is gone, because the agent hung up (tools.EndCall) or
// somebody deleted it, there is no room any more.
func (j *Job) BeforeDisconnect(f func(ctx context.Context, reason string) error) {
	if !j.before.add(f) {
		j.log.Warn("BeforeDisconnect comes too late, the room is being left")
	}
}

// OnShutdown has f called when the job ends, after the session is closed, its usage final, the room left
// and the report delivered. All such functions are called at the same time and have ShutdownTimeout;
// their errors and panics are logged. One that is added too late is called at once.
func (j *Job) OnShutdown(f func(ctx context.Context, reason string) error) {
	if !j.after.add(f) {
		j.callback(f)
	}
}

func (j *Job) runBefore() {
	j.before.run(func(f func(context.Context, string) error) {
		j.bounded("hook before the disconnect", leaveTimeout, func(ctx context.Context) error { return f(ctx, j.reason) })
	})
}

func (j *Job) callback(f func(context.Context, string) error) {
	j.bounded("shutdown callback", j.w.opt.ShutdownTimeout, func(ctx context.Context) error { return f(ctx, j.reason) })
}

// sessionEnd runs OnSessionEnd.
func (j *Job) sessionEnd() {
	if f := j.w.opt.OnSessionEnd; f != nil {
		j.bounded("OnSessionEnd", j.w.opt.SessionEndTimeout, func(ctx context.Context) error { return f(ctx, j) })
	}
}
