package sessiontest_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/parley-go/parley/agent"
	"github.com/parley-go/parley/llm"
	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/llm/driver"
	"github.com/parley-go/parley/llm/scripted"
	"github.com/parley-go/parley/session"
	"github.com/parley-go/parley/session/sessiontest"
)

// The agent under test: it asks for a name before it books.

type booking struct {
	Nights int `json:"nights"`
}

type guest struct {
	Name string `json:"name"`
}

func receptionist() *agent.Agent {
	return &agent.Agent{
		ID:           "receptionist",
		Instructions: "You take bookings for a hotel.",
		Tools: []llm.Tool{llm.NewTool("book", "Book a room.", func(ctx context.Context, _ *agent.RunContext, in booking) (string, error) {
			name, err := askName().Run(ctx)
			if err != nil {
				return "", err
			}
			return fmt.Sprintf("booked %d nights for %s", in.Nights, name), nil
		})},
	}
}

func askName() *agent.Task[string] {
	task := agent.NewTask[string](&agent.Agent{
		ID:           "ask_name",
		Instructions: "Ask for the guest's name and save it.",
		OnEnter: func(_ context.Context, rc *agent.RunContext) error {
			rc.Session().Say("What is your name?", nil)
			return nil
		},
	})
	task.Tools = []llm.Tool{llm.NewTool("save_name", "Save the name.", func(_ context.Context, _ *agent.RunContext, in guest) (any, error) {
		return nil, task.Complete(in.Name)
	})}
	return task
}

// answers is the model: a real one in its place makes this a test of the instructions as well.
func answers() *llm.Model {
	call := func(name, args string) []driver.ToolCall { return []driver.ToolCall{{Name: name, Arguments: args}} }
	return llm.New(scripted.New(&scripted.Options{Answers: []scripted.Answer{
		{Calls: call("book", `{"nights":2}`)},
		{Calls: call("save_name", `{"name":"Ann"}`)},
		{Text: "Thank you, Ann, your room is booked."},
	}}), nil)
}

func TestReceptionistAsksForTheName(t *testing.T) {
	s := sessiontest.Start(t, session.Options{LLM: answers()}, receptionist())

	res, err := s.Run(t.Context(), "A room for two nights, please.")
	if err != nil {
		t.Fatal(err)
	}
	e := sessiontest.Expect(t, res)
	e.NextEvent().IsAgentHandoff("ask_name")
	e.NextEvent().IsMessage(chat.Assistant).Says("name")
	e.NoMoreEvents()

	res, err = s.Run(t.Context(), "I am Ann.")
	if err != nil {
		t.Fatal(err)
	}
	e = sessiontest.Expect(t, res)
	e.ContainsFunctionCall("save_name", sessiontest.Args{"name": "Ann"})
	e.ContainsAgentHandoff("receptionist")
	e.NextEvent("function_call").IsFunctionCall("book", sessiontest.Args{"nights": 2})
	e.At(-2).IsFunctionCallOutput("booked 2 nights for Ann")
	e.At(-1).IsMessage(chat.Assistant) // .Judge(t.Context(), judge, "confirms the booking")
}

func TestTaskAlone(t *testing.T) {
	model := llm.New(scripted.New(&scripted.Options{Answers: []scripted.Answer{
		{Text: "And how are you called?"},
		{Calls: []driver.ToolCall{{Name: "save_name", Arguments: `{"name":"Ann"}`}}},
	}}), nil)
	s := sessiontest.Start(t, session.Options{LLM: model}, askName().Agent)
	// The first answer has no name, so the model is asked once more.
	name, _, err := session.RunFor[string](t.Context(), s, "I am Ann.", nil)
	if name != "Ann" || err != nil {
		t.Errorf("%q, %v", name, err)
	}
}

// In a test, t is the *testing.T; this one shows what a failure looks like.
func ExampleExpect() {
	t := printing{}
	s := session.New(session.Options{LLM: answers()})
	ctx := context.Background()
	if err := s.Start(ctx, receptionist(), nil); err != nil {
		t.Fatalf("%v", err)
	}
	defer s.Close(ctx)

	res, err := s.Run(ctx, "A room for two nights, please.")
	if err != nil {
		t.Fatalf("%v", err)
	}
	e := sessiontest.Expect(t, res)
	e.NextEvent().IsAgentHandoff("ask_name")
	e.NextEvent().IsFunctionCall("save_name", sessiontest.Args{"name": "Ann"})
	// Output:
	// want a call of save_name with {"name":"Ann"}
	//     0 handoff from receptionist to ask_name
	// >>> 1 message of the assistant: What is your name?
}

type printing struct{}

func (printing) Helper()                           {}
func (printing) Fatalf(format string, args ...any) { fmt.Printf(format+"\n", args...) }
