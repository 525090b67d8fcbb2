package agent_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"go.uber.org/goleak"

	"github.com/parley-go/parley/agent"
	"github.com/parley-go/parley/llm/chat"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newSpeech(protected bool) (*agent.Speech, *agent.SpeechOwner) {
	return agent.NewSpeech("speech_x", protected, func(bool) error { return nil })
}

func TestSpeechEndsOnce(t *testing.T) {
	sp, owner := newSpeech(false)
	if sp.Err() != nil {
		t.Errorf("a running speech has the error %v", sp.Err())
	}
	broken := errors.New("broken")
	if !owner.Finish(broken) || owner.Finish(nil) {
		t.Error("a speech must end exactly once")
	}
	if sp.Wait(t.Context()) != nil || sp.Err() != broken {
		t.Errorf("waiting must go well and the error stay: %v", sp.Err())
	}
}

func TestWaitEndsWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sp, owner := newSpeech(false)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := sp.Wait(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("Wait: %v", err)
		}
		select {
		case <-sp.Done():
			t.Error("a waiter that gives up must not end the speech")
		default:
		}
		owner.Finish(nil)
	})
}

func TestToolCannotWaitForItsOwnSpeech(t *testing.T) {
	sp, owner := newSpeech(false)
	defer owner.Finish(nil)
	tool := agent.NewRunContext(nil, sp, &chat.FunctionCall{}, nil)
	if err := sp.Wait(agent.ContextWithRun(t.Context(), tool)); !errors.Is(err, agent.ErrSelfWait) {
		t.Errorf("Wait in a tool of the speech: %v, want ErrSelfWait", err)
	}
	other, ended := newSpeech(false)
	ended.Finish(nil)
	if err := other.Wait(agent.ContextWithRun(t.Context(), tool)); err != nil {
		t.Errorf("Wait for another speech: %v", err)
	}
}

func TestProtection(t *testing.T) {
	sp, owner := newSpeech(true)
	if ok, err := owner.Interrupted(false); ok || !errors.Is(err, agent.ErrProtected) {
		t.Errorf("interrupting a protected speech: %v, %v", ok, err)
	}
	if ok, err := owner.Interrupted(true); !ok || err != nil || !sp.Interrupted() {
		t.Errorf("forced: %v, %v", ok, err)
	}
	if ok, err := owner.Interrupted(true); ok || err != nil {
		t.Errorf("a second time: %v, %v, want nothing to happen", ok, err)
	}
	if err := sp.SetProtected(true); !errors.Is(err, agent.ErrInterrupted) {
		t.Errorf("protecting an interrupted speech: %v, want ErrInterrupted", err)
	}
}

func TestProtectionByATool(t *testing.T) {
	sp, owner := newSpeech(false)
	defer owner.Finish(nil)
	rc := agent.NewRunContext(nil, sp, &chat.FunctionCall{}, nil)
	if err := rc.DisallowInterruptions(); err != nil || !sp.Protected() {
		t.Errorf("err %v, protected %v", err, sp.Protected())
	}
}

func TestStepsAndItems(t *testing.T) {
	sp, owner := newSpeech(false)
	defer owner.Finish(nil)
	if n := owner.Step(); n != 2 || sp.Steps() != 2 {
		t.Errorf("after one tool round: %d steps, want 2", n)
	}
	owner.Add(chat.NewMessage(chat.Assistant, "one"))
	items := sp.Items()
	items[0] = nil
	if sp.Items()[0] == nil {
		t.Error("changing a copy of the items changed the speech")
	}
}

type withData struct {
	agent.Session
	data any
}

func (s withData) Userdata() any { return s.data }

func TestUserdata(t *testing.T) {
	rc := agent.NewRunContext(withData{data: 42}, nil, nil, nil)
	if v, err := agent.Userdata[int](rc); err != nil || v != 42 {
		t.Errorf("userdata %v, %v", v, err)
	}
	if _, err := agent.Userdata[string](rc); err == nil {
		t.Error("an int came as a string")
	}
}
