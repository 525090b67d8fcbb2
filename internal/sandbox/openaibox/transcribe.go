package openaibox

import (
	"encoding/json"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/internal/sandbox"
	"github.com/parley-go/parley/internal/wire"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model/fault"
)

// TranscribeOptions are the options of Transcribe and Realtime.
type TranscribeOptions struct {
	Provider string // in the ledger; default "openai"
	// Seen, if set, gets the fields of each form, or the configuration of each session.
	Seen func(fields map[string]any)
}

func (o *TranscribeOptions) bill(c *sandbox.Call, name string, d time.Duration, in, out int64) {
	e := &metrics.STT{AudioDuration: d, InputTokens: in, OutputTokens: out}
	e.Metadata = metrics.Metadata{ModelName: name, ModelProvider: o.Provider}
	c.Ledger.Bill(e)
}

var formFields = []string{"file", "model", "language", "prompt", "temperature", "response_format", "timestamp_granularities[]"}

// Transcribe serves POST {prefix}/audio/transcriptions.
func Transcribe(s *sandbox.Server, prefix string, o TranscribeOptions) {
	if o.Provider == "" {
		o.Provider = "openai"
	}
	s.HandlePlain("GET "+prefix+"/models", models)
	s.Handle("POST "+prefix+"/audio/transcriptions", func(c *sandbox.Call) {
		if !c.Authorized("Authorization", "Bearer ") {
			return
		}
		fields, f, problem := form(c.R)
		if problem != "" {
			c.Refuse(400, problem)
			return
		}
		if o.Seen != nil {
			o.Seen(fields)
		}
		ear := sandbox.Ear{Rate: f.Rate}
		var said sandbox.Heard
		for _, h := range append(ear.Hear(wire.AppendPCM(nil, f.Data)), ear.Finish()...) {
			if h.Kind == sandbox.Ended {
				said = h
			}
		}
		o.answer(c, fields, f, said)
	})
}

// form reads a request strictly.
func form(r *http.Request) (fields map[string]any, f audio.Frame, problem string) {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "multipart/form-data" {
		return nil, f, "not a form"
	}
	if err := r.ParseMultipartForm(32 << 20); err != nil {
		return nil, f, err.Error()
	}
	fields = map[string]any{}
	for k, vs := range r.MultipartForm.Value {
		if !slices.Contains(formFields, k) || len(vs) != 1 || vs[0] == "" {
			return nil, f, "unknown or empty field " + k
		}
		fields[k] = vs[0]
	}
	name, _ := fields["model"].(string)
	verbose := fields["response_format"] == "verbose_json"
	switch {
	case name == "":
		return nil, f, "missing required parameter: 'model'"
	case verbose && !strings.Contains(name, "whisper"):
		return nil, f, "response_format 'verbose_json' is not compatible with model '" + name + "'"
	case fields["timestamp_granularities[]"] != nil && !verbose:
		return nil, f, "timestamp_granularities needs verbose_json"
	case len(r.MultipartForm.File["file"]) != 1 || !strings.HasSuffix(r.MultipartForm.File["file"][0].Filename, ".wav"):
		return nil, f, "missing required parameter: 'file'"
	}
	file, err := r.MultipartForm.File["file"][0].Open()
	if err != nil {
		return nil, f, err.Error()
	}
	defer file.Close()
	if f, err = audio.ReadWAV(io.LimitReader(file, 25<<20)); err != nil {
		return nil, f, "audio file might be corrupted or unsupported"
	}
	return fields, f, ""
}

// answer sends the result in pieces.
func (o *TranscribeOptions) answer(c *sandbox.Call, fields map[string]any, f audio.Frame, said sandbox.Heard) {
	v := map[string]any{"text": said.Transcript()}
	name, _ := fields["model"].(string)
	in, out := int64(f.Duration()/(100*time.Millisecond)), int64(len(said.Words))
	usage := map[string]any{"type": "tokens", "input_tokens": in, "output_tokens": out, "total_tokens": in + out}
	if fields["response_format"] == "verbose_json" {
		in, out = 0, 0
		usage = map[string]any{"type": "duration", "seconds": f.Duration().Seconds()}
		v["task"], v["language"], v["duration"], v["segments"] = "transcribe", "english", f.Duration().Seconds(), []any{}
		if len(said.Words) > 0 {
			v["segments"] = []any{map[string]any{"id": 0, "start": said.Start.Seconds(), "end": said.End.Seconds(), "text": said.Transcript()}}
		}
		if fields["timestamp_granularities[]"] == "word" {
			words := []any{}
			for _, w := range said.Words {
				words = append(words, map[string]any{"word": w.Text, "start": w.Start.Seconds(), "end": w.End.Seconds()})
			}
			v["words"] = words
		}
	}
	if c.Fault != fault.UsageMissing {
		v["usage"] = usage
	}
	body, err := json.Marshal(v)
	if err != nil {
		panic(err) // of our own types
	}
	switch c.Fault {
	case fault.Malformed:
		body = body[:len(body)/2]
	case fault.Oversized:
		body = make([]byte, 40<<20)
	}
	c.W.Header().Set("X-Request-Id", metrics.NewID("req_"))
	s := c.Stream("application/json")
	third := len(body) / 3
	if s.Piece(body[:third]) && s.Piece(body[third:2*third]) && s.Piece(body[2*third:]) && c.Fault != fault.Malformed && c.Fault != fault.Oversized {
		o.bill(c, name, f.Duration(), in, out)
	}
}
