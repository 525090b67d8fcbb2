package openai

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/realtime/driver"
)

const pixel = "data:image/png;base64,iVBORw0KGgo="

// Items are sent in the form of the service, each behind the one before it; what it has no form for is left out,
// and said.
func TestConversationItems(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 40)
	said := chat.NewMessage(chat.Assistant, "Hi.")
	said.ID = "m1"
	seen := &chat.Message{Header: chat.Header{ID: "m2"}, Role: chat.User, Content: []chat.Part{chat.Text("See:"), &chat.Image{URL: pixel, Detail: "low"},
		&chat.Image{URL: "https://example.com/a.png"}, &chat.Audio{Transcript: "that"}, chat.Text(" ")}}
	hint := &chat.Message{Header: chat.Header{ID: "m3"}, Role: chat.Developer, Content: []chat.Part{chat.Text("Be kind.")}}
	for name, want := range map[string]struct{ said, seen string }{
		"openai":      {`[{"type":"output_text","text":"Hi."}]`, `[{"type":"input_text","text":"See:"},{"type":"input_image","image_url":"` + pixel + `","detail":"low"},{"type":"input_text","text":"that"}]`},
		"azure older": {`[{"type":"text","text":"Hi."}]`, `[{"type":"input_text","text":"See:"},{"type":"input_text","text":"that"}]`},
		"xai":         {`[{"type":"output_text","text":"Hi."}]`, `[{"type":"input_text","text":"See:"},{"type":"input_text","text":"that"}]`},
	} {
		p := meet(t, ofVariant(name), &driver.Setup{})
		ctx, cancel := p.context()
		err := p.conn.Add(ctx, []driver.Item{
			{First: true, Item: said}, {After: "m1", Item: &chat.Message{Header: chat.Header{ID: "m0"}, Role: chat.User}}, {After: "m0", Item: seen}, {After: "m2", Item: hint},
			{After: "m3", Item: &chat.FunctionCall{Header: chat.Header{ID: long}, CallID: long, Name: "lookup"}},
			{After: long, Item: &chat.FunctionCallOutput{Header: chat.Header{ID: "o1"}, CallID: long, Output: "fine"}},
			{Item: &chat.FunctionCallOutput{Header: chat.Header{ID: "o2"}, CallID: "unknown", Output: "fine"}},
		})
		cancel()
		var left *driver.UnsupportedItems
		if !errors.As(err, &left) || !reflect.DeepEqual(left.IDs, []string{"m0", "o2"}) {
			t.Errorf("%s: Add: %v", name, err)
		}
		short := short(long)
		for _, line := range []string{
			`{"type":"conversation.item.create","event_id":"for_m1","previous_item_id":"root","item":{"id":"m1","type":"message","role":"assistant","content":` + want.said + `}}`,
			`{"type":"conversation.item.create","event_id":"for_m2","previous_item_id":"m1","item":{"id":"m2","type":"message","role":"user","content":` + want.seen + `}}`,
			`{"type":"conversation.item.create","event_id":"for_m3","previous_item_id":"m2","item":{"id":"m3","type":"message","role":"system","content":[{"type":"input_text","text":"Be kind."}]}}`,
			`{"type":"conversation.item.create","event_id":"for_` + long + `","previous_item_id":"m3","item":{"id":"` + short + `","type":"function_call","call_id":"` + short + `","name":"lookup","arguments":"{}"}}`,
			`{"type":"conversation.item.create","event_id":"for_o1","previous_item_id":"` + short + `","item":{"id":"o1","type":"function_call_output","call_id":"` + short + `","output":"fine"}}`,
		} {
			sameJSON(t, p.hear("conversation.item.create"), line)
		}
		// The service's news are told with the ids that the caller gave.
		p.want([]string{`{"type":"conversation.item.added","previous_item_id":"` + short + `","item":{"id":"o1","type":"function_call_output","call_id":"c","output":"fine"}}`},
			&driver.ItemAdded{After: long, Item: &chat.FunctionCallOutput{Header: chat.Header{ID: "o1"}, CallID: "c", Output: "fine"}})
	}
}

