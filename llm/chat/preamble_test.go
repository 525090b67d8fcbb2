package chat_test

import (
	"testing"

	"github.com/parley-go/parley/llm/chat"
)

func TestPreamble(t *testing.T) {
	for _, c := range []struct {
		name         string
		items        []chat.Item
		instructions string
		rest         string
	}{
		{"empty", nil, "", ""},
		{"none", []chat.Item{message(1, chat.User, "hi")}, "", "user:hi "},
		{"first", []chat.Item{message(1, chat.System, "be kind"), message(2, chat.User, "hi")}, "be kind", "user:hi "},
		{"later", []chat.Item{message(1, chat.Developer, "be kind"), message(2, chat.User, "hi"), message(3, chat.System, "hurry"), message(4, chat.Assistant, "yes")},
			"be kind", "user:hi user:<instructions>\nhurry\n</instructions> assistant:yes "},
		{"first in the middle", []chat.Item{message(1, chat.User, "hi"), message(2, chat.System, "be kind")}, "be kind", "user:hi "},
	} {
		t.Run(c.name, func(t *testing.T) {
			var in chat.Context
			in.Add(c.items...)
			instructions, rest := in.Preamble()
			got := ""
			for m := range rest.Messages() {
				got += string(m.Role) + ":" + m.Text() + " "
			}
			if instructions != c.instructions || got != c.rest {
				t.Errorf("%q and %q", instructions, got)
			}
			for i, it := range in.Items() {
				if it != c.items[i] {
					t.Error("the context was changed")
				}
			}
		})
	}
	if instructions, rest := (*chat.Context)(nil).Preamble(); instructions != "" || rest.Len() != 0 {
		t.Error("nil is not empty")
	}
}
