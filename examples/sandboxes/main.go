// Sandboxes is the cloud on this machine: it starts stand-ins of OpenAI, Deepgram and Cartesia that speak
// their protocols, and prints the variables that lead there. OpenAI's answers by the rules of the
// demonstration, in text and, as a realtime model, in speech; Deepgram's understands English with the local recogniser, and Cartesia's hums.
//
//	go run ./examples/sandboxes > sandboxes.env &
//	. ./sandboxes.env && go run ./examples/basic_agent
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/parley-go/parley/examples/internal/cloud"
	"github.com/parley-go/parley/internal/sandbox"
	"github.com/parley-go/parley/internal/sandbox/cartesiabox"
	"github.com/parley-go/parley/internal/sandbox/deepgrambox"
	"github.com/parley-go/parley/internal/sandbox/openaibox"
	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/llm/driver"
)

func main() {
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "sandboxes takes no arguments. It prints the variables that lead to its stand-ins, and runs until it is stopped.")
	}
	if flag.Parse(); flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "sandboxes: unexpected argument %q; see -help\n", flag.Arg(0))
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	openai, deepgram, cartesia := begin(), begin(), begin()
	openaibox.Chat(openai, "/v1", openaibox.ChatOptions{Answer: answer})
	deepgram.Understand = cloud.Understand(ctx)
	openai.Understand = deepgram.Understand
	openaibox.Converse(openai, "/v1", openaibox.ConverseOptions{Talk: cloud.Talk()})
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
	a.Text, a.Calls = cloud.Think(q.Messages, q.Tools)
	return a
}