// A connection begins with what was said before.
func TestConversationHistory(t *testing.T) {
	t.Parallel()
	c := &chat.Context{}
	first, second := chat.NewMessage(chat.User, "I am Ada."), chat.NewMessage(chat.Assistant, "Hello.")
	first.ID, second.ID = "m1", "m2"
	c.Add(first, second)
	p := meet(t, ofVariant("openai"), &driver.Setup{History: c})
	for i, after := range []string{"root", "m1"} {
		if m := p.hear("conversation.item.create"); m["previous_item_id"] != after {
			t.Errorf("item %d follows %v", i, m["previous_item_id"])
		}
	}
}

// A deletion is acknowledged also when there is nothing to delete, and when xAI does not say what.
func TestConversationDelete(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"openai", "xai"} {
		p := meet(t, ofVariant(name), &driver.Setup{})
		d, ok := p.conn.(driver.Deleter)
		if !ok {
			t.Fatalf("%T is no Deleter", p.conn)
		}
		long := strings.Repeat("y", 40)
		for _, id := range []string{"m1", long, "m3", "m4"} {
			p.do(func(ctx context.Context) error { return d.Delete(ctx, id) })
			if m := p.hear("conversation.item.delete"); m["item_id"] != short(id) {
				t.Errorf("%v is deleted, want %s", m["item_id"], id)
			}
		}
		gone := func(id string) string {
			if name == "xai" {
				id = ""
			}
			return `{"type":"conversation.item.deleted","item_id":"` + id + `"}`
		}
		p.want([]string{gone("m1"), gone(short(long)),
			`{"type":"error","error":{"code":"item_delete_invalid_item_id","message":"no item m3","event_id":"del_m3"}}`, gone("m4")},
			&driver.ItemDeleted{ItemID: "m1"}, &driver.ItemDeleted{ItemID: long}, &driver.ItemDeleted{ItemID: "m3"}, &driver.ItemDeleted{ItemID: "m4"})
	}
}

// What was heard of an answer is told in milliseconds of its audio.
func TestConversationTruncate(t *testing.T) {
	t.Parallel()
	p := meet(t, ofVariant("openai"), &driver.Setup{})
	p.do(func(ctx context.Context) error {
		return p.conn.(driver.Truncater).Truncate(ctx, "m1", 1234567*time.Microsecond, "Hi")
	})
	sameJSON(t, p.hear("conversation.item.truncate"), `{"type":"conversation.item.truncate","item_id":"m1","content_index":0,"audio_end_ms":1234}`)
}

// A turn of less than 100 ms is none, since the service refuses it.
func TestConversationTurns(t *testing.T) {
	t.Parallel()
	p := meet(t, ofVariant("openai"), &driver.Setup{ClientTurns: true})
	turn, ok := p.conn.(driver.Turner)
	if !ok {
		t.Fatalf("%T is no Turner", p.conn)
	}
	push := func(d time.Duration) {
		p.do(func(ctx context.Context) error { return p.conn.Push(ctx, audio.Silence(d, realtimeRate, 1)) })
		_ = p.hear("input_audio_buffer.append")
	}
	p.do(turn.StartTurn) // which the service need not know
	push(90 * time.Millisecond)
	p.do(turn.Commit)
	push(20 * time.Millisecond)
	p.do(turn.Commit)
	sameJSON(t, p.hear("input_audio_buffer.commit"), `{"type":"input_audio_buffer.commit"}`)
	push(90 * time.Millisecond)
	p.do(turn.Clear)
	sameJSON(t, p.hear("input_audio_buffer.clear"), `{"type":"input_audio_buffer.clear"}`)
	push(20 * time.Millisecond)
	p.do(turn.Commit)
	p.do(p.conn.(driver.Canceller).Cancel)
	sameJSON(t, p.hear("response.cancel"), `{"type":"response.cancel"}`)
}

// Audio is sent as 16-bit little-endian samples.
func TestConversationPush(t *testing.T) {
	t.Parallel()
	p := meet(t, ofVariant("openai"), &driver.Setup{})
	p.do(func(ctx context.Context) error {
		return p.conn.Push(ctx, audio.Frame{Data: []int16{1, 2}, Rate: realtimeRate, Channels: 1})
	})
	sameJSON(t, p.hear("input_audio_buffer.append"), `{"type":"input_audio_buffer.append","audio":"AQACAA=="}`)
}

