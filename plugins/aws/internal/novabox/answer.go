package novabox

import (
	"encoding/base64"
	"strings"
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/internal/sandbox"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model/fault"
)

// answer is an answer under way.
type answer struct {
	t       *conversation
	fault   fault.Kind
	reply   sandbox.Reply
	stopped chan struct{} // closed when it is cut
	cut     bool
	audio   string // content that is open; "" for none
	said    []string
}

// answer begins an answer, on a goroutine that ends with the connection. With the lock.
func (t *conversation) answer(r sandbox.TalkRequest) {
	a := &answer{t: t, stopped: make(chan struct{})}
	var end func()
	a.fault, end = t.d.Stream()
	if a.fault != fault.Empty {
		a.reply = t.o.Answer(r)
	}
	t.active = a
	if a.fault == fault.Silence {
		t.wg.Go(func() {
			defer end()
			t.d.Hang()
		})
		return
	}
	t.complete()
	t.wg.Go(func() {
		defer end()
		whole := a.say() && a.call()
		t.Lock()
		defer t.Unlock()
		if len(a.said) > 0 {
			t.turns = append(t.turns, sandbox.Turn{Role: "assistant", Text: strings.Join(a.said, " ")})
		}
		if whole {
			a.finish()
		}
		t.active = nil
		if next := t.next; next != nil && !t.over {
			t.next = nil
			next()
		}
	})
}

// cut ends the answer under way; false if there is none. With the lock.
func (t *conversation) cut() bool {
	a := t.active
	if a == nil || a.cut {
		return false
	}
	a.cut = true
	close(a.stopped)
	return t.stating(a.fault, func() bool {
		if a.audio != "" {
			t.end(a.audio, "AUDIO", "INTERRUPTED")
		}
		t.interrupted()
		return true
	})
}

// phrase is how many words are told at once before they are spoken.
const phrase = 4

// say speaks the text phrase by phrase; false when there is no more to be said.
func (a *answer) say() bool {
	t := a.t
	words := strings.Fields(a.reply.Text)
	pieces := t.o.Speak(a.reply.Text, outputRate)
	for i := 0; i < len(words); i += phrase {
		part := words[i:min(i+phrase, len(words))]
		if !a.unless(func() bool {
			ok := t.words("ASSISTANT", "SPECULATIVE", strings.Join(part, " "))
			a.audio = metrics.NewID("out_")
			return ok && t.begin(a.audio, "AUDIO", "ASSISTANT", "")
		}) {
			return false
		}
		for j, w := range part {
			if !a.speak(w, pieces[i+j]) {
				return false
			}
		}
		if i+phrase < len(words) && !a.unless(func() bool {
			ok := t.end(a.audio, "AUDIO", "PARTIAL_TURN")
			a.audio = ""
			return ok
		}) {
			return false
		}
	}
	return true
}

func (a *answer) speak(w string, pcm []byte) bool {
	t := a.t
	d := audio.Samples(len(pcm) / 2).At(outputRate)
	if a.fault == fault.Slow && !a.pause(d) {
		return false
	}
	return a.unless(func() bool {
		if !t.tell("audioOutput", map[string]any{"contentId": a.audio, "content": base64.StdEncoding.EncodeToString(pcm), "role": "ASSISTANT"}, true) {
			return false
		}
		a.said = append(a.said, w)
		t.use(tally{Output: tokens{Speech: 2 * tenths(d), Text: sandbox.TextTokens(w)}})
		if now := time.Now(); t.played.Before(now) {
			t.played = now
		}
		t.played = t.played.Add(d)
		return true
	})
}

// unless does f unless the answer is cut.
func (a *answer) unless(f func() bool) bool {
	a.t.Lock()
	defer a.t.Unlock()
	return !a.cut && !a.t.over && f()
}

// pause waits; false when the answer is cut, or the client gone.
func (a *answer) pause(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-a.stopped:
	case <-a.t.c.R.Context().Done():
	}
	return false
}

// call calls the tools.
func (a *answer) call() bool {
	t := a.t
	if len(a.reply.Calls) > 0 && a.audio != "" && !a.unless(func() bool {
		last := a.audio
		a.audio = ""
		return t.end(last, "AUDIO", "PARTIAL_TURN")
	}) {
		return false
	}
	for _, c := range a.reply.Calls {
		if c.CallID == "" {
			c.CallID = metrics.NewID("tooluse_")
		}
		if !a.unless(func() bool {
			t.use(tally{Output: tokens{Text: 5 + sandbox.TextTokens(c.Arguments)}})
			t.calls[c.CallID] = c.Name
			t.turns = append(t.turns, sandbox.Turn{Role: "call", Text: c.Arguments, Tool: c.Name})
			return t.stating(a.fault, func() bool {
				return t.block("TOOL", "TOOL", "", "TOOL_USE", func(id string) bool {
					return t.tell("toolUse", map[string]any{"contentId": id, "role": "TOOL", "toolName": c.Name, "toolUseId": c.CallID, "content": c.Arguments}, true)
				})
			})
		}) {
			return false
		}
	}
	return true
}

// finish tells the end, and then what was said. With the lock.
func (a *answer) finish() {
	t := a.t
	if a.cut || t.over || a.audio == "" {
		return
	}
	last := a.audio
	a.audio = ""
	t.stating(a.fault, func() bool { return t.end(last, "AUDIO", "END_TURN") })
	if a.fault == fault.DoubleFinal {
		t.end(last, "AUDIO", "END_TURN")
	}
	t.words("ASSISTANT", "FINAL", strings.Join(a.said, " "))
	// From here on it is complete, and what speaks over it does not cut it.
	a.cut = true
	close(a.stopped)
}
