package chat_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/metrics"
)

// full is a context that uses every field.
func full() *chat.Context {
	d := func(ms int) *time.Duration { v := time.Duration(ms) * time.Millisecond; return &v }
	odd := time.Unix(1700000000, 123456789).UTC()
	c := &chat.Context{}
	c.Add(
		&chat.Message{Header: at(1), Role: chat.Developer, Content: []chat.Part{chat.Text("be <kind>")}},
		&chat.Message{Header: at(2), Role: chat.User, Confidence: 0.75, Extra: map[string]any{"a": []any{"b", true}}, Content: []chat.Part{
			chat.Text(""), &chat.Image{URL: "https://x/y.png", MIMEType: "image/png", Detail: "low"},
			&chat.Audio{Data: []int16{0, 1, -1, 32767, -32768}, Rate: 16000, Transcript: "hi"},
		}, Metrics: chat.TurnMetrics{
			StartedSpeakingAt: odd, StoppedSpeakingAt: odd.Add(time.Second), TranscriptionDelay: d(300), EndOfTurnDelay: d(0),
			OnUserTurnCompletedDelay: d(-1), STT: metrics.Metadata{ModelName: "nova", ModelProvider: "deepgram"},
		}},
		&chat.FunctionCall{Header: at(3), CallID: "c", Name: "f", Arguments: `{"a":1}`, GroupID: "g", Extra: map[string]any{"k": "v"}},
		&chat.FunctionCallOutput{Header: at(4), CallID: "c", Name: "f", Output: "x", IsError: true, NoReply: true},
		&chat.FunctionCallOutput{Header: at(5), CallID: "c", Name: "f"},
		&chat.Handoff{Header: at(6), OldAgentID: "a", NewAgentID: "b"},
		&chat.ConfigUpdate{Header: at(7), Instructions: "new", ToolsAdded: []string{"f"}, ToolsRemoved: []string{"g", "h"}},
		&chat.Message{Header: at(8), Role: chat.Assistant, Interrupted: true, Content: []chat.Part{chat.Text("hello")}, Metrics: chat.TurnMetrics{
			LLMNodeTTFT: d(310), LLMNodeTPS: 41.5, LLMNodeTTFS: d(500), TTSNodeTTFB: d(120), PlaybackLatency: d(20), E2ELatency: d(900), AudioPlayed: d(1500),
			ProviderRequestIDs: []string{"r1", "r2"}, LLM: metrics.Metadata{ModelName: "gpt"}, TTS: metrics.Metadata{ModelProvider: "cartesia"},
		}},
	)
	return c
}

func TestJSONLosesNothing(t *testing.T) {
	data, err := json.Marshal(full())
	if err != nil {
		t.Fatal(err)
	}
	var back chat.Context
	if err := json.Unmarshal(data, &back); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(back.Items(), full().Items()) {
		again, _ := json.Marshal(&back)
		t.Errorf("got\n%s\nwant\n%s", again, data)
	}
}

func TestJSONForm(t *testing.T) {
	var c chat.Context
	m := message(1, chat.User, "hi")
	delay := 250 * time.Millisecond
	m.Metrics.E2ELatency = &delay
	m.CreatedAt = m.CreatedAt.Add(1500 * time.Microsecond)
	c.Add(m, output(2, "f"))
	const want = `{"items":[` +
		`{"id":"item_1","type":"message","created_at":1767225601.0015,"role":"user","content":["hi"],"interrupted":false,"extra":{},"metrics":{"e2e_latency":0.25}},` +
		`{"id":"item_2","type":"function_call_output","created_at":1767225602.0,"call_id":"call","name":"f","output":"done","is_error":false,"reply_required":true}]}`
	if got, err := c.Encode(nil); err != nil || string(got) != want {
		t.Errorf("got\n%s, %v, want\n%s", got, err, want)
	}
	if got, err := json.Marshal(new(chat.Context)); err != nil || string(got) != `{"items":[]}` {
		t.Errorf("empty: %s, %v", got, err)
	}
}

