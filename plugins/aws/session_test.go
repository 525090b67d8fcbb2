package aws

import (
	"context"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/parley-go/parley/agent"
	"github.com/parley-go/parley/internal/sandbox"
	"github.com/parley-go/parley/llm"
	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/model/fault"
	"github.com/parley-go/parley/opt"
	"github.com/parley-go/parley/plugins/aws/internal/novabox"
	"github.com/parley-go/parley/realtime"
	"github.com/parley-go/parley/session"
	"github.com/parley-go/parley/session/sessiontest"
)

// patience bounds every wait: far more than anything here takes.
const patience = time.Minute

// call is a whole session, in real time. It ends with usage that is the service's bill.
type call struct {
	*session.Session
	t    *testing.T
	room *sessiontest.Transport
	box  *sandbox.Server
}

func calling(t *testing.T, talk sandbox.Talk, tools ...llm.Tool) *call {
	t.Helper()
	box, _ := start(t, novabox.Options{Talk: talk})
	box.Plan(fault.Always(fault.Slow))
	c := &call{t: t, room: sessiontest.New(), box: box, Session: session.New(session.Options{
		Realtime: realtime.New(made(t, box, RealtimeOptions{}), &realtime.ModelOptions{Conn: model.ConnOptions{Timeout: time.Minute}}), AECWarmup: opt.Off[time.Duration](), Logger: slog.New(slog.DiscardHandler),
	})}
	if err := c.Start(t.Context(), &agent.Agent{Instructions: "Be brief.", Tools: tools}, c.room); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.hangUp)
	return c
}

func (c *call) hangUp() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := c.Close(ctx); err != nil {
		c.t.Errorf("close: %v", err)
	}
}

func (c *call) speak() {
	now := time.Now()
	c.room.In.Speak(now, now.Add(800*time.Millisecond))
}

// said is the conversation, one message each.
func (c *call) said() (list []string) {
	for it := range c.History().All() {
		if m, ok := it.(*chat.Message); ok {
			list = append(list, string(m.Role)+": "+m.Text())
		}
	}
	return list
}

func (c *call) await(what string, ok func() bool) {
	c.t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			c.t.Fatalf("waited for %s; history: %q", what, c.said())
		}
	}
}

// ends checks the bill.
func (c *call) ends() {
	c.t.Helper()
	c.hangUp()
	var stated []metrics.ModelUsage
	c.await("the bill", func() bool { return c.box.Open() == 0 })
	stated = c.box.Ledger.Stated().Models
	if got := c.Usage().Models; len(stated) != 1 || !reflect.DeepEqual(got, stated) {
		c.t.Errorf("booked %+v\nstated %+v", got, stated)
	}
}

func TestSessionConverses(t *testing.T) {
	t.Parallel()
	c := calling(t, sandbox.Talk{})
	for n := 2; n <= 4; n += 2 {
		c.speak()
		c.await("an answer", func() bool { return len(c.said()) >= n })
		if said := c.said()[n-2:]; !slices.Equal(said, []string{"user: " + sandbox.EarText, "assistant: " + sandbox.TalkText}) {
			t.Errorf("the conversation was %q", said)
		}
	}
	c.ends()
}

func TestSessionIsInterrupted(t *testing.T) {
	t.Parallel()
	const long = "One two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen."
	c := calling(t, sandbox.Talk{Answer: func(r sandbox.TalkRequest) sandbox.Reply {
		if len(r.Turns) <= 1 {
			return sandbox.Reply{Text: long}
		}
		return sandbox.Reply{Text: "Yes."}
	}})
	c.speak()
	c.await("the agent to speak", func() bool { return c.AgentState() == agent.Speaking })
	time.Sleep(500 * time.Millisecond) // so that some of it is heard
	c.speak()
	c.await("another answer", func() bool { return len(c.said()) >= 4 })
	said := c.said()
	cut, _ := strings.CutPrefix(said[1], "assistant: ")
	if cut == "" || cut == long || !strings.HasPrefix(long, strings.TrimSuffix(cut, "…")) {
		t.Errorf("the interrupted answer is %q", said[1])
	}
	if !slices.Equal(said[2:], []string{"user: " + sandbox.EarText, "assistant: Yes."}) {
		t.Errorf("the conversation was %q", said)
	}
	c.ends()
}

func TestSessionCallsTools(t *testing.T) {
	t.Parallel()
	type place struct {
		Location string `json:"location"`
	}
	weather := llm.NewTool("lookup_weather", "Look up the weather.", func(_ context.Context, _ *agent.RunContext, p place) (string, error) {
		return "clear sky in " + p.Location, nil
	})
	c := calling(t, sandbox.Talk{Answer: sandbox.Replies(true)}, weather)
	c.speak()
	c.await("an answer", func() bool { return len(c.said()) >= 2 })
	if said := c.said(); said[1] != "assistant: "+sandbox.TalkText {
		t.Errorf("the conversation was %q", said)
	}
	var outputs []string
	for it := range c.History().All() {
		if o, ok := it.(*chat.FunctionCallOutput); ok {
			outputs = append(outputs, o.Output)
		}
	}
	if !slices.Equal(outputs, []string{"clear sky in Paris"}) {
		t.Errorf("outputs %q", outputs)
	}
	c.ends()
}

// An agent that greets, and one that takes over, of which the model learns over a new connection.
func TestSessionIsAskedAndHandsOver(t *testing.T) {
	t.Parallel()
	c := calling(t, sandbox.Talk{Answer: func(r sandbox.TalkRequest) sandbox.Reply {
		return sandbox.Reply{Text: r.Instructions}
	}})
	if err := c.GenerateReply(agent.Reply{Instructions: "Greet the user."}).Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := c.UpdateAgent(&agent.Agent{Instructions: "Be a pirate."}); err != nil {
		t.Fatal(err)
	}
	c.speak()
	c.await("the second agent", func() bool { return slices.Contains(c.said(), "assistant: Be a pirate.") })
	if said := c.said(); !slices.Equal(said, []string{"assistant: Be brief.", "user: " + sandbox.EarText, "assistant: Be a pirate."}) {
		t.Errorf("the conversation was %q", said)
	}
	c.ends()
}
