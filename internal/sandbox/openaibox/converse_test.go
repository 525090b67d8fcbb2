package openaibox

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/parley-go/parley/internal/sandbox"
	"github.com/parley-go/parley/model/fault"
)

// client speaks the protocol by hand.
type client struct {
	t  *testing.T
	ws *websocket.Conn
}

func dial(t *testing.T, query string, o ConverseOptions) (*client, *sandbox.Server) {
	t.Helper()
	box := sandbox.Start(t, fault.Plan{})
	Converse(box, "/v1", o)
	ws, _, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(box.URL(), "http")+"/v1/realtime?"+query, http.Header{"Authorization": {"Bearer " + box.Key}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ws.Close() })
	_ = ws.SetReadDeadline(time.Now().Add(10 * time.Second))
	return &client{t, ws}, box
}

func (c *client) say(m string) {
	if err := c.ws.WriteMessage(websocket.TextMessage, []byte(m)); err != nil {
		c.t.Error(err)
	}
}

// hear waits for an event of the type and returns it, and the types of those before.
func (c *client) hear(kind string) (e map[string]any, before []string) {
	c.t.Helper()
	for {
		var m map[string]any
		if err := c.ws.ReadJSON(&m); err != nil {
			c.t.Fatalf("waiting for %s after %v: %v", kind, before, err)
		}
		if m["type"] == kind {
			return m, before
		}
		k, _ := m["type"].(string)
		before = append(before, k)
	}
}

// code sends a message and returns the code of its refusal; "" if something else was the answer.
func (c *client) code(m string) string {
	c.t.Helper()
	var e struct {
		Type  string
		Error struct{ Code string }
	}
	c.say(m)
	if err := c.ws.ReadJSON(&e); err != nil {
		c.t.Fatalf("after %s: %v", m, err)
	}
	return e.Error.Code
}

const soundJSON = `"format":{"type":"audio/pcm","rate":24000}`

// sessionJSON is the least that OpenAI takes.
const sessionJSON = `{"type":"session.update","session":{"type":"realtime","model":"m","output_modalities":["audio"],"audio":{"input":{` + soundJSON + `},"output":{` + soundJSON + `,"voice":"marin"}}}}`

// What the services refuse is refused, in their words.
func TestConverseRefuses(t *testing.T) {
	t.Parallel()
	item := func(it string) string { return `{"type":"conversation.item.create","item":` + it + `}` }
	c, _ := dial(t, "model=m", ConverseOptions{})
	_, _ = c.hear("session.created")
	for _, x := range []struct{ says, code string }{
		{`{"type":"response.create","response":{}}`, "no_session"},
		{`[`, "invalid_json"},
		{strings.Replace(sessionJSON, `"realtime"`, `"transcription"`, 1), "invalid_session"},
		{strings.Replace(sessionJSON, `24000`, `16000`, 1), "invalid_session"},
		{strings.Replace(sessionJSON, `["audio"]`, `["audio","text"]`, 1), "invalid_session"},
		{strings.Replace(sessionJSON, `"marin"`, `"marin","speed":2`, 1), "invalid_session"},
		{strings.Replace(sessionJSON, `"marin"`, `"marin","pitch":1`, 1), "invalid_session"},
		{strings.Replace(sessionJSON, `"model":"m"`, `"model":"m","max_output_tokens":5000`, 1), "invalid_session"},
		{strings.Replace(sessionJSON, `"model":"m"`, `"model":"m","tools":[{"type":"function"}]`, 1), "invalid_session"},
		{strings.Replace(sessionJSON, `"model":"m"`, `"model":"m","tools":[{"type":"web_search"}]`, 1), "invalid_session"},
		{strings.Replace(sessionJSON, `"model":"m"`, `"model":"m","voice":"Ara"`, 1), "invalid_session"},
		{strings.Replace(sessionJSON, `"input":{`, `"input":{"turn_detection":{"type":"semantic_vad","threshold":0.5},`, 1), "invalid_session"},
		{strings.Replace(sessionJSON, `"input":{`, `"input":{"turn_detection":{"type":"server_vad"},`, 1), "invalid_session"},
		{sessionJSON, ""},
		{`{"type":"session.update","session":{"type":"realtime","instructions":"Be brief."}}`, ""},
		{`{"type":"input_audio_buffer.append","audio":"%"}`, "invalid_value"},
		{`{"type":"input_audio_buffer.commit"}`, "input_audio_buffer_commit_empty"},
		{`{"type":"response.cancel"}`, "response_cancel_not_active"},
		{`{"type":"something.else"}`, "unknown_event"},
		{item(`{"id":"` + strings.Repeat("x", 33) + `","type":"message","role":"user","content":[{"type":"input_text","text":"Hi"}]}`), "string_above_max_length"},
		{item(`{"id":"a","type":"message","role":"user","content":[{"type":"output_text","text":"Hi"}]}`), "invalid_value"},
		{item(`{"id":"a","type":"message","role":"assistant","content":[{"type":"text","text":"Hi"}]}`), "invalid_value"},
		{item(`{"id":"a","type":"message","role":"user","content":[{"type":"input_image","image_url":"https://example.com/a.png"}]}`), "invalid_value"},
		{item(`{"id":"a","type":"message","role":"user","content":[]}`), "invalid_value"},
		{item(`{"id":"a","type":"message","role":"developer","content":[{"type":"input_text","text":"Hi"}]}`), "invalid_value"},
		{item(`{"id":"a","type":"force_message","role":"assistant","content":[{"type":"output_text","text":"Hi"}]}`), "invalid_value"},
		{item(`{"id":"a","type":"function_call_output","call_id":"c","output":"fine"}`), "invalid_tool_call_id"},
		{item(`{"id":"a","type":"function_call","call_id":"c","name":"lookup","arguments":"{"}`), "invalid_value"},
		{item(`{"id":"a","type":"message","role":"user","content":[{"type":"input_text","text":"Hi"}]}`), ""},
		{item(`{"id":"a","type":"message","role":"user","content":[{"type":"input_text","text":"Hi"}]}`), "item_exists"},
		{`{"type":"conversation.item.create","previous_item_id":"b","item":{"id":"c","type":"message","role":"user","content":[{"type":"input_text","text":"Hi"}]}}`, "item_not_found"},
		{`{"type":"conversation.item.truncate","item_id":"a","content_index":0,"audio_end_ms":10}`, "invalid_value"},
		{`{"type":"conversation.item.delete","item_id":"b"}`, "item_delete_invalid_item_id"},
		{`{"type":"conversation.item.delete","item_id":"a"}`, ""},
	} {
		if got := c.code(x.says); got != x.code {
			t.Errorf("%s: code %q, want %q", x.says, got, x.code)
		}
	}
}

