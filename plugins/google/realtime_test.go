package google

import (
	"context"
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/parley-go/parley/internal/modeltest"
	"github.com/parley-go/parley/internal/sandbox"
	"github.com/parley-go/parley/internal/sandbox/googlebox"
	"github.com/parley-go/parley/llm/chat"
	llm "github.com/parley-go/parley/llm/driver"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/model/fault"
	"github.com/parley-go/parley/realtime"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/opt"
	"github.com/parley-go/parley/realtime/driver"
)

var (
	noTranscription = opt.Off[RealtimeTranscription]()
	onVertexAI      = opt.Some(true)
)

func frameOf(samples ...int16) audio.Frame {
	return audio.Frame{Data: samples, Rate: liveInputRate, Channels: 1}
}

// Thoughts are output, outputs of tools are input, and what was cached is told by kind.
func TestRealtimeUsage(t *testing.T) {
	t.Parallel()
	var u liveUsage
	raw := `{"promptTokenCount": 522, "cachedContentTokenCount": 140, "toolUsePromptTokenCount": 11, "responseTokenCount": 64, "thoughtsTokenCount": 136, "totalTokenCount": 597,
		"promptTokensDetails": [{"modality": "TEXT", "tokenCount": 332}, {"modality": "AUDIO", "tokenCount": 165}, {"modality": "VIDEO", "tokenCount": 20}, {"modality": "DOCUMENT", "tokenCount": 5}],
		"toolUsePromptTokensDetails": [{"modality": "TEXT", "tokenCount": 11}],
		"cacheTokensDetails": [{"modality": "TEXT", "tokenCount": 100}, {"modality": "AUDIO", "tokenCount": 30}, {"modality": "IMAGE", "tokenCount": 10}],
		"responseTokensDetails": [{"modality": "TEXT", "tokenCount": 22}, {"modality": "AUDIO", "tokenCount": 42}]}`
	if err := u.UnmarshalJSON([]byte(raw)); err != nil {
		t.Fatal(err)
	}
	got := u.driver()
	want := driver.Usage{
		InputTokens: 533, OutputTokens: 200, TotalTokens: 733,
		Input: metrics.InputTokenDetails{TextTokens: 343, AudioTokens: 165, ImageTokens: 20, CachedTokens: 140,
			CachedTokensDetails: &metrics.CachedTokenDetails{TextTokens: 100, AudioTokens: 30, ImageTokens: 10}},
		Output: metrics.OutputTokenDetails{TextTokens: 158, AudioTokens: 42},
		Raw:    []byte(raw),
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
}

func TestRealtimeMissingKey(t *testing.T) {
	for _, name := range []string{"GOOGLE_API_KEY", "GEMINI_API_KEY", "GOOGLE_GENAI_USE_VERTEXAI", "GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_CLOUD_PROJECT"} {
		t.Setenv(name, "")
	}
	_, err := NewRealtime(nil)
	if err == nil || !strings.Contains(err.Error(), "GOOGLE_API_KEY") || !strings.Contains(err.Error(), "RealtimeOptions.APIKey") {
		t.Errorf("the error is %v", err)
	}
	_, err = NewRealtime(&RealtimeOptions{VertexAI: onVertexAI, Credentials: Credentials{AccessToken: "token"}})
	if err == nil || !strings.Contains(err.Error(), "GOOGLE_CLOUD_PROJECT") {
		t.Errorf("the error is %v", err)
	}
	_, err = NewRealtime(&RealtimeOptions{APIKey: "key", ThinkingLevel: "low", ThinkingBudget: opt.Some(0)})
	if err == nil {
		t.Error("thoughts were limited twice")
	}
}

// told is what sandbox clients sent, by kind, and what answers were made of.
type told struct {
	mu    sync.Mutex
	seen  []map[string]any
	asked []sandbox.TalkRequest
}

func (x *told) options() googlebox.LiveOptions {
	return googlebox.LiveOptions{
		Seen: func(m map[string]any) {
			x.mu.Lock()
			defer x.mu.Unlock()
			x.seen = append(x.seen, m)
		},
		Talk: sandbox.Talk{Answer: func(r sandbox.TalkRequest) sandbox.Reply {
			x.mu.Lock()
			defer x.mu.Unlock()
			x.asked = append(x.asked, r)
			return sandbox.Reply{Text: sandbox.TalkText}
		}},
	}
}

// all are the messages of a kind.
func (x *told) all(kind string) (list []map[string]any) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, m := range x.seen {
		if v, ok := m[kind].(map[string]any); ok {
			list = append(list, v)
		}
	}
	return list
}

// turns are the conversation that the last answer was for.
func (x *told) turns() (list []string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, t := range x.asked[len(x.asked)-1].Turns {
		list = append(list, t.Role+": "+strings.TrimSpace(t.Text))
	}
	return list
}