func TestEncodeExcludes(t *testing.T) {
	got, err := full().Encode(&chat.EncodeOptions{
		ExcludeImages: true, ExcludeAudio: true, ExcludeTimestamps: true,
		ExcludeFunctionCalls: true, ExcludeMetrics: true, ExcludeConfigUpdates: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"image", "audio", "created_at", "function", "metrics", "config"} {
		if strings.Contains(string(got), word) {
			t.Errorf("%q is still there: %s", word, got)
		}
	}
	var back chat.Context
	if err := json.Unmarshal(got, &back); err != nil || back.Len() != 4 {
		t.Errorf("read back %d items, %v", back.Len(), err)
	}
}

func TestDecodeRefuses(t *testing.T) {
	for _, s := range []string{
		`[]`, `{"items":[{}]}`, `{"items":[{"type":"poem"}]}`, `{"items":[{"type":"message","role":"king"}]}`,
		`{"items":[{"type":"message","role":"user","content":[{"type":"smell"}]}]}`,
		`{"items":[{"type":"message","role":"user","content":[{"type":"audio_content","audio":"AA=="}]}]}`,
		`{"items":[{"type":"message","role":"user","created_at":1e300}]}`,
		`{"items":[{"type":"message","role":"user","created_at":"now"}]}`,
		`{"items":[{"type":"message","role":"user","metrics":{"e2e_latency":99999999999}}]}`,
	} {
		if err := json.Unmarshal([]byte(s), new(chat.Context)); err == nil {
			t.Errorf("%s is accepted", s)
		}
	}
	if err := json.Unmarshal([]byte(`{"type":"message","role":"user"}`), new(chat.Handoff)); err == nil {
		t.Error("a message was read as a handoff")
	}
}

func TestDecodeWhatOthersWrite(t *testing.T) {
	var c chat.Context
	err := json.Unmarshal([]byte(`{"items":[
		{"id":"a","type":"message","role":"user","content":["x"],"created_at":1.7e9,"hash":"unknown field"},
		{"id":"b","type":"function_call_output","call_id":"1","output":"y","is_error":false,"created_at":1700000001.1234567}]}`), &c)
	if err != nil {
		t.Fatal(err)
	}
	items := c.Items()
	if got := items[0].Head().CreatedAt; !got.Equal(time.Unix(1700000000, 0)) {
		t.Errorf("time %v", got)
	}
	if got := items[1].Head().CreatedAt; !got.Equal(time.Unix(1700000001, 123456700)) {
		t.Errorf("time %v", got)
	}
	if items[1].(*chat.FunctionCallOutput).NoReply {
		t.Error("an output that says nothing about a reply wants none")
	}
}

func FuzzDecode(f *testing.F) {
	data, err := json.Marshal(full())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(`{"items":[{"type":"message","role":"user","content":[null,1],"created_at":-0.5}]}`))
	f.Add([]byte(`{"items":[{"type":"agent_handoff","created_at":-1e-9},null]}`))
	f.Add([]byte(`{"items":[{"type":"agent_config_update","created_at":253402300799.9999999999}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var c chat.Context
		if json.Unmarshal(data, &c) != nil {
			return
		}
		first, err := json.Marshal(&c)
		if err != nil {
			t.Fatalf("cannot write what was read: %v", err)
		}
		var back chat.Context
		if err := json.Unmarshal(first, &back); err != nil {
			t.Fatalf("cannot read what was written: %v: %s", err, first)
		}
		if second, _ := json.Marshal(&back); string(second) != string(first) {
			t.Fatalf("changed on the way:\n%s\n%s", first, second)
		}
	})
}

func BenchmarkEncode(b *testing.B) {
	c := full()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Encode(nil); err != nil {
			b.Fatal(err)
		}
	}
}
