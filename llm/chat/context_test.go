package chat_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/parley-go/parley/llm/chat"
)

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func at(sec int) chat.Header {
	return chat.Header{ID: fmt.Sprintf("item_%d", sec), CreatedAt: epoch.Add(time.Duration(sec) * time.Second)}
}

func message(sec int, role chat.Role, text string) *chat.Message {
	m := chat.NewMessage(role, text)
	m.Header = at(sec)
	return m
}

func call(sec int, name string) *chat.FunctionCall {
	return &chat.FunctionCall{Header: at(sec), CallID: "call", Name: name, Arguments: "{}"}
}

func output(sec int, name string) *chat.FunctionCallOutput {
	return &chat.FunctionCallOutput{Header: at(sec), CallID: "call", Name: name, Output: "done"}
}

// talk is a context with one item of each kind.
func talk() *chat.Context {
	c := &chat.Context{}
	c.Add(
		message(1, chat.System, "be kind"),
		&chat.Handoff{Header: at(2), NewAgentID: "kelly"},
		message(3, chat.User, "hi"),
		call(4, "weather"), output(5, "weather"),
		&chat.ConfigUpdate{Header: at(6), Instructions: "be brief"},
		call(7, "news"), output(8, "news"),
		message(9, chat.Assistant, ""),
		message(10, chat.Assistant, "hello"),
	)
	return c
}

func ids(c *chat.Context) string {
	var out []string
	for it := range c.All() {
		out = append(out, strings.TrimPrefix(it.Head().ID, "item_"))
	}
	return strings.Join(out, " ")
}

func TestAddFillsIDAndTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c chat.Context
		a, b := chat.NewMessage(chat.User, "a"), chat.NewMessage(chat.User, "b")
		c.Add(a, b)
		if !strings.HasPrefix(a.ID, "item_") || a.ID == b.ID {
			t.Errorf("ids %q, %q", a.ID, b.ID)
		}
		if !a.CreatedAt.Equal(time.Now()) || b.CreatedAt.Sub(a.CreatedAt) != time.Microsecond {
			t.Errorf("times %v, %v", a.CreatedAt, b.CreatedAt)
		}
	})
}

func TestAddPutsOldItemsInTheirPlace(t *testing.T) {
	var c chat.Context
	c.Add(message(1, chat.User, ""), message(3, chat.User, ""), message(2, chat.User, ""))
	same := message(2, chat.User, "")
	same.ID = "item_2b"
	c.Insert(same, message(0, chat.User, ""))
	if got := ids(&c); got != "0 1 2 2b 3" {
		t.Errorf("order %s", got)
	}
}

func TestLookup(t *testing.T) {
	c := talk()
	if it, ok := c.ByID("item_4"); !ok || it.Type() != "function_call" || c.Index("item_4") != 3 {
		t.Errorf("got %v, %v", it, ok)
	}
	if _, ok := c.ByID("nobody"); ok || c.Index("nobody") != -1 {
		t.Error("found nobody")
	}
	if err := c.Remove("nobody"); !errors.Is(err, chat.ErrNotFound) {
		t.Errorf("error %v", err)
	}
	if err := c.Remove("item_4"); err != nil || c.Len() != 9 || c.Index("item_4") != -1 {
		t.Errorf("not removed: %v, %s", err, ids(c))
	}
	n := 0
	for range c.Messages() {
		n++
	}
	if n != 4 {
		t.Errorf("%d messages", n)
	}
}

func TestUpsert(t *testing.T) {
	c := talk()
	changed := chat.NewMessage(chat.User, "hi there")
	changed.ID = "item_3"
	c.Upsert(changed)
	if it, _ := c.ByID("item_3"); it != chat.Item(changed) || ids(c) != "1 2 3 4 5 6 7 8 9 10" || !changed.CreatedAt.Equal(at(3).CreatedAt) {
		t.Errorf("not replaced in place: %s", ids(c))
	}
	moved := message(20, chat.User, "later")
	moved.ID = "item_3"
	c.Upsert(moved)
	c.Upsert(message(11, chat.User, "new"))
	if ids(c) != "1 2 4 5 6 7 8 9 10 11 3" {
		t.Errorf("order %s", ids(c))
	}
}

