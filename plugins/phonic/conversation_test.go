package phonic

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/internal/modeltest"
	"github.com/parley-go/parley/internal/sandbox"
	"github.com/parley-go/parley/internal/sandbox/phonicbox"
	"github.com/parley-go/parley/internal/teller"
	"github.com/parley-go/parley/internal/wire"
	"github.com/parley-go/parley/llm/chat"
	llm "github.com/parley-go/parley/llm/driver"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/model/fault"
	"github.com/parley-go/parley/opt"
	"github.com/parley-go/parley/realtime"
	"github.com/parley-go/parley/realtime/driver"
)

func newConversation(t testing.TB) *conversation {
	d, err := newRealtime(&RealtimeOptions{APIKey: "secret-key"})
	if err != nil {
		t.Fatal(err)
	}
	return &conversation{d: d, t: teller.New(rate, false), calls: map[string]bool{}}
}

// told is what c has to tell.
func (c *conversation) told() (all []driver.Event) {
	for {
		e, err := c.t.Next(context.Background(), func(context.Context) (wire.Message, error) { return wire.Message{}, io.EOF }, nil)
		if err != nil {
			return all
		}
		all = append(all, e)
	}
}

var sound = base64.StdEncoding.EncodeToString(make([]byte, 480))

func said(text string) string {
	return `{"type":"audio_chunk","text":"` + text + `","audio":"` + sound + `"}`
}

const (
	begins    = `{"type":"assistant_started_speaking"}`
	finishes  = `{"type":"assistant_finished_speaking"}`
	userTalks = `{"type":"user_started_speaking"}`
	userStops = `{"type":"user_finished_speaking"}`
	userSaid  = `{"type":"input_text","text":" Hello.","language":"en"}`
)

func TestEvents(t *testing.T) {
	answer := []string{"created a for ", "message b of a text=false", `text b "Yes."`, "audio b 10ms"}
	done := append(answer[:4:4], "whole b", "done a for  completed")
	for _, c := range []struct {
		name string
		got  []string
		want []string
	}{
		{"turn", []string{`{"type":"conversation_created","conversation_id":"c"}`, said(""), userTalks, userStops, userSaid, begins, said("Yes."), said(""), finishes, said("")},
			[]string{"speech started", "speech stopped a", `heard a "Hello." en final=true`, "created b for ", "message c of b text=false", `text c "Yes."`,
				"audio c 10ms", "audio c 10ms", "whole c", "done b for  completed"}},
		{"words that were not announced", []string{said("Yes."), finishes}, done},
		{"interruption", []string{begins, said("Yes."), userTalks, said(""), finishes},
			append(answer[:4:4], "speech started", "interrupted a", "whole b", "done a for  cancelled")},
		{"another answer", []string{begins, said("Yes."), begins, finishes}, append(done[:6:6], "created c for ", "done c for  cancelled")},
		{"sound that is no speech", []string{userTalks, `{"type":"input_cancelled"}`, `{"type":"input_text","text":" "}`}, []string{"speech started", "speech stopped a"}},
		{"no answer", []string{`{"type":"assistant_chose_not_to_respond"}`}, nil},
		{"call", []string{begins, said("Yes."), finishes, `{"type":"tool_call","tool_call_id":"i","tool_name":"f","parameters":{"x":1}}`, said("")},
			append(done[:6:6], "created c for ", `call of c: i f({"x":1})`, "done c for  completed")},
		{"call in an answer", []string{begins, said("Yes."), `{"type":"tool_call","tool_call_id":"i","tool_name":"f","parameters":null}`},
			append(answer[:4:4], "call of a: i f({})", "whole b", "done a for  completed")},
		{"interrupted call", []string{`{"type":"tool_call_interrupted","tool_call_id":"i","tool_name":"f"}`}, []string{"calls cancelled [i]"}},
		{"end", []string{`{"type":"assistant_ended_conversation"}`}, []string{"go away in 1s"}},
		{"error", []string{`{"type":"error","error":{"message":"too much of secret-key","code":"x"},"param_errors":{"b":"2","a":"1"}}`},
			[]string{"error of : phonic converse: status error (status 400): too much of [key] (x); a: 1; b: 2"}},
		{"others", []string{`{"type":"warning","warning":{"message":"x"}}`, `{"type":"dtmf","digits":"1"}`, `{"type":"tool_call_output_processed"}`}, nil},
	} {
		x := newConversation(t)
		for _, m := range c.got {
			if err := x.understand(t.Context(), wire.Message{Data: []byte(m)}); err != nil {
				t.Fatalf("%s: %v", c.name, err)
			}
		}
		if got := modeltest.Told(x.told()); !slices.Equal(got, c.want) {
			t.Errorf("%s: told %q\nwant %q", c.name, got, c.want)
		}
	}
	x := newConversation(t)
	x.t.Ask("r")
	_ = x.take(&event{Type: "assistant_chose_not_to_respond"})
	if got := modeltest.Told(x.told()); !slices.Equal(got, []string{"created a for r", "done a for r completed"}) {
		t.Errorf("an answer that was asked for and declined: %q", got)
	}
	for _, m := range []wire.Message{{Binary: true}, {Data: []byte("{")}, {Data: []byte(`{"type":"audio_chunk","text":"A","audio":"?"}`)}} {
		var e *model.Error
		if err := x.understand(t.Context(), m); !errors.As(err, &e) || e.Kind != model.KindProtocol {
			t.Errorf("%q: %v", m.Data, err)
		}
	}
}

