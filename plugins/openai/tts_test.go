package openai

import (
	"encoding/base64"
	"errors"
	"io"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/internal/sandbox"
	"github.com/parley-go/parley/internal/sandbox/openaibox"
	"github.com/parley-go/parley/internal/wire"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/model/fault"
	"github.com/parley-go/parley/tts/driver"
	"github.com/parley-go/parley/tts/ttstest"
)

func TestTTSConformance(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		o   TTSOptions
		box openaibox.SpeechOptions
	}{
		"events": {TTSOptions{}, openaibox.SpeechOptions{}},
		"groq":   {TTSOptions{Service: Groq}, openaibox.SpeechOptions{Provider: "groq", Rate: 48000, Plain: true}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := ttstest.Harness{
				Secret: sandbox.DefaultKey, CountReplays: true,
				Start: func(t testing.TB, p fault.Plan) ttstest.Provider {
					box := sandbox.Start(t, p)
					openaibox.Speech(box, "/v1", c.box)
					o := c.o
					o.APIKey, o.BaseURL = box.Key, box.URL()+"/v1"
					d, err := newTTS(&o)
					if err != nil {
						t.Fatal(err)
					}
					return ttstest.Provider{Driver: d, Served: func() ttstest.Served {
						return ttstest.Served{Characters: box.Characters(), Calls: box.Calls(), Dials: box.Dials(), Open: box.Open()}
					}}
				},
			}
			if name != "events" {
				h.Skip = map[fault.Kind]string{
					fault.Malformed: "raw audio has no form", fault.Oversized: "raw audio has no messages",
				}
			}
			ttstest.Run(t, h)
		})
	}
}

// heard is what a driver made of a canned answer.
type heard struct {
	data  []int16
	rate  int
	usage *driver.UsageReport
	err   error
}

func speaking(t *testing.T, c *canned, o TTSOptions) heard {
	t.Helper()
	o.HTTPClient = c.client()
	if o.APIKey == "" {
		o.APIKey = "key-canary"
	}
	d, err := newTTS(&o)
	if err != nil {
		t.Fatal(err)
	}
	var h heard
	s, err := d.Synthesize(t.Context(), "Hi.")
	if err != nil {
		h.err = err
		return h
	}
	defer s.Close()
	for {
		c, err := s.Next(t.Context())
		if err == io.EOF {
			return h
		}
		if err != nil {
			h.err = err
			return h
		}
		if len(c.Frame.Data) > 0 {
			h.data, h.rate = append(h.data, c.Frame.Data...), c.Frame.Rate
		}
		if c.Usage != nil {
			h.usage = c.Usage
		}
	}
}

func pcmDelta(field string, b ...byte) string {
	return `{"type":"speech.audio.delta","` + field + `":"` + base64.StdEncoding.EncodeToString(b) + `"}`
}

