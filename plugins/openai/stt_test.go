package openai

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/model"

	"github.com/parley-go/parley/internal/modeltest"
	"github.com/parley-go/parley/internal/sandbox"
	"github.com/parley-go/parley/internal/sandbox/openaibox"
	"github.com/parley-go/parley/model/fault"
	"github.com/parley-go/parley/stt/driver"
	"github.com/parley-go/parley/stt/stttest"
)

func TestSTTConformance(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]STTOptions{
		"seconds":  {Service: Groq, Words: true},
		"realtime": {Realtime: true},
		"manual":   {Realtime: true, VAD: off[ServerVAD]()},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rate := batchRate // that of the driver: what ears hear does not survive resampling
			if o.Realtime {
				rate = realtimeRate
			}
			h := stttest.Harness{
				Speech: sandbox.EarSpeech(rate), Text: sandbox.EarText, Secret: sandbox.DefaultKey,
				Start: func(t testing.TB, p fault.Plan) stttest.Provider {
					box := sandbox.Start(t, p)
					openaibox.Transcribe(box, "/v1", openaibox.TranscribeOptions{})
					openaibox.Realtime(box, "/v1", openaibox.TranscribeOptions{})
					o := o
					o.APIKey, o.BaseURL = box.Key, box.URL()+"/v1"
					r, err := newSTT(&o)
					if err != nil {
						t.Fatal(err)
					}
					var d driver.STT = r
					if o.Realtime {
						d = &listener{r}
					}
					return stttest.Provider{Driver: d, Served: func() stttest.Served {
						return stttest.Served{Audio: box.Audio(), Calls: box.Calls(), Dials: box.Dials(), Open: box.Open()}
					}}
				},
			}
			for _, c := range stttest.Cases() {
				t.Run(c.Name, func(t *testing.T) {
					t.Parallel()
					c.Run(t, h)
				})
			}
		})
	}
}

func transcribing(t *testing.T, c *canned, o STTOptions, per driver.Options) (*driver.Result, error) {
	t.Helper()
	o.HTTPClient = c.client()
	if o.APIKey == "" {
		o.APIKey = "key-canary"
	}
	c.contentType = "application/json"
	d, err := newSTT(&o)
	if err != nil {
		t.Fatal(err)
	}
	return d.Recognize(t.Context(), audio.Silence(time.Second, batchRate, 1), per)
}

// formOf is the last request as a form; the file is its type and size.
func formOf(t *testing.T, c *canned) map[string]string {
	t.Helper()
	_, params, err := mime.ParseMediaType(c.request.Header.Get("Content-Type"))
	if err != nil {
		t.Fatal(err)
	}
	r := multipart.NewReader(bytes.NewReader(c.sent), params["boundary"])
	got := map[string]string{}
	for {
		p, err := r.NextPart()
		if err == io.EOF {
			return got
		}
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(p)
		if got[p.FormName()] = string(b); p.FormName() == "file" {
			got["file"] = fmt.Sprint(p.FileName(), " ", p.Header.Get("Content-Type"), " ", len(b))
		}
	}
}