// connected is a conversation on a sandbox.
func connected(t testing.TB, bo phonicbox.Options, p fault.Plan, s *driver.Setup) (*conversation, *sandbox.Server) {
	t.Helper()
	box := sandbox.Start(t, p)
	d := on(t, box, bo, RealtimeOptions{})
	if s.History == nil {
		s.History = &chat.Context{}
	}
	c, err := d.Connect(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c.(*conversation), box
}

// until reads events until a line begins with want, and returns all lines.
func until(t testing.TB, c driver.Conn, all *[]driver.Event, want string) []string {
	t.Helper()
	for {
		e, err := c.Next(t.Context())
		if err != nil {
			t.Fatalf("%v, after %q", err, modeltest.Told(*all))
		}
		if _, ok := e.(*driver.Audio); ok {
			continue // its frame is borrowed
		}
		*all = append(*all, e)
		if lines := modeltest.Told(*all); strings.HasPrefix(lines[len(lines)-1], want) {
			return lines
		}
	}
}

func textOf(role chat.Role, id, text string) *chat.Message {
	m := chat.NewMessage(role, text)
	m.ID = id
	return m
}

// What is added reaches the model in its own way, and what cannot be is named.
func TestAdd(t *testing.T) {
	var sent []map[string]any
	c, _ := connected(t, phonicbox.Options{Seen: func(f map[string]any) { sent = append(sent, f) }}, fault.Plan{}, &driver.Setup{})
	ctx := t.Context()
	items := []driver.Item{
		{First: true, Item: textOf(chat.User, "u", "Hi")}, {After: "u", Item: textOf(chat.Assistant, "a", "Hello")},
		{After: "a", Item: textOf(chat.System, "s", "Be brief.")}, {After: "s", Item: textOf(chat.User, "v", "You")},
		{After: "v", Silent: true, Item: &chat.FunctionCallOutput{Header: chat.Header{ID: "o"}, CallID: "lost", Name: "f", Output: "1"}},
	}
	var left *driver.UnsupportedItems
	if err := c.Add(ctx, items); !errors.As(err, &left) || !slices.Equal(left.IDs, []string{"a"}) {
		t.Errorf("Add: %v", err)
	}
	instructions := "Be kind."
	if err := c.Update(ctx, &driver.Update{ID: "up", Instructions: &instructions}); err != nil {
		t.Fatal(err)
	}
	if err := c.Update(ctx, &driver.Update{Tools: &[]llm.ToolSpec{}}); !errors.Is(err, driver.ErrUnsupported) {
		t.Errorf("tools: %v", err)
	}
	for _, f := range []func() error{
		func() error { return c.Generate(ctx, &driver.Request{ID: "r", Instructions: "Wave."}) },
		func() error { return c.Say(ctx, &driver.Request{ID: "s"}, "Bye.") }, // waits for the other
	} {
		if err := f(); err != nil {
			t.Fatal(err)
		}
	}
	var all []driver.Event
	until(t, c, &all, "done")
	lines := until(t, c, &all, "done")
	for i, want := range []string{`added u after  "Hi"`, `added s after u "Be brief."`, `added v after s "You"`, "added o after v", "updated up", "created a for r"} {
		if lines[i] != want {
			t.Errorf("told %q, want %q", lines[i], want)
		}
	}
	if last := lines[len(lines)-1]; last != "done c for s completed" {
		t.Errorf("the end is %q", last)
	}
	_ = c.Close()
	want := []map[string]any{
		{"type": "add_system_message", "system_message": "Be brief."},
		{"type": "add_system_message", "system_message": "The tool f returned: 1"},
		{"type": "update_system_prompt", "system_prompt": "Be kind."},
		{"type": "generate_reply", "system_message": "Wave.", "user_message": "Hi\nYou"},
		{"type": "say", "text": "Bye."},
	}
	if !reflect.DeepEqual(sent[1:], want) {
		t.Errorf("sent %v", sent[1:])
	}
}

// An answer that is asked for takes the place of the one that goes on.
func TestGenerateInAnAnswer(t *testing.T) {
	c, _ := connected(t, phonicbox.Options{}, fault.Once(fault.Slow), &driver.Setup{})
	ctx := t.Context()
	if err := c.Say(ctx, &driver.Request{ID: "long"}, strings.Repeat("word ", 200)); err != nil {
		t.Fatal(err)
	}
	var all []driver.Event
	until(t, c, &all, "text")
	if err := c.Generate(ctx, &driver.Request{ID: "r"}); err != nil {
		t.Fatal(err)
	}
	if lines := until(t, c, &all, "done"); lines[len(lines)-1] != "done a for long cancelled" {
		t.Errorf("told %q", lines)
	}
	if lines := until(t, c, &all, "done"); lines[len(lines)-1] != "done c for r completed" {
		t.Errorf("told %q", lines)
	}
}

// A request that waits for another is not sent once nobody wants it. One that was sent is answered.
func TestWithdraw(t *testing.T) {
	var sent []map[string]any
	c, _ := connected(t, phonicbox.Options{Seen: func(f map[string]any) { sent = append(sent, f) }}, fault.Plan{}, &driver.Setup{})
	for _, id := range []string{"one", "two", "three"} {
		if err := c.Say(t.Context(), &driver.Request{ID: id}, id); err != nil {
			t.Fatal(err)
		}
	}
	if c.Withdraw("one") {
		t.Error("the first was sent, and is said to be kept")
	}
	if !c.Withdraw("two") || c.Withdraw("two") {
		t.Error("the second waits, and is kept once")
	}
	var all []driver.Event
	until(t, c, &all, "done")
	if lines := until(t, c, &all, "done"); lines[0] != "created a for one" || lines[len(lines)-1] != "done c for three completed" {
		t.Errorf("told %q", lines)
	}
	_ = c.Close()
	if want := []map[string]any{{"type": "say", "text": "one"}, {"type": "say", "text": "three"}}; !reflect.DeepEqual(sent[1:], want) {
		t.Errorf("sent %v", sent[1:])
	}
}

// The output of a call of a connection that broke is told in words, and answered.
func TestOutputOfALostCall(t *testing.T) {
	c, _ := connected(t, phonicbox.Options{}, fault.Plan{}, &driver.Setup{})
	o := &chat.FunctionCallOutput{Header: chat.Header{ID: "o"}, CallID: "lost", Name: "f", Output: "1"}
	if err := c.Add(t.Context(), []driver.Item{{Item: o}}); err != nil {
		t.Fatal(err)
	}
	var all []driver.Event
	if lines := until(t, c, &all, "done"); lines[1] != "created a for " {
		t.Errorf("told %q", lines)
	}
}

// A connection begins with what was said, and with what was asked for.
func TestConfig(t *testing.T) {
	c := &chat.Context{}
	c.Add(textOf(chat.User, "1", "Hi\nthere"), textOf(chat.Assistant, "2", "Hello"), textOf(chat.User, "3", " "),
		&chat.FunctionCall{Header: chat.Header{ID: "4"}, CallID: "c", Name: "f", Arguments: `{"x": 1}`},
		&chat.FunctionCallOutput{Header: chat.Header{ID: "5"}, CallID: "c", Output: "2"},
		&chat.FunctionCallOutput{Header: chat.Header{ID: "6"}, CallID: "lost", Output: "3"})
	if got, want := past(c), before+"\nuser: Hi there\nassistant: Hello\ntool: f{\"x\": 1} returned 2"; got != want {
		t.Errorf("the past is %q", got)
	}
	d, err := newRealtime(&RealtimeOptions{
		APIKey: "k", Agent: "a", Project: "p", Voice: "v", Language: "de", Languages: []string{"en"}, Multilingual: "request", Speed: opt.Some(1.2),
		Intelligence: "high", Keywords: []string{"Parley"}, BuiltIn: []string{"keypad_input"}, ToolTimeout: 5 * time.Second, IdleTimeout: 90 * time.Second,
		Turns: RealtimeTurns{MinSilence: 300 * time.Millisecond, Threshold: 0.5, MinWords: 2}, Extra: map[string]any{"enable_redaction": true},
	})
	if err != nil {
		t.Fatal(err)
	}
	s := &driver.Setup{Tools: []llm.ToolSpec{{Name: "f", Description: "F."}, {Name: "g"}}, ToolChoice: llm.ToolChoice{Mode: llm.ToolFunction, Function: "f"}}
	raw, _ := json.Marshal(d.config(s, "Be kind."))
	var got, want map[string]any
	_ = json.Unmarshal(raw, &got)
	_ = json.Unmarshal([]byte(`{"type":"config","system_prompt":"Be kind.","agent":"a","project":"p","voice_id":"v","default_language":"de",
		"additional_languages":["en"],"multilingual_mode":"request","audio_speed":1.2,"intelligence_level":"high","boosted_keywords":["Parley"],
		"input_format":"pcm_24000","output_format":"pcm_24000","stream_ahead_of_real_time":true,"welcome_message":null,"generate_welcome_message":false,
		"websocket_timeout_sec":90,"vad_min_silence_duration_ms":300,"vad_threshold":0.5,"min_words_to_interrupt":2,"enable_redaction":true,
		"tools":["keypad_input",{"type":"custom_websocket","tool_call_output_timeout_ms":5000,"wait_for_speech_before_tool_call":true,"allow_tool_chaining":true,
			"tool_schema":{"type":"function","function":{"name":"f","description":"F.","parameters":{"type":"object","properties":{}}}}}]}`), &want)
	if !reflect.DeepEqual(got, want) {
		t.Errorf("config is %v\nwant %v", got, want)
	}
	s.ToolChoice = llm.ToolChoice{Mode: llm.ToolNone}
	if list := d.tools(s.Tools, s.ToolChoice); len(list) != 1 {
		t.Errorf("tools are offered that must not be called: %v", list)
	}
	if c := d.Capabilities(); !c.BilledByTime || c.ClientTurns || c.MutableTools || c.Truncation {
		t.Errorf("capabilities are %+v", c)
	}
}

// The instructions of an agent that is set up at Phonic stay, if there are no others.
func TestAgent(t *testing.T) {
	for _, x := range []struct{ agent, instructions, prompt, note string }{
		{"a", "", "", before + "\nuser: Hi"}, {"a", "Be kind.", "Be kind.\n\n" + before + "\nuser: Hi", ""}, {"", "", before + "\nuser: Hi", ""},
	} {
		var sent []map[string]any
		box := sandbox.Start(t, fault.Plan{})
		d := on(t, box, phonicbox.Options{Seen: func(f map[string]any) { sent = append(sent, f) }}, RealtimeOptions{Agent: x.agent})
		s := &driver.Setup{Instructions: x.instructions, History: &chat.Context{}}
		s.History.Add(textOf(chat.User, "1", "Hi"))
		c, err := d.Connect(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		_ = c.(driver.Sayer).Say(t.Context(), &driver.Request{ID: "s"}, "Bye.")
		var all []driver.Event
		until(t, c, &all, "done")
		_ = c.Close()
		prompt, _ := sent[0]["system_prompt"].(string)
		note, _ := sent[1]["system_message"].(string)
		if _, ok := sent[0]["tools"]; ok || prompt != x.prompt || note != x.note {
			t.Errorf("%+v: sent %v", x, sent)
		}
	}
}

func TestOptions(t *testing.T) {
	t.Setenv("PHONIC_API_KEY", "")
	t.Setenv("PHONIC_BASE_URL", "ftp://x")
	if _, err := NewRealtime(nil); err == nil || !strings.Contains(err.Error(), "PHONIC_API_KEY") {
		t.Errorf("without a key: %v", err)
	}
	if _, err := NewRealtime(&RealtimeOptions{APIKey: "k"}); err == nil || !strings.Contains(err.Error(), "base URL") {
		t.Errorf("with a bad URL: %v", err)
	}
	t.Setenv("PHONIC_API_KEY", "k")
	t.Setenv("PHONIC_BASE_URL", "https://example.com/v9")
	d, err := newRealtime(&RealtimeOptions{Header: http.Header{"X-Team": {"a"}}})
	if err != nil || d.url != "wss://example.com/v9/sts/ws" || d.head.Get("Authorization") != "Bearer k" || d.head.Get("X-Team") != "a" {
		t.Errorf("%+v, %v", d, err)
	}
}

// Phonic says which fields it does not take, and that is for good.
func TestRefusedConfig(t *testing.T) {
	box := sandbox.Start(t, fault.Plan{})
	d := on(t, box, phonicbox.Options{}, RealtimeOptions{Intelligence: "low", Model: "merritt"})
	_, err := d.Connect(t.Context(), &driver.Setup{History: &chat.Context{}})
	var e *model.Error
	if !errors.As(err, &e) || e.Status != 400 || e.Retryable() || !strings.Contains(err.Error(), "intelligence_level: unknown") {
		t.Errorf("error is %v", err)
	}
}

func TestASendTellsWhyItWasRefused(t *testing.T) {
	d := newConversation(t).d
	reason := wire.Reason(d.reason)
	if err := reason([]byte(`{"type":"error","error":{"message":"out of credit"}}`)); err == nil || !strings.Contains(err.Error(), "out of credit") {
		t.Errorf("error is %v", err)
	}
	if err := reason([]byte(finishes)); err != nil {
		t.Errorf("error is %v", err)
	}
}

// A connection on which nobody speaks is kept, by a little silence.
func TestAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		box, dial := sandbox.InMemory(t)
		defer box.Close()
		var heard time.Duration
		d := on(t, box, phonicbox.Options{Heard: func(d time.Duration) { heard += d }}, RealtimeOptions{IdleTimeout: 30 * time.Second})
		c, err := d.Connect(wire.WithDial(t.Context(), dial), &driver.Setup{History: &chat.Context{}})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		time.Sleep(25 * time.Second)
		synctest.Wait()
		if heard != 2*chunk {
			t.Errorf("heard %v", heard)
		}
	})
}

