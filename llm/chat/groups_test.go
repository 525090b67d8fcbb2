package chat_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/parley-go/parley/llm/chat"
)

// shape writes groups as "text(calls=outputs)".
func shape(groups []chat.Group) string {
	var out []string
	for _, g := range groups {
		s := ""
		if g.Message != nil {
			s = g.Message.Text()
		}
		for i, c := range g.Calls {
			s += fmt.Sprintf("(%s=%s)", c.CallID, g.Outputs[i].Output)
		}
		out = append(out, s)
	}
	return strings.Join(out, " ")
}

func TestGroups(t *testing.T) {
	say := func(id string, role chat.Role, text string) chat.Item {
		m := chat.NewMessage(role, text)
		m.ID = id
		return m
	}
	call := func(id, group, callID string) chat.Item {
		return &chat.FunctionCall{Header: chat.Header{ID: id}, GroupID: group, CallID: callID}
	}
	out := func(callID string) chat.Item {
		return &chat.FunctionCallOutput{CallID: callID, Output: strings.ToUpper(callID)}
	}
	for _, c := range []struct {
		name    string
		items   []chat.Item
		want    string
		dropped int
	}{
		{"plain", []chat.Item{say("1", chat.System, "s"), &chat.Handoff{}, say("2", chat.User, "u"), &chat.ConfigUpdate{}, say("3", chat.Assistant, "a")}, "s u a", 0},
		{"by id", []chat.Item{say("g", chat.Assistant, "a"), call("g/1", "", "x"), call("g/2", "", "y"), out("y"), out("x")}, "a(x=X)(y=Y)", 0},
		{"by group", []chat.Item{call("1", "g", "x"), call("2", "g", "y"), out("x"), out("y"), say("3", chat.User, "u")}, "(x=X)(y=Y) u", 0},
		{"message after its calls", []chat.Item{call("1", "g", "x"), say("g", chat.Assistant, "a"), out("x")}, "a(x=X)", 0},
		{"apart", []chat.Item{call("1", "", "x"), out("x"), call("2", "", "y"), out("y")}, "(x=X) (y=Y)", 0},
		{"call without output", []chat.Item{say("g", chat.Assistant, "a"), call("g/1", "", "x"), call("g/2", "", "y"), out("y")}, "a(y=Y)", 1},
		{"output without call", []chat.Item{out("x"), say("1", chat.User, "u")}, "u", 1},
		{"as many calls as outputs, but others", []chat.Item{call("1", "", "x"), out("y")}, "", 2},
		{"the same call twice", []chat.Item{call("1", "", "x"), call("2", "", "x"), out("x")}, "(x=X)", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			var ctx chat.Context
			ctx.Add(c.items...)
			groups, dropped := ctx.Groups()
			if got := shape(groups); got != c.want || len(dropped) != c.dropped {
				t.Errorf("got %s and dropped %d, want %s and %d", got, len(dropped), c.want, c.dropped)
			}
		})
	}
}