// talking is a session on a sandbox.
func talking(t *testing.T, box *sandbox.Server, o RealtimeOptions, clientTurns bool, log *modeltest.Log) *realtime.Session {
	t.Helper()
	m := realtime.New(liveOn(t, box, o), &realtime.ModelOptions{Conn: model.ConnOptions{MaxRetry: 2, RetryInterval: 10 * time.Millisecond, Timeout: 5 * time.Second}})
	ctx, cancel := context.WithTimeout(log.Context(t.Context()), 20*time.Second)
	t.Cleanup(cancel)
	s, err := m.Session(ctx, &realtime.SessionOptions{Instructions: "Be brief.", ClientTurns: clientTurns})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// next waits for an event of a kind.
func next[E realtime.Event](t *testing.T, s *realtime.Session) E {
	t.Helper()
	for {
		e, err := s.Next()
		if err != nil {
			t.Fatal(err)
		}
		if x, ok := e.(E); ok {
			return x
		}
	}
}

// turn has the user say something, and waits until all of the answer came.
func turn(t *testing.T, s *realtime.Session) {
	t.Helper()
	if err := s.Push(sandbox.EarSpeech(liveInputRate)); err != nil {
		t.Fatal(err)
	}
	g := next[*realtime.GenerationCreated](t, s).Generation
	<-g.Done()
	if status, err := g.Result(); status != realtime.Completed {
		t.Fatal(status, err)
	}
}

// Before the provider ends a connection the session goes on over another one, which resumes the conversation.
func TestRealtimeResumes(t *testing.T) {
	t.Parallel()
	for _, left := range []time.Duration{time.Second, 0} {
		t.Run(left.String(), func(t *testing.T) {
			t.Parallel()
			resumes(t, left)
		})
	}
}

func resumes(t *testing.T, left time.Duration) {
	var x told
	var log modeltest.Log
	box := sandbox.Start(t, fault.Plan{})
	service := googlebox.Live(box, x.options())
	s := talking(t, box, RealtimeOptions{}, false, &log)
	turn(t, s)
	service.GoAway(left)
	next[*realtime.Reconnected](t, s)
	turn(t, s)
	want := []string{"user: " + sandbox.EarText, "assistant: " + sandbox.TalkText, "user: " + sandbox.EarText}
	if got := x.turns(); !slices.Equal(got, want) {
		t.Errorf("the provider knows %q", got)
	}
	setups := x.all("setup")
	if handle, _ := setups[1]["sessionResumption"].(map[string]any)["handle"].(string); len(setups) != 2 || handle == "" || len(x.all("clientContent")) > 0 {
		t.Errorf("connected with %v, then told %v", setups, x.all("clientContent"))
	}
	if e := log.Errors(); len(e) > 0 {
		t.Errorf("errors: %v", e)
	}
}

// A conversation that cannot be resumed is told again.
func TestRealtimeResumesNoLonger(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]RealtimeOptions{"AI Studio": {}, "Gemini 3": {Model: "gemini-3.1-flash-live-preview"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var x told
			var log modeltest.Log
			box := sandbox.Start(t, fault.Plan{})
			service := googlebox.Live(box, x.options())
			s := talking(t, box, o, false, &log)
			turn(t, s)
			service.Forget()
			service.GoAway(time.Second)
			next[*realtime.Reconnected](t, s)
			turn(t, s)
			want := []string{"user: " + sandbox.EarText, "assistant: " + sandbox.TalkText, "user: " + sandbox.EarText}
			if got := x.turns(); !slices.Equal(got, want) {
				t.Errorf("the provider knows %q", got)
			}
			if e := log.Errors(); len(e) != 1 || !e[0].Recoverable || !strings.Contains(e[0].Err.Error(), "session not found") {
				t.Errorf("errors: %v", e)
			}
		})
	}
}

// What the caller takes back although the provider has heard it is said nowhere else.
func TestRealtimeClear(t *testing.T) {
	t.Parallel()
	var x told
	var log modeltest.Log
	box := sandbox.Start(t, fault.Plan{})
	googlebox.Live(box, x.options())
	s := talking(t, box, RealtimeOptions{}, true, &log)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(s.StartTurn())
	must(s.Push(sandbox.EarSpeech(liveInputRate)))
	next[*realtime.Transcript](t, s)
	must(s.Clear())
	must(s.StartTurn())
	must(s.Push(sandbox.EarSpeech(liveInputRate)))
	must(s.Commit())
	next[*realtime.Reconnected](t, s)
	g, err := s.Generate(t.Context(), nil)
	must(err)
	<-g.Done()
	if got, want := x.turns(), []string{"user: " + sandbox.EarText}; !slices.Equal(got, want) {
		t.Errorf("the provider knows %q", got)
	}
	if e := log.Errors(); len(e) > 0 {
		t.Errorf("errors: %v", e)
	}
}

// A model that is not there is an error for good, with a hint.
func TestRealtimeUnknownModel(t *testing.T) {
	t.Parallel()
	var log modeltest.Log
	box := sandbox.Start(t, fault.Plan{})
	googlebox.Live(box, googlebox.LiveOptions{})
	s := talking(t, box, RealtimeOptions{Model: "gemini-2.5-flash"}, false, &log)
	_, err := s.Next()
	var e *model.Error
	if !errors.As(err, &e) || e.Status != 1008 || !strings.Contains(err.Error(), "may not have this model") || box.Dials() != 1 {
		t.Errorf("%d dials, error %v", box.Dials(), err)
	}
}

