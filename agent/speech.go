package agent

import (
	"context"
	"slices"
	"sync"

	"github.com/parley-go/parley/llm/chat"
)

// Speech is one reply of the agent with all its tool rounds: a handle to wait for it and to stop
// it. All methods may be called from any goroutine.
type Speech struct {
	id        string
	interrupt func(force bool) error

	mu          sync.Mutex
	protected   bool
	holds       int // it is also protected while there are any
	interrupted bool
	scheduled   bool
	steps       int
	items       []chat.Item
	err         error
	done        chan struct{}
}

// SpeechOwner is the side of a speech that moves it along; the session has it.
type SpeechOwner struct{ sp *Speech }

// NewSpeech makes a speech. interrupt is called by Speech.Interrupt.
func NewSpeech(id string, protected bool, interrupt func(force bool) error) (*Speech, *SpeechOwner) {
	sp := &Speech{id: id, protected: protected, interrupt: interrupt, steps: 1, done: make(chan struct{})}
	return sp, &SpeechOwner{sp}
}

// FailedSpeech is a speech that is done because of err.
func FailedSpeech(id string, err error) *Speech {
	sp, o := NewSpeech(id, false, func(bool) error { return nil })
	o.Finish(err)
	return sp
}

// ID is "speech_" and a random part.
func (sp *Speech) ID() string { return sp.id }

// Done is closed when the speech is over, with all its steps and tools.
func (sp *Speech) Done() <-chan struct{} { return sp.done }

// Wait waits until the speech is over or ctx ends. Its error is never the speech's own: see Err.
// A tool that waits for the speech that called it gets ErrSelfWait, unless RunContext.Update has let the
// speech go on.
func (sp *Speech) Wait(ctx context.Context) error {
	if rc := RunContextFrom(ctx); rc != nil && rc.speech == sp && rc.call != nil && (rc.runtime == nil || !rc.runtime.InBackground()) {
		return ErrSelfWait
	}
	select {
	case <-sp.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Err is what the speech failed with, nil while it runs and when it went well. Being interrupted
// is not a failure.
func (sp *Speech) Err() error {
	sp.mu.Lock()
	defer sp.mu.Unlock()
	return sp.err
}

// Interrupt stops the speech. A speech that is done or interrupted stays as it is; a protected one
// is ErrProtected unless force is set.
func (sp *Speech) Interrupt(force bool) error {
	return sp.interrupt(force)
}

// Interrupted reports whether the speech was stopped before its end.
func (sp *Speech) Interrupted() bool {
	sp.mu.Lock()
	defer sp.mu.Unlock()
	return sp.interrupted
}

// Scheduled reports whether the speech got its turn.
func (sp *Speech) Scheduled() bool {
	sp.mu.Lock()
	defer sp.mu.Unlock()
	return sp.scheduled
}

// Protected reports whether the user cannot interrupt the speech.
func (sp *Speech) Protected() bool {
	sp.mu.Lock()
	defer sp.mu.Unlock()
	return sp.protected || sp.holds > 0
}

// SetProtected changes whether the user can interrupt the speech. Protecting a speech that was
// interrupted is ErrInterrupted.
func (sp *Speech) SetProtected(p bool) error {
	sp.mu.Lock()
	defer sp.mu.Unlock()
	if p && sp.interrupted {
		return ErrInterrupted
	}
	sp.protected = p
	return nil
}

// Steps is the number of generation steps so far: 1 and one more per tool round.
func (sp *Speech) Steps() int {
	sp.mu.Lock()
	defer sp.mu.Unlock()
	return sp.steps
}

// Items is what the speech has added to the conversation so far.
func (sp *Speech) Items() []chat.Item {
	sp.mu.Lock()
	defer sp.mu.Unlock()
	return slices.Clone(sp.items)
}

// Finish ends the speech; only the first call counts and returns true.
func (o *SpeechOwner) Finish(err error) bool {
	sp := o.sp
	sp.mu.Lock()
	defer sp.mu.Unlock()
	select {
	case <-sp.done:
		return false
	default:
	}
	sp.err = err
	close(sp.done)
	return true
}

// Interrupted marks the speech as interrupted, unless it is protected and force is not set.
// It returns false when the speech was interrupted already, or is done.
func (o *SpeechOwner) Interrupted(force bool) (bool, error) {
	sp := o.sp
	sp.mu.Lock()
	defer sp.mu.Unlock()
	select {
	case <-sp.done:
		return false, nil
	default:
	}
	switch {
	case sp.interrupted:
		return false, nil
	case (sp.protected || sp.holds > 0) && !force:
		return false, ErrProtected
	}
	sp.interrupted = true
	return true, nil
}

// Hold protects the speech until Release, whatever else is said about it. It returns ErrInterrupted
// when the speech was interrupted or is done. Holds are counted.
func (o *SpeechOwner) Hold() error {
	o.sp.mu.Lock()
	defer o.sp.mu.Unlock()
	select {
	case <-o.sp.done:
		return ErrInterrupted
	default:
	}
	if o.sp.interrupted {
		return ErrInterrupted
	}
	o.sp.holds++
	return nil
}

// Release takes back one Hold.
func (o *SpeechOwner) Release() {
	o.sp.mu.Lock()
	o.sp.holds--
	o.sp.mu.Unlock()
}

// Scheduled marks that the speech got its turn.
func (o *SpeechOwner) Scheduled() {
	o.sp.mu.Lock()
	o.sp.scheduled = true
	o.sp.mu.Unlock()
}

// Step counts one more generation step and returns the count.
func (o *SpeechOwner) Step() int {
	o.sp.mu.Lock()
	defer o.sp.mu.Unlock()
	o.sp.steps++
	return o.sp.steps
}

// Add records items that the speech added to the conversation.
func (o *SpeechOwner) Add(items ...chat.Item) {
	o.sp.mu.Lock()
	o.sp.items = append(o.sp.items, items...)
	o.sp.mu.Unlock()
}
