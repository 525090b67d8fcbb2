package sandbox

import (
	"strings"
	"time"

	llm "github.com/parley-go/parley/llm/driver"
)

// TalkText is what realtime sandboxes answer.
const TalkText = "The lights are on now."

// Talk is what the realtime sandboxes share: how they answer what they hear.
type Talk struct {
	// Answer makes the answers; default Replies(false).
	Answer func(r TalkRequest) Reply
	// Speak is the speech of a text, a piece for each of its words, as 16-bit little-endian samples; default
	// Voice for each.
	Speak func(text string, rate int) [][]byte
	// Ear is what is heard; "" means EarText.
	Ear string
}

// TalkRequest is what an answer is made of.
type TalkRequest struct {
	Instructions string // of the answer, else of the session
	Turns        []Turn
	Tools        []llm.ToolSpec
}

// Turn is an entry of a conversation.
type Turn struct {
	Role   string        // "user", "assistant" or "system", "call" or "output" of a tool
	Text   string        // said, the arguments of a call, or an output
	Tool   string        // of a call
	Audio  time.Duration // that is remembered of it
	Images int           // in it
}

// Last is the newest turn.
func (r *TalkRequest) Last() Turn {
	if len(r.Turns) == 0 {
		return Turn{}
	}
	return r.Turns[len(r.Turns)-1]
}

// Reply is an answer: text that is spoken, then calls.
type Reply struct {
	Text  string
	Calls []llm.ToolCall
	// Status is how it ends: "" completes it, else "failed" or "incomplete", where the provider has such ends,
	// for Reason, in the provider's words.
	Status, Reason string
}

// Replies answers with TalkText; if tool is set, a question is answered with a call of the first tool about Paris.
func Replies(tool bool) func(TalkRequest) Reply {
	return func(r TalkRequest) Reply {
		if tool && len(r.Tools) > 0 && r.Last().Role != "output" {
			return Reply{Calls: []llm.ToolCall{{Name: r.Tools[0].Name, Arguments: `{"location":"Paris"}`}}}
		}
		return Reply{Text: TalkText}
	}
}

// Defaults fills in what is not set.
func (t Talk) Defaults() Talk {
	if t.Answer == nil {
		t.Answer = Replies(false)
	}
	if t.Speak == nil {
		t.Speak = func(text string, rate int) (pieces [][]byte) {
			for _, w := range strings.Fields(text) {
				pieces = append(pieces, Voice(w, rate))
			}
			return pieces
		}
	}
	return t
}

// TextTokens is what text costs at realtime sandboxes: a token for every word, and one for every eight letters of long words.
func TextTokens(text string) (n int64) {
	for _, w := range strings.Fields(text) {
		n += 1 + int64(len(w)/8)
	}
	return n
}