// All options in one setup, which the sandbox takes.
func TestRealtimeSetup(t *testing.T) {
	t.Parallel()
	var x told
	box := sandbox.Start(t, fault.Plan{})
	googlebox.Live(box, x.options())
	d := liveOn(t, box, RealtimeOptions{
		Voice: "Kore", Language: "de-DE", Temperature: opt.Some(0.5), TopP: opt.Some(0.9), TopK: opt.Some(20), PresencePenalty: opt.Some(0.1),
		FrequencyPenalty: opt.Some(0.2), MaxTokens: 500, ThinkingBudget: opt.Some(0), MediaResolution: "MEDIA_RESOLUTION_LOW",
		AffectiveDialog: true, ProactiveAudio: true, ToolBehavior: "NON_BLOCKING",
		Turns:         opt.Some(RealtimeTurns{Start: "low", End: "high", Prefix: 20 * time.Millisecond, Silence: 300 * time.Millisecond, NoInterruption: true, AllInput: true}),
		Transcription: opt.Some(RealtimeTranscription{Languages: []string{"de-DE"}}), Compression: opt.Some(RealtimeCompression{Trigger: 20000, Target: 10000}),
		SafetySettings: []SafetySetting{{Category: "HARM_CATEGORY_HARASSMENT", Threshold: "BLOCK_NONE"}},
		Extra:          map[string]any{"generationConfig": map[string]any{"temperature": 0.7}},
	})
	c, err := d.Connect(t.Context(), &driver.Setup{Instructions: "Be brief.", History: &chat.Context{}, Tools: []llm.ToolSpec{{
		Name: "light", Description: "Switches a light.", Parameters: json.RawMessage(`{"type":"object","properties":{"on":{"type":"boolean"}}}`),
	}}})
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
	const want = `{"contextWindowCompression":{"slidingWindow":{"targetTokens":10000},"triggerTokens":20000},` +
		`"generationConfig":{"enableAffectiveDialog":true,"frequencyPenalty":0.2,"maxOutputTokens":500,"mediaResolution":"MEDIA_RESOLUTION_LOW",` +
		`"presencePenalty":0.1,"responseModalities":["AUDIO"],"speechConfig":{"languageCode":"de-DE","voiceConfig":{"prebuiltVoiceConfig":{"voiceName":"Kore"}}},` +
		`"temperature":0.7,"thinkingConfig":{"thinkingBudget":0},"topK":20,"topP":0.9},` +
		`"inputAudioTranscription":{"languageCodes":["de-DE"]},"model":"models/gemini-2.5-flash-native-audio-preview-12-2025","outputAudioTranscription":{},` +
		`"proactivity":{"proactiveAudio":true},"realtimeInputConfig":{"activityHandling":"NO_INTERRUPTION","automaticActivityDetection":{` +
		`"endOfSpeechSensitivity":"END_SENSITIVITY_HIGH","prefixPaddingMs":20,"silenceDurationMs":300,"startOfSpeechSensitivity":"START_SENSITIVITY_LOW"},` +
		`"turnCoverage":"TURN_INCLUDES_ALL_INPUT"},"safetySettings":[{"category":"HARM_CATEGORY_HARASSMENT","threshold":"BLOCK_NONE"}],"sessionResumption":{},` +
		`"systemInstruction":{"parts":[{"text":"Be brief."}]},"tools":[{"functionDeclarations":[{"behavior":"NON_BLOCKING","description":"Switches a light.",` +
		`"name":"light","parameters":{"properties":{"on":{"type":"BOOLEAN"}},"type":"OBJECT"}}]}]}`
	if got, _ := json.Marshal(x.all("setup")[0]); string(got) != want {
		t.Errorf("the setup was %s\nwant %s", got, want)
	}
}

// What was off is not asked for, and the caller finds the turns.
func TestRealtimeSetupOff(t *testing.T) {
	t.Parallel()
	var x told
	box := sandbox.Start(t, fault.Plan{})
	googlebox.Live(box, x.options())
	d := liveOn(t, box, RealtimeOptions{Turns: opt.Off[RealtimeTurns](), Transcription: noTranscription, Compression: opt.Off[RealtimeCompression]()})
	if c := d.Capabilities(); c.ServerTurns || !c.ClientTurns || c.UserTranscription {
		t.Errorf("capabilities: %+v", c)
	}
	c, err := d.Connect(t.Context(), &driver.Setup{History: &chat.Context{}, ClientTurns: true})
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
	const want = `{"generationConfig":{"responseModalities":["AUDIO"],"speechConfig":{"voiceConfig":{"prebuiltVoiceConfig":{"voiceName":"Puck"}}}},` +
		`"model":"models/gemini-2.5-flash-native-audio-preview-12-2025","outputAudioTranscription":{},"realtimeInputConfig":{"automaticActivityDetection":{"disabled":true}},` +
		`"sessionResumption":{}}`
	if got, _ := json.Marshal(x.all("setup")[0]); string(got) != want {
		t.Errorf("the setup was %s\nwant %s", got, want)
	}
}
