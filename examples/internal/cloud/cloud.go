// Package cloud has what the stand-ins of providers on this machine think and hear with: the rules of the
// demonstration, and the local recogniser and voice.
package cloud

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/internal/sandbox"
	"github.com/parley-go/parley/internal/wire"
	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/llm/driver"
	"github.com/parley-go/parley/plugins/flite"
	"github.com/parley-go/parley/plugins/moonshine"
	"github.com/parley-go/parley/plugins/rules"
)

// Think answers a conversation by the rules.
func Think(c *chat.Context, tools []driver.ToolSpec) (text string, calls []driver.ToolCall) {
	const lost = "Sorry?"
	s, err := rules.NewDriver(nil).Chat(context.Background(), &driver.Request{Messages: c, Tools: tools})
	if err != nil {
		return lost, nil
	}
	defer s.Close()
	for {
		c, err := s.Next()
		if err == io.EOF {
			return text, calls
		}
		if err != nil {
			return lost, nil
		}
		text += c.Text
		calls = append(calls, c.ToolCalls...)
	}
}

// Understand returns what transcribes an utterance; what cannot be is silence.
func Understand(ctx context.Context) func(audio.Frame) string {
	ears := moonshine.New(nil)
	return func(f audio.Frame) string {
		// The recogniser likes to hear that a sentence is over.
		f.Data = append(slices.Clip(f.Data), make([]int16, f.Rate*6/10)...)
		r, err := ears.Recognize(ctx, f, nil)
		if err != nil {
			return ""
		}
		return r.Text
	}
}

// Talk is a realtime model that thinks by the rules and speaks with the local voice.
func Talk() sandbox.Talk {
	return sandbox.Talk{
		Answer: func(r sandbox.TalkRequest) sandbox.Reply {
			c := &chat.Context{}
			if r.Instructions != "" {
				c.Add(chat.NewMessage(chat.System, r.Instructions))
			}
			for i, t := range r.Turns {
				id := fmt.Sprintf("call_%d", i)
				switch t.Role {
				case "call":
					c.Add(&chat.FunctionCall{CallID: id, Name: t.Tool, Arguments: t.Text})
				case "output":
					c.Add(&chat.FunctionCallOutput{CallID: fmt.Sprintf("call_%d", i-1), Output: t.Text})
				default:
					c.Add(chat.NewMessage(chat.Role(t.Role), t.Text))
				}
			}
			text, calls := Think(c, r.Tools)
			for i := range calls {
				calls[i].CallID = "" // the sandbox gives its own
			}
			return sandbox.Reply{Text: text, Calls: calls}
		},
		Speak: speak,
	}
}

// speak is the speech of text, a piece for each word: as much of the audio as the word is of the text.
func speak(text string, rate int) [][]byte {
	words := strings.Fields(text)
	out := make([][]byte, len(words))
	pcm, err := synthesize(text, rate)
	if err != nil {
		return out
	}
	letters, done, at := utf8.RuneCountInString(strings.Join(words, "")), 0, 0
	for i, w := range words {
		done += utf8.RuneCountInString(w)
		to := len(pcm) * done / letters
		out[i] = wire.AppendPCM(nil, pcm[at:to])
		at = to
	}
	return out
}

func synthesize(text string, rate int) ([]int16, error) {
	voice := flite.New(nil)
	r, err := audio.NewResampler(voice.Capabilities().SampleRate, rate, 1, audio.Fast)
	if err != nil {
		return nil, err
	}
	s := voice.Synthesize(context.Background(), text)
	defer s.Close()
	var out []int16
	for {
		a, err := s.Next()
		if errors.Is(err, io.EOF) {
			return r.Flush(out), nil
		}
		if err != nil {
			return nil, err
		}
		out = r.Process(out, a.Frame.Data)
	}
}
