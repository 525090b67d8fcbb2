package sarvambox

import (
	"encoding/json"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/internal/sandbox"
	"github.com/parley-go/parley/internal/wire"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model/fault"
)

// maxRecording is how long a recording may be.
const maxRecording = 30 * time.Second

// Transcribe serves POST /speech-to-text.
func Transcribe(s *sandbox.Server) {
	s.Errors(refusal)
	s.Handle("POST /speech-to-text", record)
}

func record(c *sandbox.Call) {
	if !c.Authorized("Api-Subscription-Key", "") {
		return
	}
	if err := c.R.ParseMultipartForm(32 << 20); err != nil {
		c.Refuse(400, "no form")
		return
	}
	defer c.R.MultipartForm.RemoveAll()
	form := c.R.MultipartForm.Value
	field := func(name string) string { return strings.Join(form[name], ",") }
	for name := range form {
		if !slices.Contains([]string{"model", "language_code", "mode"}, name) {
			c.Refuse(400, "unknown field "+name)
			return
		}
	}
	modes := []string{"", "transcribe", "translate", "verbatim", "translit", "codemix"}
	switch {
	case !strings.HasPrefix(field("model"), "saaras:") && !strings.HasPrefix(field("model"), "saarika:"):
		c.Refuse(400, "no such model")
	case field("language_code") != "unknown" && !known(field("language_code")):
		c.Refuse(400, "no such language_code")
	case !slices.Contains(modes, field("mode")) || field("mode") != "" && strings.HasPrefix(field("model"), "saarika:"):
		c.Refuse(400, "no such mode")
	case len(c.R.MultipartForm.File["file"]) != 1:
		c.Refuse(400, "no file")
	default:
		transcribe(c, field("model"), field("language_code"))
	}
}

func transcribe(c *sandbox.Call, model, language string) {
	file, err := c.R.MultipartForm.File["file"][0].Open()
	if err != nil {
		c.Refuse(500, "no file")
		return
	}
	defer file.Close()
	f, err := audio.ReadWAV(io.LimitReader(file, 32<<20))
	if err != nil || f.Duration() > maxRecording {
		c.Refuse(400, "bad audio")
		return
	}
	ear := sandbox.Ear{Rate: f.Rate}
	said := ""
	for _, h := range append(ear.Hear(wire.AppendPCM(nil, f.Data)), ear.Finish()...) {
		if h.Kind == sandbox.Ended {
			said = h.Transcript()
		}
	}
	if language == "unknown" {
		language = "en-IN"
	}
	body, err := json.Marshal(map[string]any{"request_id": requestID, "transcript": said, "language_code": language, "language_probability": 0.9, "diarized_transcript": nil})
	if err != nil {
		panic(err) // of our own types
	}
	switch c.Fault {
	case fault.Malformed:
		body = body[:len(body)/2]
	case fault.Oversized:
		body = make([]byte, 40<<20)
	}
	s := c.Stream("application/json")
	third := len(body) / 3
	if s.Piece(body[:third]) && s.Piece(body[third:2*third]) && s.Piece(body[2*third:]) &&
		c.Fault != fault.Malformed && c.Fault != fault.Oversized {
		e := &metrics.STT{AudioDuration: f.Duration()}
		e.Metadata = metrics.Metadata{ModelName: model, ModelProvider: "sarvam"}
		c.Ledger.Bill(e)
	}
}