func TestSpeechByContentType(t *testing.T) {
	pcm := "\x01\x00\x02\x00\x03\x00"
	wav := string(wire.WAV(audio.Frame{Data: []int16{1, 2, 3}, Rate: 16000, Channels: 1}))
	endless := strings.Replace(wav, "data\x06\x00\x00\x00", "LIST\x04\x00\x00\x00INFOdata\xff\xff\xff\xff", 1)
	stereo := string(wire.WAV(audio.Frame{Data: []int16{1, 2, 3, 4}, Rate: 16000, Channels: 2}))
	usage := `{"type":"speech.audio.done","usage":{"input_tokens":3,"output_tokens":9,"total_tokens":12}}`
	for name, c := range map[string]struct {
		kind, body, format string
		rate               int
		data               []int16
		usage              bool
	}{
		"pcm":                            {"audio/pcm", pcm, "", 24000, []int16{1, 2, 3}, false},
		"pcm with a rate":                {"audio/L16;rate=8000", pcm, "", 8000, []int16{1, 2, 3}, false},
		"half a sample more":             {"audio/pcm", pcm + "\x04", "", 24000, []int16{1, 2, 3}, false},
		"no type":                        {"application/octet-stream", pcm, "", 24000, []int16{1, 2, 3}, false},
		"wav though pcm was asked":       {"audio/wav", wav, "", 16000, []int16{1, 2, 3}, false},
		"wav without end":                {"audio/x-wav", endless, "wav", 16000, []int16{1, 2, 3}, false},
		"wav, no type":                   {"application/octet-stream", wav, "wav", 16000, []int16{1, 2, 3}, false},
		"wav, stereo":                    {"audio/wav", stereo, "wav", 16000, []int16{1, 2, 3, 4}, false},
		"events":                         {"text/event-stream; charset=utf-8", events(pcmDelta("audio", 1, 0, 2), pcmDelta("delta", 0, 3, 0), usage, done), "", 24000, []int16{1, 2, 3}, true},
		"events, done is the end":        {"text/event-stream", events(pcmDelta("audio", 1, 0), `{"type":"speech.audio.done"}`, pcmDelta("audio", 2, 0)), "", 24000, []int16{1}, false},
		"events, [DONE] is the end":      {"text/event-stream", events(pcmDelta("audio", 1, 0), "", `{"type":"other"}`, done), "", 24000, []int16{1}, false},
		"events of wav":                  {"text/event-stream", events(pcmDelta("audio", []byte(wav)[:50]...), usage), "wav", 16000, []int16{1, 2, 3}, true},
		"nothing":                        {"audio/pcm", "", "", 0, nil, false},
		"nothing, wav":                   {"audio/wav", "", "", 0, nil, false},
		"events of nothing, with a cost": {"text/event-stream", events(usage), "", 0, nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			h := speaking(t, &canned{contentType: c.kind, body: c.body}, TTSOptions{Format: c.format})
			if h.err != nil || !slices.Equal(h.data, c.data) || h.rate != c.rate {
				t.Fatalf("%+v", h)
			}
			if (h.usage != nil) != c.usage || c.usage && *h.usage != (driver.UsageReport{InputTokens: 3, OutputTokens: 9, Raw: `{"input_tokens":3,"output_tokens":9,"total_tokens":12}`}) {
				t.Fatalf("usage %+v", h.usage)
			}
		})
	}
}

func TestSpeechErrors(t *testing.T) {
	for name, c := range map[string]struct {
		kind, body string
		want       model.ErrorKind
		status     int
		retry      bool
	}{
		"mp3":                 {"audio/mpeg", "ID3", model.KindProtocol, 0, false},
		"an error":            {"application/json", `{"error":{"message":"no such voice","code":400}}`, model.KindStatus, 400, false},
		"events broken off":   {"text/event-stream", events(pcmDelta("audio", 1, 0)), model.KindConnection, 0, true},
		"an error event":      {"text/event-stream", events(`{"error":{"message":"key-canary","code":"rate_limit_exceeded"}}`), model.KindStatus, 429, true},
		"another":             {"text/event-stream", events(`{"type":"error","message":"slow","code":"server_error"}`), model.KindStatus, 500, true},
		"unreadable":          {"text/event-stream", events(`{"type":`), model.KindProtocol, 0, true},
		"no base64":           {"text/event-stream", events(`{"type":"speech.audio.delta","audio":"!"}`), model.KindProtocol, 0, true},
		"no wav":              {"audio/wav", "this is not a wav file", model.KindProtocol, 0, true},
		"wav of 24 bits":      {"audio/wav", strings.Replace(string(wire.WAV(audio.Frame{Data: []int16{1}, Rate: 16000, Channels: 1})), "\x10\x00data", "\x18\x00data", 1), model.KindProtocol, 0, true},
		"wav cut in its head": {"audio/wav", "RIFF\x00\x00\x00\x00WAVEfmt ", model.KindConnection, 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			h := speaking(t, &canned{contentType: c.kind, body: c.body}, TTSOptions{})
			var e *model.Error
			if !errors.As(h.err, &e) || e.Kind != c.want || e.Status != c.status || e.Retryable() != c.retry || strings.Contains(h.err.Error(), "canary") {
				t.Fatalf("%v", h.err)
			}
		})
	}
}