// One answer is made at a time, and xAI knows no tools of a single one.
func TestConverseAnswersOneByOne(t *testing.T) {
	t.Parallel()
	c, _ := dial(t, "model=m", ConverseOptions{Pace: 1})
	c.say(sessionJSON)
	c.say(`{"type":"response.create","response":{}}`)
	c.say(`{"type":"response.create","event_id":"two","response":{}}`)
	e, _ := c.hear("error")
	if b, _ := json.Marshal(e["error"]); !strings.Contains(string(b), `"conversation_already_has_active_response"`) || !strings.Contains(string(b), `"event_id":"two"`) {
		t.Errorf("the error is %s", b)
	}
	c, _ = dial(t, "model=m", ConverseOptions{Form: XAI})
	c.say(strings.Replace(strings.Replace(sessionJSON, `,"voice":"marin"`, "", 1), `"model":"m"`, `"model":"m","voice":"Ara"`, 1))
	_, _ = c.hear("session.updated")
	if code := c.code(`{"type":"response.create","response":{"tools":[]}}`); code != "invalid_value" {
		t.Errorf("tools of an answer: code %q", code)
	}
}

// Who asks at the wrong address, or with the wrong key, gets no connection.
func TestConverseAddress(t *testing.T) {
	t.Parallel()
	box := sandbox.Start(t, fault.Plan{})
	Converse(box, "/v1", ConverseOptions{})
	Converse(box, "/older", ConverseOptions{Form: Older, Header: "api-key"})
	for _, x := range []struct {
		path, header, key string
		status            int
	}{
		{"/v1/realtime?model=m", "Authorization", "Bearer " + box.Key, 101},
		{"/v1/realtime?model=m", "Authorization", box.Key, 401},
		{"/v1/realtime?model=m", "api-key", box.Key, 401},
		{"/v1/realtime", "Authorization", "Bearer " + box.Key, 400},
		{"/v1/realtime?model=m&api-version=1", "Authorization", "Bearer " + box.Key, 400},
		{"/older/realtime?deployment=m&api-version=1", "api-key", box.Key, 101},
		{"/older/realtime?deployment=m", "api-key", box.Key, 400},
		{"/older/realtime?model=m&api-version=1", "api-key", box.Key, 400},
	} {
		ws, resp, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(box.URL(), "http")+x.path, http.Header{x.header: {x.key}})
		if err == nil {
			_ = ws.Close()
		}
		if resp == nil || resp.StatusCode != x.status {
			t.Errorf("%s with %s: %v, want status %d", x.path, x.header, err, x.status)
		}
	}
}

// A session that is too old says so, and ends.
func TestConverseExpires(t *testing.T) {
	t.Parallel()
	c, _ := dial(t, "model=m", ConverseOptions{MaxAge: time.Millisecond})
	e, _ := c.hear("error")
	if x, _ := e["error"].(map[string]any); x["code"] != "session_expired" {
		t.Errorf("the error is %v", e)
	}
	if _, _, err := c.ws.ReadMessage(); !websocket.IsCloseError(err, websocket.CloseGoingAway) {
		t.Errorf("it ends with %v", err)
	}
}
