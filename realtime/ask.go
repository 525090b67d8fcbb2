package realtime

import (
	"context"
	"time"

	"github.com/parley-go/parley/internal/attempt"
	"github.com/parley-go/parley/llm"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/realtime/driver"
)

func onCanceller(d driver.Canceller) func(context.Context, driver.Conn) error {
	return func(ctx context.Context, _ driver.Conn) error { return d.Cancel(ctx) }
}

// ask asks for a generation and waits until it begins.
func (s *Session) ask(ctx context.Context, tools *[]llm.ToolSpec, choice *llm.ToolChoice, send func(context.Context, driver.Conn, string) error) (*Generation, error) {
	s.mu.Lock()
	if err := s.usable(); err != nil {
		s.mu.Unlock()
		return nil, err
	}
	g := s.newGeneration()
	g.requested, g.send, g.tags, g.inside = true, send, metrics.TagsFrom(ctx), context.WithoutCancel(ctx)
	if (tools != nil || choice != nil) && !s.who.caps.ToolsPerResponse && s.who.caps.MutableTools {
		g.tools, g.choice = tools, choice
		s.override = g
		s.reconcile()
	}
	s.askAgain(g, time.Time{})
	s.unlock()
	return g, s.waitFor(ctx, g)
}

// waitFor waits until g begins; else it is withdrawn.
func (s *Session) waitFor(ctx context.Context, g *Generation) (err error) {
	t := time.NewTimer(s.conn.Timeout)
	defer t.Stop()
	select {
	case <-g.ready:
	case <-t.C:
		err = attempt.Timeout(s.Info(), "generate", s.conn.Timeout)
	case <-ctx.Done():
		err = ctx.Err()
	case <-s.closed:
		err = ErrClosed
	case <-s.user.Done():
		err = s.user.Err()
	}
	s.mu.Lock()
	defer s.unlock()
	switch {
	case g.begun && g.response != "":
		return nil
	case g.begun && g.err != nil:
		return g.err
	case g.begun:
		return ErrInterrupted
	}
	s.withdraw(g, err)
	return err
}

// withdraw no longer asks for g. A provider that was asked and did not answer in time is left.
func (s *Session) withdraw(g *Generation, err error) {
	sent := false
	for _, o := range s.ops {
		sent = sent || o.g == g && o.sent
	}
	s.interrupt(g)
	if !isTimeout(err) {
		return
	}
	if sent && s.c != nil {
		s.c.cancel(err) // which is reported with the connection
	} else {
		s.report(err, true, g.attempts)
	}
}

// askAgain puts the request for g behind what is to be sent.
func (s *Session) askAgain(g *Generation, due time.Time) {
	id := metrics.NewID("req_")
	s.queue(&op{
		key: id, g: g, at: s.in.Head, flush: true, due: due,
		send: func(ctx context.Context, d driver.Conn) error { return g.send(ctx, d, id) },
	})
}

// orphan is a generation whose connection broke before anything of it came.
type orphan struct {
	g   *Generation
	due time.Time // when it is asked for; zero while there is no connection
}

// orphan keeps g for the next connection: it is asked for there, or, when the audio that it answers is sent
// again, the model is expected to begin by itself.
func (s *Session) orphan(g *Generation) {
	for _, id := range g.items {
		s.want.conv.remove(id)
	}
	g.open, g.items = nil, nil
	s.orphans = append(s.orphans, orphan{g: g})
}

// askOrphans asks for those that the model will not begin by itself.
func (s *Session) askOrphans() {
	var wait []orphan
	for _, o := range s.orphans {
		if !o.g.requested && len(s.turns.pending) > 0 && !s.o.ClientTurns {
			o.due = time.Now().Add(s.conn.Timeout)
			wait = append(wait, o)
			continue
		}
		s.askAgain(o.g, time.Time{})
	}
	s.orphans = wait
}

// orphansDue asks for those that the model should have begun by now, and says when the next are due.
func (s *Session) orphansDue() (next time.Time) {
	now := time.Now()
	for len(s.orphans) > 0 {
		o := s.orphans[0]
		if o.due.After(now) {
			return o.due
		}
		s.orphans = s.orphans[1:]
		s.askAgain(o.g, time.Time{})
	}
	return time.Time{}
}
