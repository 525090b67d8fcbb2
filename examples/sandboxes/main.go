// Sandboxes is the cloud on this machine: it starts stand-ins of OpenAI, Deepgram and Cartesia that speak
// their protocols, and prints the variables that lead there. OpenAI's answers by the rules of the
// demonstration, Deepgram's understands English with the local recogniser, and Cartesia's hums.
//
//	go run ./examples/sandboxes > sandboxes.env &
//	. ./sandboxes.env && go run ./examples/basic_agent
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/internal/sandbox"
	"github.com/parley-go/parley/internal/sandbox/cartesiabox"
	"github.com/parley-go/parley/internal/sandbox/deepgrambox"
	"github.com/parley-go/parley/internal/sandbox/openaibox"
	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/llm/driver"
	"github.com/parley-go/parley/plugins/moonshine"
	"github.com/parley-go/parley/plugins/rules"
	"github.com/parley-go/parley/stt"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	openai, deepgram, cartesia := begin(), begin(), begin()
	openaibox.Chat(openai, "/v1", openaibox.ChatOptions{Answer: answer})
	ears := moonshine.New(nil)
	deepgram.Understand = func(f audio.Frame) string { return understand(ctx, ears, f) }
	deepgrambox.Listen(deepgram)
	cartesiabox.TTS(cartesia, cartesiabox.TTSOptions{})
	for name, s := range map[string]*sandbox.Server{"OPENAI": openai, "DEEPGRAM": deepgram, "CARTESIA": cartesia} {
		url := s.URL()
		if s == openai {
			url += "/v1"
		}
		fmt.Printf("export %s_API_KEY=%s %s_BASE_URL=%s\n", name, s.Key, name, url)
	}
	<-ctx.Done()
	for _, s := range []*sandbox.Server{openai, deepgram, cartesia} {
		_ = s.Close()
	}
}

func begin() *sandbox.Server {
	s, err := sandbox.New(sandbox.Options{})
	if err != nil {
		fmt.Fprintln(os.Stderr, "sandboxes:", err)
		os.Exit(1)
	}
	return s
}

// understand transcribes an utterance; what cannot be is silence.
func understand(ctx context.Context, m *stt.Model, f audio.Frame) string {
	r, err := m.Recognize(ctx, f, nil)
	if err != nil {
		return ""
	}
	return r.Text
}

// answer lets the rules answer a request of chat completions.
func answer(r *openaibox.ChatRequest) (a openaibox.Answer) {
	q := &driver.Request{Messages: &chat.Context{}}
	for _, m := range r.Messages {
		if m.Role == "tool" {
			q.Messages.Add(&chat.FunctionCallOutput{CallID: m.ToolCallID, Output: m.Text()})
			continue
		}
		if text := m.Text(); text != "" {
			q.Messages.Add(chat.NewMessage(chat.Role(m.Role), text))
		}
		for _, c := range m.ToolCalls {
			q.Messages.Add(&chat.FunctionCall{CallID: c.ID, Name: c.Function.Name, Arguments: c.Function.Arguments})
		}
	}
	for _, t := range r.Tools {
		q.Tools = append(q.Tools, driver.ToolSpec{Name: t.Function.Name, Description: t.Function.Description, Parameters: t.Function.Parameters})
	}
	s, err := rules.NewDriver(nil).Chat(context.Background(), q)
	if err != nil {
		return openaibox.Answer{Text: "Sorry?"}
	}
	defer s.Close()
	for {
		c, err := s.Next()
		if err == io.EOF {
			return a
		}
		if err != nil {
			return openaibox.Answer{Text: "Sorry?"}
		}
		a.Text += c.Text
		a.Calls = append(a.Calls, c.ToolCalls...)
	}
}
