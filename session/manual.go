package session

import (
	"context"
	"time"

	"github.com/parley-go/parley/agent"
	"github.com/parley-go/parley/stt"
)

// CommitOptions are the options of Session.CommitUserTurn; nil means the defaults.
type CommitOptions struct {
	// TranscriptTimeout is how long the STT's last words are waited for: default 2 s.
	TranscriptTimeout time.Duration
	// SkipReply remembers the turn without answering it.
	SkipReply bool
}

// freshFinal is how recent a final transcript must be for a commit not to wait for another.
const freshFinal = 500 * time.Millisecond

// CommitUserTurn ends the user's turn now and returns its text, which is "" when nothing was said.
// It waits for the STT's last words; an interim text is taken when no final one comes in time. A
// second commit ends the waiting of the first. It fails when ctx ends or the session is not running.
func (s *Session) CommitUserTurn(ctx context.Context, o *CommitOptions) (string, error) {
	if o == nil {
		o = &CommitOptions{}
	}
	r := s.current()
	if r == nil {
		return "", agent.ErrNotRunning
	}
	result := make(chan string, 1) // one result
	if !r.ask(func() { r.commitTurn(*o, result) }) {
		return "", agent.ErrNotRunning
	}
	select {
	case text := <-result:
		return text, nil
	case <-r.done:
		return "", agent.ErrNotRunning
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// ClearUserTurn forgets what the user has said since the last turn, also what the STT has not told yet.
func (s *Session) ClearUserTurn() {
	if r := s.current(); r != nil {
		r.ask(func() {
			r.heard.clear()
			r.attribute()
			if c := r.conv.Load(); c != nil && !c.itself {
				_ = c.s.Clear()
			}
			r.talk.reset()
			r.listenAnew()
			r.resetJudge()
			r.dropEarly()
			r.turnDropped()
		})
	}
}

// commitRequest is a commit that waits for the last words.
type commitRequest struct {
	CommitOptions
	result chan<- string
	wait   timer
}

func (h *recognition) clear() {
	h.stopDeciding()
	if c := h.commit; c != nil {
		h.commit = nil
		c.wait.stop()
		c.result <- ""
	}
	h.speaking = false // what is being said belongs to the turn that is forgotten
	h.reset()
}

// commitTurn is CommitUserTurn on the loop.
func (r *run) commitTurn(o CommitOptions, result chan<- string) {
	if r.heard.commit != nil {
		r.finishCommit()
	}
	if r.heardByModel() && r.closing == nil {
		result <- ""
		t := newTurn(&r.heard)
		t.silent = o.SkipReply
		r.heard.speaking = false
		r.take(t)
		return
	}
	if r.closing != nil || r.ears == nil || r.ears.stt == nil {
		result <- ""
		return
	}
	c := &commitRequest{CommitOptions: o, result: result}
	c.wait.s = r
	r.heard.stopDeciding()
	r.heard.commit = c
	if !r.heard.lastFinal.IsZero() && now().Sub(r.heard.lastFinal) < freshFinal && r.heard.interim == "" {
		r.finishCommit()
		return
	}
	if s := r.ears.current(); s != nil {
		_ = s.Flush() // a stream that failed says so to its reader
	}
	wait := o.TranscriptTimeout
	if wait <= 0 {
		wait = defaultCloseWait
	}
	c.wait.start(wait, r.finishCommit)
}

// finishCommit makes a turn of what was said.
func (r *run) finishCommit() {
	h := &r.heard
	c := h.commit
	h.commit = nil
	c.wait.stop()
	if r.closing != nil { // which takes the last words itself
		c.result <- ""
		return
	}
	if h.interim != "" {
		r.publishUser(h.interim, true, &stt.Alternative{Language: h.language})
		h.transcript, h.interim = join(h.transcript, h.interim), ""
		r.listenAnew() // or the same words come once more
	}
	c.result <- h.transcript
	if h.transcript == "" {
		r.turnDropped()
		return
	}
	t := newTurn(h)
	t.silent = c.SkipReply
	h.speaking = false // the next word belongs to the next turn
	r.take(t)
}
