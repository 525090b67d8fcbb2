package ultravox

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/internal/modeltest"
	"github.com/parley-go/parley/internal/sandbox"
	"github.com/parley-go/parley/internal/sandbox/ultravoxbox"
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

// A call begins with what was said, and with what was asked for.
func TestRequest(t *testing.T) {
	past := &chat.Context{}
	past.Add(message1(chat.User, "1", "Hi"), message1(chat.Assistant, "2", "Hello"), message1(chat.Developer, "3", "Be brief."),
		&chat.FunctionCall{Header: chat.Header{ID: "4"}, CallID: "c", Name: "f", Arguments: "{}"},
		&chat.FunctionCallOutput{Header: chat.Header{ID: "5"}, CallID: "c", Output: "1"},
		&chat.FunctionCall{Header: chat.Header{ID: "6"}, CallID: "open", Name: "f", Arguments: "{}"},
		&chat.FunctionCallOutput{Header: chat.Header{ID: "7"}, CallID: "lost", Output: "1"})
	tool := llm.ToolSpec{Name: "f", Description: "F.", Parameters: json.RawMessage(
		`{"type":"object","properties":{"b":{"type":"string"},"a":{"$ref":"#/$defs/A"}},"required":["a"],"$defs":{"A":{"type":"integer"}}}`)}
	d, err := newRealtime(&RealtimeOptions{
		APIKey: "k", Language: "de", Temperature: opt.Some(0.5), MaxDuration: 90 * time.Second, ToolTimeout: 1500 * time.Millisecond,
		Turns: RealtimeTurns{EndpointDelay: 640 * time.Millisecond, Threshold: 0.2}, Extra: map[string]any{"recordingEnabled": true},
	})
	if err != nil {
		t.Fatal(err)
	}
	s := &driver.Setup{Instructions: "Be kind.", Tools: []llm.ToolSpec{tool, {Name: "g"}}, History: past, TextOnly: true,
		ToolChoice: llm.ToolChoice{Mode: llm.ToolFunction, Function: "f"}}
	raw, _ := json.Marshal(d.request(s))
	var got, want map[string]any
	_ = json.Unmarshal(raw, &got)
	_ = json.Unmarshal([]byte(`{"model":"ultravox-v0.7","voice":"Mark","languageHint":"de","temperature":0.5,"maxDuration":"90s",
		"firstSpeakerSettings":{"user":{}},"initialOutputMedium":"MESSAGE_MEDIUM_TEXT","recordingEnabled":true,
		"medium":{"serverWebSocket":{"inputSampleRate":16000,"outputSampleRate":24000,"clientBufferSizeMs":30000,
			"dataMessages":{"userStartedSpeaking":true,"userStoppedSpeaking":true}}},
		"vadSettings":{"turnEndpointDelay":"0.64s","frameActivationThreshold":0.2},
		"selectedTools":[{"temporaryTool":{"modelToolName":"f","description":"F.","timeout":"1.5s","client":{},"dynamicParameters":[
			{"name":"a","location":"PARAMETER_LOCATION_BODY","required":true,"schema":{"$ref":"#/$defs/A","$defs":{"A":{"type":"integer"}}}},
			{"name":"b","location":"PARAMETER_LOCATION_BODY","required":false,"schema":{"type":"string"}}]}}],
		"initialMessages":[{"role":"MESSAGE_ROLE_USER","text":"Hi"},{"role":"MESSAGE_ROLE_AGENT","text":"Hello"},
			{"role":"MESSAGE_ROLE_USER","text":"<instruction>Be brief.</instruction>"},
			{"role":"MESSAGE_ROLE_TOOL_CALL","text":"{}","invocationId":"c","toolName":"f"},
			{"role":"MESSAGE_ROLE_TOOL_RESULT","text":"1","invocationId":"c","toolName":"f"}]}`), &want)
	want["systemPrompt"] = "Be kind.\n\n" + about
	if !reflect.DeepEqual(got, want) {
		t.Errorf("request is %v\nwant %v", got, want)
	}
	if c := d.Capabilities(); c.MaxAge != 90*time.Second || !c.BilledByTime || c.ClientTurns || c.MutableInstructions || c.Truncation {
		t.Errorf("capabilities are %+v", c)
	}
	s.ToolChoice = llm.ToolChoice{Mode: llm.ToolNone}
	if _, ok := d.request(s)["selectedTools"]; ok {
		t.Error("tools are offered that must not be called")
	}
}

