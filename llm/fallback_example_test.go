package llm_test

import (
	"context"
	"fmt"

	"github.com/parley-go/parley/llm"
	"github.com/parley-go/parley/llm/scripted"
	"github.com/parley-go/parley/model"
)

// The second model answers when the first one cannot.
func ExampleFallback() {
	overloaded := scripted.Answer{Fault: &scripted.Fault{Err: &model.Error{Kind: model.KindStatus, Status: 529}}}
	m := llm.Fallback(&llm.FallbackOptions{
		OnAvailability: func(e model.AvailabilityEvent) { fmt.Println(e.Info.Provider, "available:", e.Available) },
	},
		llm.New(scripted.New(&scripted.Options{Info: model.Info{Provider: "first"}, Answers: []scripted.Answer{overloaded}}), nil),
		llm.New(scripted.New(&scripted.Options{Info: model.Info{Provider: "second"}, Answers: []scripted.Answer{{Text: "Good morning!"}}}), nil),
	)
	defer m.Close()

	s := m.Chat(context.Background(), &llm.Request{})
	text, _, err := s.Collect()
	fmt.Println(s.Info().Provider, "says", text, err)
	// Output:
	// first available: false
	// second says Good morning! <nil>
}
