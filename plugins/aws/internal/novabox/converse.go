// Package novabox stands in for Amazon's Nova Sonic on Bedrock.
package novabox

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/parley-go/parley/internal/sandbox"
	llm "github.com/parley-go/parley/llm/driver"
	"github.com/parley-go/parley/metrics"
)

// Options are the options of Converse.
type Options struct {
	sandbox.Talk
	Limit time.Duration // of a connection; default 8 min
	// Echo has it tell what it was written as if the user had said it.
	Echo bool
	// Early has it tell of the user's interruptions of answers that are complete, but not yet heard.
	Early bool
	// Late has it state what an answer cost after the answer has ended.
	Late bool
	// Seen, if set, gets every event of the client.
	Seen func(event string, fields map[string]any)
}

const (
	inputRate  = 16000
	outputRate = 24000
)

// Converse serves the operation for all models. Its secret key is that of s; see AccessKeyID.
func Converse(s *sandbox.Server, o Options) {
	o.Talk = o.Talk.Defaults()
	if o.Limit == 0 {
		o.Limit = 8 * time.Minute
	}
	s.Errors(func(_ int, text string) any { return map[string]any{"message": text} })
	s.HandleDuplex("POST /model/{model}/invoke-with-bidirectional-stream", framing, func(c *sandbox.Call) (func([]byte), func(*sandbox.Duplex)) {
		g, err := newSigner(s, c.R)
		if err != nil {
			c.Refuse(403, err.Error())
			return nil, nil
		}
		return func([]byte) {}, func(d *sandbox.Duplex) {
			t := &conversation{o: o, c: c, d: d, signer: g, model: c.R.PathValue("model"), open: map[string]*content{}, calls: map[string]string{},
				bolt: make(bolt, 1), id: metrics.NewID("completion_"), session: metrics.NewID("session_")}
			t.ear = sandbox.Ear{Rate: inputRate, Text: o.Ear, Understand: c.Understand}
			t.serve()
		}
	})
}

// conversation is one connection.
type conversation struct {
	o      Options
	c      *sandbox.Call
	d      *sandbox.Duplex
	signer *signer
	model  string
	id     string // of the completion
	session,
	prompt string
	wg sync.WaitGroup // of answers

	bolt           // also held while something is sent that belongs together
	started, ended bool
	over           bool // nothing is to be sent any more
	system         string
	tools          []llm.ToolSpec
	open           map[string]*content
	mic            *content
	calls          map[string]string // that want an output: names by id
	turns          []sandbox.Turn
	ear            sandbox.Ear
	active         *answer
	next           func()
	played         time.Time // when the newest answer has been heard
	completion     bool      // was told of
	total          tally
	owed           tally // was used and not told
}

// bolt is a lock whose wait lets the time of a bubble pass.
type bolt chan struct{} // size 1

// Lock implements sync.Locker.
func (b bolt) Lock() { b <- struct{}{} }

// Unlock implements sync.Locker.
func (b bolt) Unlock() { <-b }

// content is one that the client began.
type content struct {
	name, kind, role string
	interactive      bool
	call             string
	text             string
	pieces           int
}

// refusal is a ValidationException.
type refusal string

func (r refusal) Error() string { return string(r) }

func refuse(format string, args ...any) error { return refusal(fmt.Sprintf(format, args...)) }

// second reports whether the model is of the second generation.
func (t *conversation) second() bool { return t.model == "amazon.nova-2-sonic-v1:0" }

func (t *conversation) serve() {
	began := time.Now()
	defer t.wg.Wait()
	defer func() {
		t.Lock()
		t.over, t.next = true, nil
		t.cut()
		t.Unlock()
	}()
	for {
		raw, err := t.d.Next(max(t.o.Limit-time.Since(began), time.Millisecond))
		if errors.Is(err, sandbox.ErrIdle) || time.Since(began) >= t.o.Limit {
			t.except("modelTimeoutException", "Model has timed out in processing the request. Try your request again.")
			return
		}
		if err != nil {
			return
		}
		event, err := t.signer.open(t.c.R.Context(), raw)
		if err == nil && event == nil {
			if t.ended {
				return
			}
			err = refuse("the stream ended before the session")
		}
		if err == nil {
			t.Lock()
			err = t.take(event)
			t.Unlock()
		}
		if err != nil {
			t.except("validationException", err.Error())
			return
		}
	}
}

func (t *conversation) except(name, text string) {
	t.d.Send(message("exception", name, map[string]any{"message": text}), false)
}

// tell sends an event; ok says that more may be sent.
func (t *conversation) tell(name string, fields map[string]any, isContent bool) (ok bool) {
	if t.over {
		return false
	}
	fields["sessionId"], fields["promptName"], fields["completionId"] = t.session, t.prompt, t.id
	return t.d.Send(message("event", "chunk", map[string]any{"bytes": event(name, fields)}), isContent)
}

// complete begins with what the service tells, once.
func (t *conversation) complete() {
	if !t.completion {
		t.completion = true
		t.tell("completionStart", map[string]any{}, false)
	}
}

// hears takes audio of the user.
func (t *conversation) hears(pcm []byte) {
	for _, h := range t.ear.Hear(pcm) {
		switch h.Kind {
		case sandbox.Began:
			t.next = nil
			switch {
			case t.cut():
			case t.o.Early && time.Now().Before(t.played):
				t.interrupted()
			}
		case sandbox.Ended:
			t.said(h)
		}
	}
}

// said takes what the user said, and answers it.
func (t *conversation) said(h sandbox.Heard) {
	text := h.Transcript()
	t.turns = append(t.turns, sandbox.Turn{Role: "user", Text: text, Audio: h.End - h.Start})
	t.complete()
	t.words("USER", "FINAL", text)
	t.use(tally{Input: tokens{Speech: tenths(h.End - h.Start)}})
	t.reply()
}

// words tells a text as a content of its own.
func (t *conversation) words(role, stage, text string) bool {
	return t.block("TEXT", role, stage, "PARTIAL_TURN", func(id string) bool {
		return t.tell("textOutput", map[string]any{"contentId": id, "content": text, "role": role}, false)
	})
}

// block tells a content.
func (t *conversation) block(kind, role, stage, stop string, f func(id string) bool) bool {
	id := metrics.NewID("out_")
	return t.begin(id, kind, role, stage) && f(id) && t.end(id, kind, stop)
}

func (t *conversation) begin(id, kind, role, stage string) bool {
	m := map[string]any{"contentId": id, "type": kind, "role": role}
	if stage != "" {
		m["additionalModelFields"] = fmt.Sprintf("{\"generationStage\":%q}", stage)
	}
	return t.tell("contentStart", m, false)
}

func (t *conversation) end(id, kind, stop string) bool {
	return t.tell("contentEnd", map[string]any{"contentId": id, "type": kind, "stopReason": stop}, false)
}

// interrupted tells that the user speaks over an answer.
func (t *conversation) interrupted() {
	t.block("TEXT", "ASSISTANT", "FINAL", "INTERRUPTED", func(id string) bool {
		return t.tell("textOutput", map[string]any{"contentId": id, "content": `{ "interrupted" : true }`, "role": "ASSISTANT"}, false)
	})
}

// reply answers what there is, now or after the answer under way.
func (t *conversation) reply() {
	begin := func() {
		t.answer(sandbox.TalkRequest{Instructions: t.system, Tools: t.tools, Turns: slices.Clone(t.turns)})
	}
	if t.active != nil {
		t.next = begin
		return
	}
	begin()
}
