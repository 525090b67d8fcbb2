package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/internal/lkserver"
	"github.com/parley-go/parley/internal/lkserver/caller"
	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/plugins/flite"
	"github.com/parley-go/parley/session"
	"github.com/parley-go/parley/tts"
)

// line is something that the caller says.
type line struct {
	text string
	// after is how long the agent has been talking when the caller cuts in; 0 waits for the answer.
	after time.Duration
}

// script is the whole call: a greeting, a question for a tool, one that makes the agent talk, one
// that interrupts it, and a goodbye.
var script = []line{
	{text: "Hello. Who are you?"},
	{text: "Can you tell me the weather in Paris?"},
	{text: "Please tell me a story."},
	{text: "Stop, please. Thank you very much.", after: 4 * time.Second},
	{text: "Goodbye."},
}

// pause is how long the caller listens into silence before he takes it for the end of an answer.
const pause = 900 * time.Millisecond

// answerLimit is how long the caller waits for an answer, and until it has ended.
const answerLimit = 30 * time.Second

// errNoAnswer ends a call in which an answer does not come.
var errNoAnswer = errors.New("the agent says nothing")

// call dials in and follows the script until the agent hangs up.
func call(ctx context.Context, server *lkserver.Server) error {
	lines, err := record(ctx, flite.New(&flite.Options{Voice: "rms"}))
	if err != nil {
		return fmt.Errorf("recording the caller: %w", err)
	}
	c, err := dial(ctx, server)
	if err != nil {
		return err
	}
	defer c.Hangup()
	if err := waitReply(ctx, c); err != nil { // the agent greets
		return fmt.Errorf("waiting for the greeting: %w", err)
	}
	for i, l := range script {
		if err := c.Say(ctx, lines[i]); err != nil {
			return fmt.Errorf("saying %q: %w", l.text, err)
		}
		last := i == len(script)-1
		if !last && script[i+1].after > 0 {
			err = waitSpeaking(ctx, c, script[i+1].after)
		} else {
			err = waitReply(ctx, c)
		}
		if err != nil && !(last && errors.Is(err, caller.ErrHungUp)) {
			return fmt.Errorf("waiting for the answer to %q: %w", l.text, err)
		}
	}
	select {
	case <-c.Done(): // the agent ends the call
		return nil
	case <-ctx.Done():
		return fmt.Errorf("waiting for the agent to hang up: %w", ctx.Err())
	}
}

// dial calls until an agent answers. The server knows a worker a moment after the worker knows that
// it is registered, and a room that was opened in between stays without an agent for good.
func dial(ctx context.Context, server *lkserver.Server) (*caller.Call, error) {
	const tries, patience = 5, 3 * time.Second
	for n := 1; ; n++ {
		token, err := server.Token("caller", fmt.Sprintf("%s-%d", roomName, n))
		if err != nil {
			return nil, err
		}
		c, err := caller.Dial(ctx, server.URL(), token, nil)
		if err != nil {
			return nil, fmt.Errorf("dialling in: %w", err)
		}
		waitCtx, cancel := context.WithTimeout(ctx, patience)
		err = c.WaitAgent(waitCtx)
		cancel()
		if err == nil {
			return c, nil
		}
		c.Hangup()
		if n == tries || ctx.Err() != nil {
			return nil, fmt.Errorf("no agent answers: %w", err)
		}
	}
}

// waitReply waits until the agent has answered.
func waitReply(ctx context.Context, c *caller.Call) error {
	ctx, cancel := context.WithTimeoutCause(ctx, answerLimit, errNoAnswer)
	defer cancel()
	return c.WaitReply(ctx, pause)
}

// waitSpeaking waits until the agent has been speaking for d.
func waitSpeaking(ctx context.Context, c *caller.Call, d time.Duration) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if on, since := c.Speaking(); on && time.Since(since) >= d {
			return nil
		}
		select {
		case <-tick.C:
		case <-c.Done():
			return caller.ErrHungUp
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// record has the caller's lines spoken before the call, so that he answers without thinking.
func record(ctx context.Context, voice *tts.Model) ([]audio.Frame, error) {
	var out []audio.Frame
	for _, l := range script {
		f := audio.Frame{Rate: voice.Capabilities().SampleRate, Channels: 1}
		s := voice.Synthesize(ctx, l.text)
		for {
			a, err := s.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				s.Close()
				return nil, err
			}
			f.Data = append(f.Data, a.Frame.Data...)
		}
		s.Close()
		out = append(out, f)
	}
	return out, nil
}

// check says why r is not the report of the scripted conversation, nil if it is.
func check(r *session.Report, d Options) error {
	users, interrupted := 0, 0
	for m := range r.History.Messages() {
		switch {
		case m.Role == chat.User:
			users++
		case m.Interrupted:
			interrupted++
		}
	}
	switch {
	case users < len(script)-1:
		return fmt.Errorf("the agent understood %d of %d lines", users, len(script))
	case interrupted == 0:
		return errors.New("the agent was not interrupted")
	case len(r.Usage.Models) < d.Models:
		return fmt.Errorf("usage of %d models, want %d", len(r.Usage.Models), d.Models)
	case r.CloseReason != session.ReasonUserInitiated:
		return fmt.Errorf("the session closed because of %s: %v", r.CloseReason, r.CloseError)
	case d.Check != nil:
		return d.Check(r)
	}
	return nil
}