// An image is an item of its own, which nobody said. Services that do not see have no way for one.
func TestConversationImages(t *testing.T) {
	t.Parallel()
	p := meet(t, ofVariant("openai"), &driver.Setup{})
	w, ok := p.conn.(driver.Watcher)
	if !ok {
		t.Fatalf("%T is no Watcher", p.conn)
	}
	p.do(func(ctx context.Context) error { return w.PushImage(ctx, &chat.Image{URL: pixel}) })
	it, _ := p.hear("conversation.item.create")["item"].(map[string]any)
	id, _ := it["id"].(string)
	delete(it, "id")
	sameJSON(t, it, `{"type":"message","role":"user","content":[{"type":"input_image","image_url":"`+pixel+`"}]}`)
	if id == "" || len(id) > maxID {
		t.Errorf("its id is %q", id)
	}
	p.want([]string{`{"type":"conversation.item.added","previous_item_id":null,"item":{"id":"` + id + `","type":"message","role":"user","content":[{"type":"input_image"}]}}`})
	if err := w.PushImage(t.Context(), &chat.Image{URL: "https://example.com/a.png"}); !errors.Is(err, driver.ErrUnsupported) {
		t.Errorf("an image somewhere else: %v", err)
	}
	for _, name := range []string{"azure older", "xai"} {
		if w, ok := meet(t, ofVariant(name), &driver.Setup{}).conn.(driver.Watcher); ok {
			t.Errorf("%s: %T is a Watcher", name, w)
		}
	}
}

// Only xAI says what it is told to. It does not say whose answer that is.
func TestConversationSay(t *testing.T) {
	t.Parallel()
	p := meet(t, ofVariant("xai"), &driver.Setup{})
	p.do(func(ctx context.Context) error {
		return p.conn.(driver.Sayer).Say(ctx, &driver.Request{ID: "one"}, "Good evening.")
	})
	sameJSON(t, p.hear("conversation.item.create"), `{"type":"conversation.item.create","event_id":"for_one",
		"item":{"type":"force_message","role":"assistant","content":[{"type":"output_text","text":"Good evening."}]}}`)
	p.want([]string{`{"type":"response.created","response":{"id":"r1"}}`, `{"type":"response.done","response":{"id":"r1","status":"completed"}}`,
		`{"type":"response.created","response":{"id":"r2"}}`},
		&driver.ResponseCreated{ResponseID: "r1", RequestID: "one"}, &driver.ResponseDone{ResponseID: "r1", Status: driver.Completed},
		&driver.ResponseCreated{ResponseID: "r2"})
	p = meet(t, ofVariant("openai"), &driver.Setup{})
	if err := p.conn.(driver.Sayer).Say(t.Context(), &driver.Request{ID: "one"}, "Good evening."); !errors.Is(err, driver.ErrUnsupported) {
		t.Errorf("OpenAI says it: %v", err)
	}
}

// An answer that is refused since another one goes on is asked for again when that is over, but not for ever.
func TestConversationAsksAgain(t *testing.T) {
	t.Parallel()
	p := meet(t, ofVariant("openai"), &driver.Setup{})
	const refused = `{"type":"error","error":{"code":"conversation_already_has_active_response","message":"busy","event_id":"for_one"}}`
	p.say(`{"type":"response.created","response":{"id":"r1"}}`)
	_ = p.tells(1)
	p.do(func(ctx context.Context) error { return p.conn.Generate(ctx, &driver.Request{ID: "one"}) })
	_ = p.hear("response.create")
	p.want([]string{refused})
	p.want([]string{`{"type":"response.done","response":{"id":"r1","status":"completed"}}`}, &driver.ResponseDone{ResponseID: "r1", Status: driver.Completed})
	sameJSON(t, p.hear("response.create"), `{"type":"response.create","event_id":"for_one","response":{"metadata":{"client_event_id":"one"}}}`)
	p.want([]string{refused}) // nothing that we know of goes on any more
	_ = p.hear("response.create")
	p.say(refused)
	if e, ok := p.tells(1)[0].(*driver.Error); !ok || e.RequestID != "one" {
		t.Errorf("told %+v", e)
	}
}