func TestTranscriptionRequests(t *testing.T) {
	clearEnv(t)
	file := "file.wav audio/wav 32044"
	for name, c := range map[string]struct {
		o    STTOptions
		per  driver.Options
		url  string
		want map[string]string
	}{
		"OpenAI":   {STTOptions{}, driver.Options{}, "https://api.openai.com/v1/audio/transcriptions", map[string]string{"model": "gpt-4o-mini-transcribe", "language": "en", "response_format": "json", "file": file}},
		"whisper":  {STTOptions{Model: "whisper-1", Words: true, Temperature: some(0.0)}, driver.Options{}, "https://api.openai.com/v1/audio/transcriptions", map[string]string{"model": "whisper-1", "language": "en", "response_format": "verbose_json", "timestamp_granularities[]": "word", "temperature": "0", "file": file}},
		"detect":   {STTOptions{DetectLanguage: true, Prompt: "A call."}, driver.Options{Keyterms: []string{"Parley", "LiveKit"}}, "https://api.openai.com/v1/audio/transcriptions", map[string]string{"model": "gpt-4o-mini-transcribe", "prompt": "A call. Parley, LiveKit", "response_format": "json", "file": file}},
		"per call": {STTOptions{Language: "de"}, driver.Options{Language: "fr"}, "https://api.openai.com/v1/audio/transcriptions", map[string]string{"model": "gpt-4o-mini-transcribe", "language": "fr", "response_format": "json", "file": file}},
		"Groq":     {STTOptions{Service: Groq}, driver.Options{}, "https://api.groq.com/openai/v1/audio/transcriptions", map[string]string{"model": "whisper-large-v3-turbo", "language": "en", "response_format": "verbose_json", "file": file}},
		"Azure":    {STTOptions{Service: Azure, BaseURL: "https://res.openai.azure.com", Deployment: "ears"}, driver.Options{}, "https://res.openai.azure.com/openai/deployments/ears/audio/transcriptions?api-version=2024-10-21", map[string]string{"model": "gpt-4o-mini-transcribe", "language": "en", "response_format": "json", "file": file}},
		"named":    {STTOptions{Service: OVHcloud, Model: "m"}, driver.Options{}, "https://oai.endpoints.kepler.ai.cloud.ovh.net/v1/audio/transcriptions", map[string]string{"model": "m", "language": "en", "response_format": "json", "file": file}},
	} {
		t.Run(name, func(t *testing.T) {
			net := &canned{body: `{"text":""}`}
			if _, err := transcribing(t, net, c.o, c.per); err != nil {
				t.Fatal(err)
			}
			if got := formOf(t, net); net.request.URL.String() != c.url || !reflect.DeepEqual(got, c.want) {
				t.Fatalf("%s %v", net.request.URL, got)
			}
		})
	}
	for want, o := range map[string]STTOptions{"OPENAI_API_KEY": {}, "GROQ_API_KEY": {Service: Groq}, "STTOptions.Model": {Service: Together, APIKey: "k"}} {
		if _, err := newSTT(&o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

func TestTranscriptionAnswers(t *testing.T) {
	for name, c := range map[string]struct {
		body string
		want driver.Result
	}{
		"tokens": {`{"text":" Hi. ","usage":{"type":"tokens","input_tokens":14,"output_tokens":5,"total_tokens":19,"input_token_details":{"audio_tokens":14}}}`, driver.Result{Alternative: driver.Alternative{Text: "Hi."}, Usage: &driver.UsageReport{InputTokens: 14, OutputTokens: 5,
			Raw: `{"type":"tokens","input_tokens":14,"output_tokens":5,"total_tokens":19,"input_token_details":{"audio_tokens":14}}`}}},
		"duration": {`{"text":"Hi.","usage":{"type":"duration","seconds":2}}`, driver.Result{Alternative: driver.Alternative{Text: "Hi."}, Usage: &driver.UsageReport{AudioDuration: 2 * time.Second,
			Raw: `{"type":"duration","seconds":2}`}}},
		"Groq": {`{"text":"Hallo.","language":"German","duration":1,"x_groq":{"id":"req_1"},"segments":[{"start":0.5,"end":0.75},{"start":0.75,"end":1}]}`,
			driver.Result{RequestID: "req_1", Alternative: driver.Alternative{Text: "Hallo.", Language: "de", Start: 500 * time.Millisecond, End: time.Second}}},
		"words": {`{"text":"Hi you","language":"klingon","words":[{"word":"Hi","start":0.25,"end":0.5},{"word":" you","start":0.5,"end":1}]}`,
			driver.Result{Alternative: driver.Alternative{Text: "Hi you", Language: "klingon", Start: 250 * time.Millisecond, End: time.Second,
				Words: []driver.Word{{Text: "Hi", Start: 250 * time.Millisecond, End: 500 * time.Millisecond}, {Text: "you", Start: 500 * time.Millisecond, End: time.Second}}}}},
		"languages": {`{"text":"Hi","languages":[{"code":"es"},{"code":"en"}]}`, driver.Result{Alternative: driver.Alternative{Text: "Hi", Language: "es"}}},
		"nothing":   {`{"text":""}`, driver.Result{}},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := transcribing(t, &canned{body: c.body}, STTOptions{DetectLanguage: true}, driver.Options{})
			if err != nil || !reflect.DeepEqual(*r, c.want) {
				t.Fatalf("%+v, %v", r, err)
			}
		})
	}
	for body, retry := range map[string]bool{`{"error":{"message":"bad","code":400}}`: false, `{}`: true, `[]`: true} {
		_, err := transcribing(t, &canned{body: body}, STTOptions{}, driver.Options{})
		var e *model.Error
		if !errors.As(err, &e) || e.Retryable() != retry {
			t.Fatalf("%s: %v", body, err)
		}
	}
}

func TestRealtimeAddresses(t *testing.T) {
	clearEnv(t)
	for want, o := range map[string]STTOptions{
		"wss://api.openai.com/v1/realtime?intent=transcription":                                           {},
		"ws://own.test/v1/realtime?intent=transcription&model=m":                                          {BaseURL: "http://own.test/v1", Model: "m"},
		"wss://res.openai.azure.com/openai/v1/realtime?intent=transcription&model=gpt-4o-mini-transcribe": {Service: Azure, BaseURL: "https://res.openai.azure.com"},
	} {
		o.APIKey, o.Realtime = "key", true
		d, err := newSTT(&o)
		if err != nil {
			t.Fatal(err)
		}
		if got := (&listener{d}).address(); got != want {
			t.Fatalf("%s, want %s", got, want)
		}
	}
}

func TestRealtimeConfig(t *testing.T) {
	for name, c := range map[string]struct {
		o    STTOptions
		want string
	}{
		"defaults": {STTOptions{}, `{"format":{"rate":24000,"type":"audio/pcm"},"transcription":{"language":"en","model":"gpt-4o-mini-transcribe"},"turn_detection":{"prefix_padding_ms":600,"silence_duration_ms":350,"threshold":0.5,"type":"server_vad"}}`},
		"all": {STTOptions{DetectLanguage: true, Prompt: "A call.", NoiseReduction: "far_field", VAD: some(ServerVAD{Threshold: 0.25, Prefix: time.Second, Silence: 2 * time.Second})},
			`{"format":{"rate":24000,"type":"audio/pcm"},"noise_reduction":{"type":"far_field"},"transcription":{"model":"gpt-4o-mini-transcribe","prompt":"A call. Parley"},"turn_detection":{"prefix_padding_ms":1000,"silence_duration_ms":2000,"threshold":0.25,"type":"server_vad"}}`},
		"no VAD": {STTOptions{VAD: off[ServerVAD](), Model: "gpt-realtime-whisper"}, `{"format":{"rate":24000,"type":"audio/pcm"},"transcription":{"language":"en","model":"gpt-realtime-whisper"},"turn_detection":null}`},
	} {
		c.o.APIKey = "key"
		d, err := newSTT(&c.o)
		if err != nil {
			t.Fatal(err)
		}
		var per driver.Options
		if name == "all" {
			per.Keyterms = []string{"Parley"}
		}
		got, _ := json.Marshal((&listener{d}).config(per))
		if want := `{"session":{"audio":{"input":` + c.want + `},"type":"transcription"},"type":"session.update"}`; string(got) != want {
			t.Fatalf("%s:\n%s\n%s", name, got, want)
		}
	}
}

// taken is what a stream makes of messages.
func taken(t *testing.T, o STTOptions, messages ...string) (*listening, []*driver.Event, error) {
	t.Helper()
	o.APIKey = "key"
	d, err := newSTT(&o)
	if err != nil {
		t.Fatal(err)
	}
	s := &listening{l: &listener{d}, language: d.o.Language, items: map[string]*utterance{}}
	for _, m := range messages {
		var e realtimeEvent
		if err := json.Unmarshal([]byte(m), &e); err != nil {
			t.Fatal(err)
		}
		if err := s.take(&e); err != nil {
			return s, s.ready, err
		}
	}
	return s, s.ready, nil
}

const scribe = `"conversation.item.input_audio_transcription.`

func TestRealtimeEvents(t *testing.T) {
	started, stopped := `{"type":"input_audio_buffer.speech_started","item_id":"i","audio_start_ms":200}`, `{"type":"input_audio_buffer.speech_stopped","item_id":"i","audio_end_ms":900}`
	committed := `{"type":"input_audio_buffer.committed","item_id":"i"}`
	delta := func(s string) string { return `{"type":` + scribe + `delta","item_id":"i","delta":"` + s + `"}` }
	completed := `{"type":` + scribe + `completed","item_id":"i","transcript":"Hi you","usage":{"type":"tokens","input_tokens":7,"output_tokens":3}}`
	kinds := func(events []*driver.Event) (list []string) {
		for _, e := range events {
			list = append(list, e.Kind.String())
		}
		return list
	}
	s, got, err := taken(t, STTOptions{}, started, stopped, committed, delta("Hi"), delta(" you"), completed, completed, delta("late"))
	want := []string{"start_of_speech", "end_of_speech", "interim_transcript", "recognition_usage", "final_transcript"}
	if err != nil || !slices.Equal(kinds(got), want) || len(s.items) != 0 {
		t.Fatalf("%v, %v", kinds(got), err)
	}
	a := got[4].Alternatives[0]
	if got[0].SpeechStart != 200*time.Millisecond || got[2].Text() != "Hi" || got[3].Usage != (driver.UsageReport{InputTokens: 7, OutputTokens: 3, Raw: `{"type":"tokens","input_tokens":7,"output_tokens":3}`}) ||
		a.Text != "Hi you" || a.Language != "en" || a.Start != 200*time.Millisecond || a.End != 900*time.Millisecond || got[4].RequestID != "i" {
		t.Fatalf("%+v %+v", got[3], got[4])
	}
	// An utterance that we end is over by that; silence that we end is none, but costs.
	_, got, _ = taken(t, STTOptions{}, started, committed, completed)
	if want := []string{"start_of_speech", "end_of_speech", "recognition_usage", "final_transcript"}; !slices.Equal(kinds(got), want) {
		t.Fatalf("%v", kinds(got))
	}
	_, got, _ = taken(t, STTOptions{}, committed, delta("Thank"), completed)
	if want := []string{"recognition_usage"}; !slices.Equal(kinds(got), want) {
		t.Fatalf("%v", kinds(got))
	}
	_, got, _ = taken(t, STTOptions{VAD: off[ServerVAD]()}, delta("Hi"), committed, completed)
	if want := []string{"interim_transcript", "recognition_usage", "final_transcript"}; !slices.Equal(kinds(got), want) {
		t.Fatalf("%v", kinds(got))
	}
}

func TestRealtimeErrors(t *testing.T) {
	for m, c := range map[string]struct{ fails, retry bool }{
		`{"type":"error","error":{"type":"invalid_request_error","code":"input_audio_buffer_commit_empty","message":"x"}}`:                {false, false},
		`{"type":"error","error":{"type":"invalid_request_error","code":"unknown_parameter","message":"x"}}`:                              {true, false},
		`{"type":"error","error":{"type":"strange","message":"x"}}`:                                                                       {true, false},
		`{"type":"error","error":{"type":"invalid_request_error","code":"session_expired","message":"60 minutes"}}`:                       {true, true},
		`{"type":"error","error":{"type":"server_error","message":"x"}}`:                                                                  {true, true},
		`{"type":` + scribe + `failed","item_id":"i","error":{"type":"transcription_error","code":"audio_unintelligible","message":"x"}}`: {true, true},
	} {
		_, _, err := taken(t, STTOptions{}, m)
		if (err != nil) != c.fails || model.Retryable(err) != c.retry {
			t.Errorf("%s: %v", m, err)
		}
	}
}

func TestASendTellsWhyItWasRefused(t *testing.T) {
	err := modeltest.Refused(t, `{"type":"error","error":{"type":"invalid_request_error","message":"no such voice"}}`, func(key, url string) (any, error) {
		r, err := newSTT(&STTOptions{APIKey: key, BaseURL: url})
		return &listener{r}, err
	})
	if err == nil || !strings.Contains(err.Error(), "no such voice") {
		t.Errorf("error is %v", err)
	}
}

func FuzzTranscription(f *testing.F) {
	f.Add([]byte(`{"text":"Hi","language":"english","segments":[{"start":1,"end":-2}],"usage":{"seconds":1e300}}`))
	f.Add([]byte(`{"type":"input_audio_buffer.speech_started","item_id":"i","audio_start_ms":1e300}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := newSTT(&STTOptions{APIKey: "key"})
		if err != nil {
			t.Fatal(err)
		}
		_, _ = d.result(b, "")
		var e realtimeEvent
		s := &listening{l: &listener{d}, items: map[string]*utterance{}}
		if json.Unmarshal(b, &e) == nil {
			_ = s.take(&e)
		}
	})
}