func TestSpeechRequests(t *testing.T) {
	clearEnv(t)
	for name, c := range map[string]struct {
		o    TTSOptions
		url  string
		want map[string]any
	}{
		"OpenAI":     {TTSOptions{}, "https://api.openai.com/v1/audio/speech", map[string]any{"model": "gpt-4o-mini-tts", "voice": "ash", "input": "Hi.", "response_format": "pcm", "stream_format": "sse"}},
		"older":      {TTSOptions{Model: "tts-1-hd", Speed: some(1.5)}, "https://api.openai.com/v1/audio/speech", map[string]any{"model": "tts-1-hd", "voice": "ash", "input": "Hi.", "response_format": "pcm", "stream_format": "audio", "speed": 1.5}},
		"directions": {TTSOptions{Instructions: "Whisper.", Voice: "coral", Extra: map[string]any{"stream_format": "audio"}}, "https://api.openai.com/v1/audio/speech", map[string]any{"model": "gpt-4o-mini-tts", "voice": "coral", "input": "Hi.", "response_format": "pcm", "stream_format": "audio", "instructions": "Whisper."}},
		"Groq":       {TTSOptions{Service: Groq}, "https://api.groq.com/openai/v1/audio/speech", map[string]any{"model": "canopylabs/orpheus-v1-english", "voice": "autumn", "input": "Hi.", "response_format": "wav"}},
		"Azure":      {TTSOptions{Service: Azure, BaseURL: "https://res.openai.azure.com", Deployment: "voice"}, "https://res.openai.azure.com/openai/deployments/voice/audio/speech?api-version=2024-10-21", map[string]any{"model": "gpt-4o-mini-tts", "voice": "ash", "input": "Hi.", "response_format": "pcm", "stream_format": "sse"}},
		"own server": {TTSOptions{BaseURL: "http://kokoro.test/v1", Model: "kokoro", Voice: "af", Format: "wav"}, "http://kokoro.test/v1/audio/speech", map[string]any{"model": "kokoro", "voice": "af", "input": "Hi.", "response_format": "wav", "stream_format": "sse"}},
	} {
		t.Run(name, func(t *testing.T) {
			net := &canned{contentType: "audio/pcm"}
			speaking(t, net, c.o)
			if got := net.fields(t); net.request.URL.String() != c.url || !reflect.DeepEqual(got, c.want) {
				t.Fatalf("%s %v", net.request.URL, got)
			}
		})
	}
	for want, o := range map[string]TTSOptions{
		"OPENAI_API_KEY": {}, "GROQ_API_KEY": {Service: Groq}, "TTSOptions.Model": {Service: Together, APIKey: "k"},
		"TTSOptions.Voice": {Service: Together, APIKey: "k", Model: "m"}, "TTSOptions.Format": {APIKey: "k", Format: "mp3"},
	} {
		if _, err := newTTS(&o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
	d, err := newTTS(&TTSOptions{Service: Groq, APIKey: "k"})
	if err != nil || d.Capabilities().SampleRate != 48000 || d.Info() != (model.Info{Label: "openai.TTS", Provider: "groq", Model: "canopylabs/orpheus-v1-english"}) {
		t.Fatalf("%+v, %v", d, err)
	}
}

func FuzzSpeech(f *testing.F) {
	f.Add("audio/wav", wire.WAV(audio.Frame{Data: []int16{1, 2, 3, 4}, Rate: 16000, Channels: 2}))
	f.Add("text/event-stream", []byte(events(pcmDelta("audio", 1, 0, 2), `{"type":"speech.audio.done","usage":{"input_tokens":-3}}`)))
	f.Add("audio/l16;rate=1e9", []byte{1, 2, 3})
	f.Fuzz(func(t *testing.T, kind string, b []byte) {
		h := speaking(t, &canned{contentType: kind, body: string(b)}, TTSOptions{})
		if len(h.data) > len(b)/2 {
			t.Fatalf("%d bytes became %d samples", len(b), len(h.data))
		}
	})
}