func TestCopy(t *testing.T) {
	for _, c := range []struct {
		name string
		o    *chat.CopyOptions
		want string
	}{
		{"all", nil, "1 2 3 4 5 6 7 8 9 10"},
		{"no calls", &chat.CopyOptions{ExcludeFunctionCalls: true}, "1 2 3 6 9 10"},
		{"no instructions", &chat.CopyOptions{ExcludeInstructions: true}, "2 3 4 5 6 7 8 9 10"},
		{"no empty messages", &chat.CopyOptions{ExcludeEmptyMessages: true}, "1 2 3 4 5 6 7 8 10"},
		{"no structure", &chat.CopyOptions{ExcludeHandoffs: true, ExcludeConfigUpdates: true}, "1 3 4 5 7 8 9 10"},
		{"some tools", &chat.CopyOptions{Tools: []string{"news"}}, "1 2 3 6 7 8 9 10"},
		{"no tools", &chat.CopyOptions{Tools: []string{}}, "1 2 3 6 9 10"},
	} {
		if got := ids(talk().Copy(c.o)); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
	a := talk()
	b := a.Copy(nil)
	b.Add(message(11, chat.User, "x"))
	if a.Len() != 10 {
		t.Error("a change of the copy shows in the original")
	}
}

func TestC122Truncate(t *testing.T) {
	for _, c := range []struct {
		max  int
		want string
	}{
		{20, "1 2 3 4 5 6 7 8 9 10"}, {10, "1 2 3 4 5 6 7 8 9 10"},
		{9, "1 2 3 4 5 6 7 8 9 10"}, // the instructions come back on top
		{7, "1 6 7 8 9 10"},         // 4 is a call, 5 its output: both may be orphans
		{4, "1 9 10"}, {3, "1 9 10"}, {1, "1 10"}, {0, "1"}, {-1, "1"},
	} {
		x := talk()
		x.Truncate(c.max)
		if got := ids(x); got != c.want {
			t.Errorf("Truncate(%d): %s, want %s", c.max, got, c.want)
		}
	}
	x := talk()
	kept := x.Copy(nil)
	x.Truncate(2)
	if ids(kept) != "1 2 3 4 5 6 7 8 9 10" {
		t.Error("truncation shows in a copy")
	}
}

func TestMerge(t *testing.T) {
	a, b := &chat.Context{}, talk()
	a.Add(message(1, chat.System, "mine"), message(6, chat.User, "mine"), message(30, chat.User, "mine"))
	a.Merge(b, &chat.CopyOptions{ExcludeConfigUpdates: true, ExcludeFunctionCalls: true})
	if got := ids(a); got != "1 2 3 6 9 10 30" {
		t.Errorf("order %s", got)
	}
	if it, _ := a.ByID("item_1"); it.(*chat.Message).Text() != "mine" {
		t.Error("a known item was replaced")
	}
}

func TestEquivalent(t *testing.T) {
	same := talk()
	it, _ := same.ByID("item_3")
	m := *it.(*chat.Message)
	m.Extra = map[string]any{"a": 1}
	m.Confidence = 0.5
	m.CreatedAt = m.CreatedAt.Add(time.Millisecond)
	same.Upsert(&m)
	if !talk().Equivalent(same) {
		t.Error("times and metadata count")
	}
	for name, change := range map[string]func(c *chat.Context){
		"length":      func(c *chat.Context) { c.Remove("item_9") },
		"text":        func(c *chat.Context) { c.Upsert(message(3, chat.User, "ho")) },
		"role":        func(c *chat.Context) { c.Upsert(message(3, chat.Assistant, "hi")) },
		"call":        func(c *chat.Context) { c.Upsert(call(4, "other")) },
		"output":      func(c *chat.Context) { o := output(5, "weather"); o.IsError = true; c.Upsert(o) },
		"interrupted": func(c *chat.Context) { m := message(10, chat.Assistant, "hello"); m.Interrupted = true; c.Upsert(m) },
		"type":        func(c *chat.Context) { c.Upsert(message(4, chat.User, "hi")) },
		"image": func(c *chat.Context) {
			m := message(3, chat.User, "")
			m.Content = []chat.Part{&chat.Image{URL: "x"}}
			c.Upsert(m)
		},
	} {
		c := talk()
		change(c)
		if c.Equivalent(talk()) || talk().Equivalent(c) {
			t.Errorf("%s does not count", name)
		}
	}
}

func TestNilContextReadsAsEmpty(t *testing.T) {
	var c *chat.Context
	if c.Len() != 0 || c.Items() != nil || c.Index("x") != -1 || c.Copy(nil).Len() != 0 || !c.Equivalent(&chat.Context{}) {
		t.Error("a nil context has something")
	}
}

func TestMessageText(t *testing.T) {
	m := &chat.Message{Content: []chat.Part{chat.Text("a"), &chat.Image{URL: "x"}, chat.Text("b")}}
	if m.Text() != "a\nb" {
		t.Errorf("text %q", m.Text())
	}
	if m := chat.NewMessage(chat.User, ""); m.Text() != "" || m.Content != nil {
		t.Errorf("empty message %+v", m)
	}
}

func TestDiff(t *testing.T) {
	old, now := talk(), talk()
	now.Remove("item_2")
	now.Upsert(message(3, chat.User, "hi you"))
	now.Insert(message(0, chat.User, "first"))
	moved := message(30, chat.Assistant, "hello")
	moved.ID = "item_1"
	now.Upsert(moved)
	ch := now.Diff(old)
	slices.Sort(ch.Remove)
	if !slices.Equal(ch.Remove, []string{"item_1", "item_2"}) {
		t.Errorf("remove %v", ch.Remove)
	}
	if len(ch.Create) != 2 || ch.Create[0].After != "" || ch.Create[0].Item.Head().ID != "item_0" || ch.Create[1].After != "item_10" {
		t.Errorf("create %+v", ch.Create)
	}
	if len(ch.Update) != 1 || ch.Update[0].Text() != "hi you" {
		t.Errorf("update %+v", ch.Update)
	}
}

// TestDiffApplied checks that a mirror which follows the changes becomes the new conversation.
func TestDiffApplied(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		draw := func(label string) *chat.Context {
			c := &chat.Context{}
			for i, n := range rapid.Permutation([]int{0, 1, 2, 3, 4, 5, 6, 7}).Draw(t, label)[:rapid.IntRange(0, 8).Draw(t, label+" length")] {
				m := message(i, chat.User, "text")
				m.ID = fmt.Sprint(n)
				c.Add(m)
			}
			return c
		}
		old, now := draw("old"), draw("now")
		ch := now.Diff(old)
		var mirror []string
		for it := range old.All() {
			if !slices.Contains(ch.Remove, it.Head().ID) {
				mirror = append(mirror, it.Head().ID)
			}
		}
		for _, n := range ch.Create {
			mirror = slices.Insert(mirror, slices.Index(mirror, n.After)+1, n.Item.Head().ID)
		}
		if got := strings.Join(mirror, " "); got != ids(now) {
			t.Fatalf("mirror has %s, want %s", got, ids(now))
		}
	})
}

// TestOrder checks that items are always in order of time, whatever is done.
func TestOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := &chat.Context{}
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			m := message(rapid.IntRange(0, 9).Draw(t, "time"), chat.User, "x")
			switch rapid.IntRange(0, 3).Draw(t, "op") {
			case 0:
				m.ID = ""
				c.Add(m)
			case 1:
				m.ID = fmt.Sprint(rapid.IntRange(0, 5).Draw(t, "id"))
				c.Upsert(m)
			case 2:
				c.Truncate(10)
			case 3:
				m.ID = ""
				other := &chat.Context{}
				other.Add(m)
				c.Merge(other, nil)
			}
		}
		if !slices.IsSortedFunc(c.Items(), func(a, b chat.Item) int { return a.Head().CreatedAt.Compare(b.Head().CreatedAt) }) {
			t.Fatal("out of order")
		}
	})
}