func TestOptions(t *testing.T) {
	t.Setenv("ULTRAVOX_API_KEY", "")
	t.Setenv("ULTRAVOX_BASE_URL", "ftp://x")
	for want, o := range map[string]*RealtimeOptions{
		"ULTRAVOX_API_KEY": nil,
		"base URL":         {APIKey: "k"},
		"ExternalVoice":    {APIKey: "k", Voice: "a", ExternalVoice: map[string]any{"lmnt": 1}},
	} {
		if _, err := NewRealtime(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error is %v, want %s", err, want)
		}
	}
	t.Setenv("ULTRAVOX_API_KEY", "k")
	t.Setenv("ULTRAVOX_BASE_URL", "https://example.com/v")
	d, err := newRealtime(&RealtimeOptions{ExternalVoice: map[string]any{"lmnt": map[string]any{"voiceId": "x"}}, Header: http.Header{"X-Team": {"a"}}})
	if err != nil || d.base.String() != "https://example.com/v" || d.head.Get("X-Api-Key") != "k" || d.head.Get("X-Team") != "a" {
		t.Fatalf("%+v, %v", d, err)
	}
	if r := d.request(&driver.Setup{History: &chat.Context{}}); r["voice"] != nil || r["externalVoice"] == nil {
		t.Errorf("request is %v", r)
	}
}

// Errors say what the provider said, and are typed.
func TestRefusedCalls(t *testing.T) {
	for _, c := range []struct {
		status int
		answer string
		want   string
		kind   model.ErrorKind
		again  bool
	}{
		{402, `{"detail":"no money for secret-key"}`, "no money for [key]", model.KindStatus, false},
		{400, `{"voice": ["no such voice"]}`, `{"voice":["no such voice"]}`, model.KindStatus, false},
		{503, `<html>`, "503", model.KindStatus, true},
		{201, `{`, "cannot be read", model.KindProtocol, true},
		{201, `{"joinUrl":"https://x"}`, "websocket", model.KindProtocol, true},
		{201, `{"joinUrl":"ws://127.0.0.1:1/secret"}`, "refused", model.KindConnection, true},
	} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(c.status)
			_, _ = io.WriteString(w, c.answer)
		}))
		d, err := newRealtime(&RealtimeOptions{APIKey: "secret-key", BaseURL: s.URL, HTTP: s.Client()})
		if err != nil {
			t.Fatal(err)
		}
		_, err = d.Connect(t.Context(), &driver.Setup{History: &chat.Context{}})
		var e *model.Error
		if !errors.As(err, &e) || e.Kind != c.kind || e.Retryable() != c.again || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%d %s: %v", c.status, c.answer, err)
		}
		s.Close()
	}
}

// A websocket in the clear is not joined when the call was made in secret.
func TestInsecureCall(t *testing.T) {
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"joinUrl":"ws://127.0.0.1:1/x"}`)
	}))
	defer s.Close()
	d, err := newRealtime(&RealtimeOptions{APIKey: "secret-key", BaseURL: s.URL, HTTP: s.Client()})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Connect(t.Context(), &driver.Setup{History: &chat.Context{}}); err == nil || !strings.Contains(err.Error(), "no secure websocket") {
		t.Errorf("error is %v", err)
	}
}

// Each connection that was made is told of: that of the request, and the websocket.
func TestConnections(t *testing.T) {
	var log modeltest.Log
	box := sandbox.Start(t, fault.Plan{})
	d := on(t, box, ultravoxbox.Options{}, RealtimeOptions{HTTP: &http.Client{Transport: &http.Transport{}}})
	for range 2 {
		c, err := d.Connect(log.Context(t.Context()), &driver.Setup{History: &chat.Context{}})
		if err != nil {
			t.Fatal(err)
		}
		if took, reused := c.(driver.Connected).Acquired(); took <= 0 || reused {
			t.Errorf("acquired after %v, reused %v", took, reused)
		}
		_ = c.Close()
	}
	d.HTTP.CloseIdleConnections()
	var reused []bool
	for _, e := range modeltest.Events[*metrics.Connection](&log) {
		reused = append(reused, e.Reused)
		if e.Kind != "realtime" || e.Metadata.ModelProvider != "ultravox" {
			t.Errorf("event %+v", e)
		}
	}
	if !slices.Equal(reused, []bool{false, false, true, false}) {
		t.Errorf("connections were reused: %v", reused)
	}
}

// The time of a call is booked as it is billed.
func TestTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		box, dial := sandbox.InMemory(t)
		defer box.Close()
		client := &http.Client{Transport: &http.Transport{DialContext: dial}}
		defer client.CloseIdleConnections()
		var log modeltest.Log
		d := on(t, box, ultravoxbox.Options{}, RealtimeOptions{HTTP: client})
		s, err := realtime.New(d, nil).Session(wire.WithDial(log.Context(t.Context()), dial), nil)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(24 * time.Second)
		_ = s.Close()
		synctest.Wait()
		var booked metrics.Collector
		for _, e := range modeltest.Events[metrics.Event](&log) {
			booked.Add(e)
		}
		if got, want := booked.Usage().Models, box.Ledger.Billed().Models; len(want) != 1 || !reflect.DeepEqual(got, want) || want[0].(metrics.LLMUsage).SessionDuration != 24*time.Second {
			t.Errorf("booked %+v, billed %+v", got, want)
		}
	})
}