// The time of a connection is booked as it is billed, while it lasts and at its end.
func TestTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		box, dial := sandbox.InMemory(t)
		defer box.Close()
		var log modeltest.Log
		s, err := realtime.New(on(t, box, phonicbox.Options{}, RealtimeOptions{}), nil).Session(wire.WithDial(log.Context(t.Context()), dial), nil)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(24 * time.Second)
		if u := booked(&log); len(u) != 1 || u[0].(metrics.LLMUsage).SessionDuration != 20*time.Second {
			t.Errorf("booked %+v after 24 s", u)
		}
		_ = s.Close()
		synctest.Wait()
		if got, want := booked(&log), box.Ledger.Billed().Models; len(want) != 1 || !reflect.DeepEqual(got, want) || want[0].(metrics.LLMUsage).SessionDuration != 24*time.Second {
			t.Errorf("booked %+v, billed %+v", got, want)
		}
	})
}

func booked(log *modeltest.Log) []metrics.ModelUsage {
	var c metrics.Collector
	for _, e := range modeltest.Events[metrics.Event](log) {
		c.Add(e)
	}
	return c.Usage().Models
}

func TestConnectionEvent(t *testing.T) {
	var log modeltest.Log
	box := sandbox.Start(t, fault.Plan{})
	d := on(t, box, phonicbox.Options{}, RealtimeOptions{})
	c, err := d.Connect(log.Context(t.Context()), &driver.Setup{History: &chat.Context{}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	events := modeltest.Events[*metrics.Connection](&log)
	if took, reused := c.(driver.Connected).Acquired(); len(events) != 1 || events[0].Kind != "realtime" || events[0].AcquireTime != took || reused {
		t.Errorf("events %+v", events)
	}
}

// Audio is sent in pieces that Phonic takes.
func TestPush(t *testing.T) {
	got := make(chan time.Duration, 1)
	c, box := connected(t, phonicbox.Options{Heard: func(d time.Duration) { got <- d }}, fault.Plan{}, &driver.Setup{})
	if err := c.Push(t.Context(), audio.Silence(c.d.Capabilities().InputChunk, rate, 1)); err != nil {
		t.Fatal(err)
	}
	if d := <-got; d != chunk {
		t.Errorf("%v arrived", d)
	}
	box.HangUp()
	if e, err := c.Next(t.Context()); !errors.Is(err, io.EOF) {
		t.Errorf("told %v, %v", e, err)
	}
}

func FuzzEvent(f *testing.F) {
	for _, m := range []string{begins, finishes, userTalks, userSaid, said("A"), `{"type":"tool_call","parameters":[]}`, `{"type":"error"}`} {
		f.Add(m, begins)
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		c := newConversation(t)
		for _, m := range []string{a, b} {
			_ = c.understand(t.Context(), wire.Message{Data: []byte(m)})
		}
		open := map[string]bool{}
		for _, e := range c.told() {
			switch e := e.(type) {
			case *driver.ResponseCreated:
				open[e.ResponseID] = true
			case *driver.ResponseDone:
				delete(open, e.ResponseID)
			}
			if len(open) > 1 {
				t.Error("two answers at once")
			}
		}
	})
}
