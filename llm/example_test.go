package llm_test

import (
	"context"
	"fmt"

	"github.com/parley-go/parley/llm"
	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/llm/driver"
	"github.com/parley-go/parley/llm/scripted"
)

// A conversation is sent, and the answer is read as it arrives.
func ExampleModel_Chat() {
	m := llm.New(scripted.New(&scripted.Options{Answers: []scripted.Answer{{Text: "Good morning!"}}}), nil)
	defer m.Close()

	conversation := &chat.Context{}
	conversation.Add(
		chat.NewMessage(chat.System, "Be polite."),
		chat.NewMessage(chat.User, "Hello."),
	)
	for chunk, err := range m.Chat(context.Background(), &llm.Request{Messages: conversation}).All() {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Print(chunk.Text)
	}
	fmt.Println()
	// Output: Good morning!
}

// A tool is a function; its parameters are a struct.
func ExampleNewTool() {
	type args struct {
		City string `json:"city" jsonschema:"the city asked about"`
		Unit string `json:"unit" enum:"celsius,fahrenheit" default:"celsius"`
	}
	weather := llm.NewTool("weather", "Look up the weather in a city.",
		func(_ context.Context, _ any, in args) (string, error) {
			if in.City == "Atlantis" {
				return "", llm.ToolErrorf("there is no city called %s", in.City)
			}
			return "20 degrees " + in.Unit + " in " + in.City, nil
		})

	call := driver.ToolCall{Name: "weather", Arguments: `{"city": "Paris",}`} // models write such things
	out, err := weather.Call(context.Background(), nil, call.Arguments)
	fmt.Println(out, err)

	_, err = weather.Call(context.Background(), nil, `{"unit": "kelvin"}`)
	fmt.Println(err)
	// Output:
	// 20 degrees celsius in Paris <nil>
	// invalid arguments for weather: unit: expected string out of ["celsius","fahrenheit"]; city: missing, expected string (the city asked about)
}
