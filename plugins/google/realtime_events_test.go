package google

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/parley-go/parley/internal/sandbox"
	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/model/fault"
	"github.com/parley-go/parley/realtime/driver"
)

// script is a provider that says what a test wants.
type script struct {
	t    *testing.T
	conn *liveConn
	say  chan string         // messages, "" for the end; size 32, which is more than a test says at once
	got  chan map[string]any // what the client sent; size 64, likewise
	ids  map[string]string   // short names
}

// scripted connects to a script.
func scripted(t *testing.T, o RealtimeOptions, s driver.Setup) *script {
	t.Helper()
	box := sandbox.Start(t, fault.Plan{})
	x := &script{t: t, say: make(chan string, 32), got: make(chan map[string]any, 64), ids: map[string]string{}}
	serve := func(_ *sandbox.Call, ws *sandbox.Socket) {
		in := ws.Inbox(func(_ bool, data []byte) {
			var m map[string]any
			_ = json.Unmarshal(data, &m)
			x.got <- m
		})
		if _, _, err := in.Next(0); err != nil {
			return
		}
		_ = ws.Send(map[string]any{"setupComplete": map[string]any{}}, false)
		for {
			select {
			case m := <-x.say:
				if m == "" {
					ws.Close(1008, "session duration limit")
					return
				}
				_ = ws.Send(json.RawMessage(m), false)
			case <-ws.Context().Done():
				return
			}
		}
	}
	d := liveOn(t, box, o)
	box.HandleSocket(d.path, serve, func(*sandbox.Call) bool { return true })
	if s.History == nil {
		s.History = &chat.Context{}
	}
	c, err := d.Connect(t.Context(), &s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	x.conn = c.(*liveConn)
	if m := x.sent(); m["setup"] == nil {
		t.Fatalf("the first message was %v", m)
	}
	return x
}

// sent is the next message of the client.
func (x *script) sent() map[string]any {
	x.t.Helper()
	select {
	case m := <-x.got:
		return m
	case <-time.After(10 * time.Second):
		x.t.Fatal("the client sends nothing")
		return nil
	}
}

// sends checks the next message of the client.
func (x *script) sends(want string) {
	x.t.Helper()
	b, _ := json.Marshal(x.sent())
	if string(b) != want {
		x.t.Errorf("sent %s\nwant %s", b, want)
	}
}

// events are those of messages, in short.
func (x *script) events(messages ...string) (all []string) {
	x.t.Helper()
	for _, m := range messages {
		x.say <- m
	}
	x.say <- `{"goAway": {"timeLeft": "77s"}}` // so that the end is known
	ctx, cancel := context.WithTimeout(x.t.Context(), 10*time.Second)
	defer cancel()
	for {
		e, err := x.conn.Next(ctx)
		if err != nil {
			x.t.Fatalf("after %q: %v", all, err)
		}
		if g, ok := e.(*driver.GoAway); ok && g.In == 77*time.Second {
			return all
		}
		all = append(all, x.short(e))
	}
}

// tells checks the events of messages.
func (x *script) tells(want []string, messages ...string) {
	x.t.Helper()
	if got := x.events(messages...); !slices.Equal(got, want) {
		x.t.Errorf("told\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

// id is a short name for an id that nobody can know.
func (x *script) id(id string) string {
	kind, _, made := strings.Cut(id, "_")
	if !made {
		return id
	}
	if x.ids[id] == "" {
		n := 1
		for _, s := range x.ids {
			if strings.HasPrefix(s, kind) {
				n++
			}
		}
		x.ids[id] = fmt.Sprint(kind, n)
	}
	return x.ids[id]
}

func spent(u *driver.Usage) string {
	if u == nil {
		return "no usage"
	}
	return fmt.Sprintf("%d+%d", u.InputTokens, u.OutputTokens)
}

func (x *script) short(e driver.Event) string {
	switch e := e.(type) {
	case *driver.SpeechStarted:
		return "speech"
	case *driver.SpeechStopped:
		return "silence " + x.id(e.ItemID)
	case *driver.Interrupted:
		return "interrupted " + x.id(e.ResponseID)
	case *driver.Transcript:
		s := "heard "
		if e.Final {
			s = "heard all "
		}
		return s + x.id(e.ItemID) + " " + e.Text
	case *driver.ItemAdded:
		return "added " + x.id(e.Item.Head().ID)
	case *driver.Updated:
		return "updated " + e.ID
	case *driver.ResponseCreated:
		return strings.TrimSpace("created " + x.id(e.ResponseID) + " " + e.RequestID)
	case *driver.MessageStarted:
		return "message " + x.id(e.ItemID)
	case *driver.Text:
		return "text " + e.Delta
	case *driver.Audio:
		return fmt.Sprint("audio ", len(e.Frame.Data))
	case *driver.MessageDone:
		return "message over " + x.id(e.ItemID)
	case *driver.ToolCall:
		return "call " + x.id(e.Call.CallID) + " " + e.Call.Name + e.Call.Arguments
	case *driver.ToolCallsCancelled:
		return "cancelled " + strings.Join(e.CallIDs, " ")
	case *driver.ResponseDone:
		s := fmt.Sprint("done ", x.id(e.ResponseID), " ", e.Status, ", ", spent(e.Usage))
		if e.Err != nil {
			s += ": " + e.Err.Error()
		}
		return s
	case *driver.ResponseUsage:
		return "usage " + x.id(e.ResponseID) + " " + spent(&e.Usage)
	case *driver.GoAway:
		return fmt.Sprint("go away in ", e.In)
	}
	return fmt.Sprintf("%T", e)
}

// Messages of the provider.
const (
	saysSound    = `{"serverContent": {"modelTurn": {"parts": [{"inlineData": {"mimeType": "audio/pcm;rate=24000", "data": "AAEAAQ=="}}]}}}`
	saysComplete = `{"serverContent": {"generationComplete": true}}`
	saysCall     = `{"toolCall": {"functionCalls": [{"id": "c1", "name": "light", "args": {"on": true}}]}}`
)

func saysText(s string) string {
	return fmt.Sprintf(`{"serverContent": {"outputTranscription": {"text": %q}}}`, s)
}

func saysHeard(s string) string {
	return fmt.Sprintf(`{"serverContent": {"inputTranscription": {"text": %q}}}`, s)
}

// saysOver is the end of a turn with what it costs.
func saysOver(prompt, response int) string {
	return fmt.Sprintf(`{"serverContent": {"turnComplete": true}, "usageMetadata": {"promptTokenCount": %d, "responseTokenCount": %d, "totalTokenCount": %d}}`,
		prompt, response, prompt+response)
}

// The words of the user tell that he speaks, the first of an answer that he stopped.
func TestRealtimeTurn(t *testing.T) {
	t.Parallel()
	x := scripted(t, RealtimeOptions{}, driver.Setup{})
	x.tells([]string{
		"speech", "heard item1 Hello,", "heard item1 Hello, there.",
		"silence item1", "added item1", "heard all item1 Hello, there.",
		"created live1", "message item2", "text Good", "audio 2", "text  evening.",
		"message over item2", "done live1 completed, 100+65",
	}, saysHeard(" Hello,"), saysHeard(" there."),
		`{"serverContent": {"modelTurn": {"parts": [{"text": "A greeting.", "thought": true}]}}}`,
		saysText("Good"), saysSound, saysText(" evening."), saysComplete,
		`{"serverContent": {"turnComplete": true}, "usageMetadata": {"promptTokenCount": 100, "responseTokenCount": 37, "totalTokenCount": 137, "thoughtsTokenCount": 28}}`)
	x.tells([]string{
		"speech", "silence item3", "added item3", "created live2", "message item4", "text Well.", "message over item4",
		"heard item3 Late", "done live2 completed, 140+3", "heard all item3 Late",
	}, saysText("Well."), saysComplete, saysHeard(" Late"), saysOver(140, 3))
}

// The end of a turn that is told twice costs once; the next turn may cost as much.
func TestRealtimeUsageIsOfATurn(t *testing.T) {
	t.Parallel()
	x := scripted(t, RealtimeOptions{Transcription: noTranscription}, driver.Setup{})
	turn := []string{saysText("Yes."), saysOver(50, 5)}
	x.tells([]string{
		"speech", "silence item1", "added item1", "created live1", "message item2", "text Yes.", "message over item2", "done live1 completed, 50+5",
	}, append(turn, saysOver(50, 5), saysOver(50, 5))...)
	x.tells([]string{
		"speech", "silence item3", "added item3", "created live2", "message item4", "text Yes.", "message over item4", "done live2 completed, 50+5",
	}, turn...)
	usage := func(prompt, response int) string {
		return fmt.Sprintf(`{"usageMetadata": {"promptTokenCount": %d, "responseTokenCount": %d}}`, prompt, response)
	}
	x.tells([]string{ // stated again and again, it is from the beginning of the turn
		"speech", "silence item5", "added item5", "created live3", "message item6", "text Yes.", "usage live3 60+1", "usage live3 60+4",
		"message over item6", "done live3 completed, 60+6",
	}, saysText("Yes."), usage(60, 1), usage(60, 4), saysOver(60, 6))
}

// A turn at AI Studio goes on after the outputs of tools, and its cost is that of all of it.
func TestRealtimeTools(t *testing.T) {
	t.Parallel()
	x := scripted(t, RealtimeOptions{}, driver.Setup{})
	x.tells([]string{
		"speech", "heard item1 Light!", "silence item1", "added item1", "heard all item1 Light!", "created live1", `call c1 light{"on":true}`,
		"done live1 completed, no usage",
	}, saysHeard(" Light!"), saysCall)
	x.output("c1", "It is on.")
	x.sends(`{"toolResponse":{"functionResponses":[{"id":"c1","name":"light","response":{"output":"It is on."}}]}}`)
	x.tells([]string{
		"added out", "created live2", "message item2", "text It is on now.", "message over item2", "usage live1 0+0", "done live2 completed, 200+20",
	}, saysText("It is on now."), saysComplete, saysOver(200, 20))
}

// At Vertex AI a turn ends with the call, after its output came, and calls have no ids.
func TestRealtimeToolsOnVertex(t *testing.T) {
	t.Parallel()
	x := scripted(t, RealtimeOptions{VertexAI: onVertexAI, Project: "project"}, driver.Setup{})
	x.tells([]string{"speech", "silence item1", "added item1", "created live1", `call call1 light{}`, "done live1 completed, no usage"},
		`{"toolCall": {"functionCalls": [{"name": "light"}]}}`)
	for id, short := range x.ids {
		if short == "call1" {
			x.output(id, "It is on.")
		}
	}
	x.sends(`{"toolResponse":{"functionResponses":[{"name":"light","response":{"output":"It is on."}}]}}`)
	x.tells([]string{
		"added out", "usage live1 24+5", "created live2", "message item2", "text On.", "message over item2", "done live2 completed, 44+61",
	}, `{"serverContent": {"outputTranscription": {"finished": true}}}`, saysComplete,
		`{"serverContent": {"turnComplete": true}, "usageMetadata": {"promptTokenCount": 24, "candidatesTokenCount": 5}}`,
		`{"serverContent": {"outputTranscription": {}}}`, saysText("On."), saysComplete,
		`{"serverContent": {"turnComplete": true}, "usageMetadata": {"promptTokenCount": 44, "candidatesTokenCount": 61}}`)
}

func (x *script) output(id, text string) {
	x.t.Helper()
	o := &chat.FunctionCallOutput{Header: chat.Header{ID: "out"}, CallID: id, Name: "light", Output: text}
	if err := x.conn.Add(x.t.Context(), []driver.Item{{Item: o}}); err != nil {
		x.t.Fatal(err)
	}
}

func TestRealtimeCallsAreCancelled(t *testing.T) {
	t.Parallel()
	x := scripted(t, RealtimeOptions{Transcription: noTranscription}, driver.Setup{})
	x.tells([]string{
		"speech", "silence item1", "added item1", "created live1", `call c1 light{"on":true}`, "done live1 completed, no usage",
		"cancelled c1", "speech", "usage live1 90+9",
	}, saysCall, `{"toolCallCancellation": {"ids": ["c1"]}}`, `{"serverContent": {"interrupted": true}}`, saysOver(90, 9))
	x.output("c1", "It is on.") // it is told all the same, when nobody is disturbed
	x.tells([]string{
		"added out", "heard item2 Stop.", "silence item2", "added item2", "heard all item2 Stop.", "created live2", "message item3", "text Yes.", "message over item3",
		"done live2 completed, 120+2",
	}, saysHeard(" Stop."), saysText("Yes."), saysOver(120, 2))
	x.sends(`{"clientContent":{"turnComplete":false,"turns":[{"parts":[{"text":"[light: It is on.]"}],"role":"user"}]}}`)
}

// The user interrupts an answer, or one of which nothing came yet.
func TestRealtimeInterruption(t *testing.T) {
	t.Parallel()
	x := scripted(t, RealtimeOptions{}, driver.Setup{})
	x.tells([]string{
		"speech", "heard item1 One", "silence item1", "added item1", "heard all item1 One", "created live1", "message item2", "text No", "audio 2",
		"speech", "interrupted live1", "message over item2", "done live1 cancelled, 10+2",
	}, saysHeard(" One"), saysText("No"), saysSound, `{"serverContent": {"interrupted": true}}`, saysOver(10, 2))
	x.tells([]string{
		"heard item3 Two", "silence item3", "added item3", "heard all item3 Two", "created live2", "message item4", "text Yes", "message over item4", "done live2 completed, 20+1",
	}, saysHeard(" Two"), saysText("Yes"), saysOver(20, 1))
	x.tells([]string{
		"speech", "heard item5 Three", "usage  30+0", "heard item5 Three four", "silence item5", "added item5", "heard all item5 Three four",
		"created live3", "message item6", "text Ah", "message over item6", "done live3 completed, 40+1",
	}, saysHeard(" Three"), `{"serverContent": {"interrupted": true}}`, saysOver(30, 0), saysHeard(" four"), saysText("Ah"), saysOver(40, 1))
}

// A request takes the place of an answer under way.
func TestRealtimeRequests(t *testing.T) {
	t.Parallel()
	x := scripted(t, RealtimeOptions{}, driver.Setup{})
	x.tells([]string{"speech", "silence item1", "added item1", "created live1", "message item2", "text No"}, saysText("No"))
	x.ask("a", "Greet him.")
	x.sends(`{"clientContent":{"turnComplete":true,"turns":[{"parts":[{"text":"Greet him."}],"role":"model"},{"parts":[{"text":"."}],"role":"user"}]}}`)
	x.tells([]string{
		"message over item2", "done live1 cancelled, 10+2", "created live2 a", "message item3", "text Hi", "message over item3", "done live2 completed, 20+1",
	}, `{"serverContent": {"interrupted": true}}`, saysOver(10, 2), saysText("Hi"), saysOver(20, 1))
	x.ask("b", "")
	x.sends(`{"clientContent":{"turnComplete":true,"turns":[{"parts":[{"text":"."}],"role":"user"}]}}`)
	x.tells([]string{"created live3 b", "done live3 completed, 30+0"}, saysOver(30, 0)) // an answer without anything
}

func (x *script) ask(id, instructions string) {
	x.t.Helper()
	if err := x.conn.Generate(x.t.Context(), &driver.Request{ID: id, Instructions: instructions}); err != nil {
		x.t.Fatal(err)
	}
}

// An answer that the model withholds has failed; one that is not due is none.
func TestRealtimeNoAnswer(t *testing.T) {
	t.Parallel()
	x := scripted(t, RealtimeOptions{}, driver.Setup{})
	over := func(reason string) string {
		return fmt.Sprintf(`{"serverContent": {"turnComplete": true, "turnCompleteReason": %q}, "usageMetadata": {"promptTokenCount": 9}}`, reason)
	}
	x.tells([]string{
		"speech", "heard item1 Hm", "usage  9+0", "silence item1", "added item1", "heard all item1 Hm",
	}, saysHeard(" Hm"), over("NEED_MORE_INPUT"))
	x.tells([]string{
		"speech", "heard item2 Fie", "silence item2", "added item2", "heard all item2 Fie",
		"created live1", "done live1 failed, 9+0: google generate: protocol error: the model gave no answer: RESPONSE_REJECTED",
	}, saysHeard(" Fie"), `{"serverContent": {"turnComplete": true, "turnCompleteReason": "RESPONSE_REJECTED"}, "usageMetadata": {"promptTokenCount": 9, "responseTokenCount": 0, "totalTokenCount": 9, "cachedContentTokenCount": 3}}`)
}

func TestRealtimeSignals(t *testing.T) {
	t.Parallel()
	x := scripted(t, RealtimeOptions{}, driver.Setup{})
	x.tells([]string{"go away in 9.5s", "speech", "silence item1", "added item1"},
		`{"goAway": {"timeLeft": "9.500s"}}`,
		`{"voiceActivity": {"voiceActivityType": "ACTIVITY_START"}}`, `{"voiceActivity": {"voiceActivityType": "ACTIVITY_END"}}`,
		`{"serverContent": {"groundingMetadata": {}}}`, `{"somethingNew": {}}`)
	if x.conn.Resumption() != nil {
		t.Error("there is a resumption without a handle")
	}
	x.tells(nil, `{"sessionResumptionUpdate": {"newHandle": "h1", "resumable": true}}`)
	if r, _ := x.conn.Resumption().(*resumption); r == nil || r.handle != "h1" {
		t.Errorf("the resumption is %+v", r)
	}
	x.events(saysText("Hi"))
	if x.conn.Resumption() != nil {
		t.Error("a handle leads to a conversation that lacks the last words")
	}
	x.tells(nil, `{"sessionResumptionUpdate": {"resumable": false}}`)
	if x.conn.Resumption() != nil {
		t.Error("a conversation that cannot be resumed is")
	}
	x.say <- ""
	if _, err := x.conn.Next(t.Context()); err != io.EOF {
		t.Errorf("the end that was told is %v", err)
	}
}

// What the user does, as the provider gets it.
func TestRealtimeInput(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	x := scripted(t, RealtimeOptions{}, driver.Setup{ClientTurns: true})
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(x.conn.Push(ctx, frameOf(1, 2)))
	must(x.conn.StartTurn(ctx))
	x.sends(`{"realtimeInput":{"activityStart":{}}}`)
	x.sends(`{"realtimeInput":{"audio":{"data":"AQACAA==","mimeType":"audio/pcm;rate=16000"}}}`)
	must(x.conn.Push(ctx, frameOf(3)))
	x.sends(`{"realtimeInput":{"audio":{"data":"AwA=","mimeType":"audio/pcm;rate=16000"}}}`)
	must(x.conn.PushImage(ctx, &chat.Image{URL: "data:image/png;base64,AAEC"}))
	x.sends(`{"realtimeInput":{"video":{"data":"AAEC","mimeType":"image/png"}}}`)
	must(x.conn.Commit(ctx))
	x.sends(`{"realtimeInput":{"activityEnd":{}}}`)
	if err := x.conn.PushImage(ctx, &chat.Image{URL: "http://example.com/a.png"}); err != driver.ErrUnsupported {
		t.Errorf("a picture elsewhere: %v", err)
	}
	x.tells([]string{"added item1"}, saysText("Not asked for yet")) // the provider answers at once, which waits
	x.ask("a", "")
	x.tells([]string{"created live1 a", "message item2", "text Not asked for yet", "message over item2", "done live1 completed, 7+1"}, saysOver(7, 1))
	must(x.conn.Push(ctx, frameOf(4)))
	must(x.conn.Clear(ctx))
	must(x.conn.StartTurn(ctx))
	x.sends(`{"realtimeInput":{"activityStart":{}}}`)
	must(x.conn.Commit(ctx))
	x.sends(`{"realtimeInput":{"activityEnd":{}}}`)
	x.tells([]string{"added item3"}, saysText("Nor this"), saysComplete)
	must(x.conn.StartTurn(ctx)) // nobody will ask for it any more
	x.sends(`{"realtimeInput":{"activityStart":{}}}`)
	x.tells([]string{"done live2 cancelled, 9+2"}, `{"serverContent": {"interrupted": true}}`, saysOver(9, 2))
}
