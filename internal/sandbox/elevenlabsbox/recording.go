package elevenlabsbox

import (
	"encoding/binary"
	"encoding/json"
	"io"
	"net/url"
	"slices"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/internal/sandbox"
	"github.com/parley-go/parley/model/fault"
)

// record transcribes a recording.
func record(c *sandbox.Call) {
	if !authorized(c) || !known(c, c.R.URL.Query(), []string{"enable_logging"}, nil) {
		return
	}
	if err := c.R.ParseMultipartForm(32 << 20); err != nil {
		c.Refuse(422, "the form cannot be read: "+err.Error())
		return
	}
	defer func() { _ = c.R.MultipartForm.RemoveAll() }()
	form := url.Values(c.R.MultipartForm.Value)
	if !known(c, form, []string{"tag_audio_events", "no_verbatim", "diarize"}, []string{"model_id", "language_code", "keyterms"}) {
		return
	}
	files := c.R.MultipartForm.File["file"]
	if len(files) != 1 || len(c.R.MultipartForm.File) != 1 || !slices.Contains([]string{"scribe_v1", "scribe_v2"}, form.Get("model_id")) {
		c.Refuse(422, "file or model_id is wrong")
		return
	}
	file, err := files[0].Open()
	if err != nil {
		c.Refuse(500, err.Error())
		return
	}
	defer file.Close()
	f, err := audio.ReadWAV(io.LimitReader(file, 32<<20))
	if err != nil {
		c.Refuse(400, "invalid_audio")
		return
	}
	answer(c, form, f)
}

// answer sends the result, in pieces.
func answer(c *sandbox.Call, form url.Values, f audio.Frame) {
	var pcm []byte
	for _, v := range f.Data {
		pcm = binary.LittleEndian.AppendUint16(pcm, uint16(v))
	}
	ear := sandbox.Ear{Rate: f.Rate}
	var said sandbox.Heard
	for _, h := range append(ear.Hear(pcm), ear.Finish()...) {
		if h.Kind == sandbox.Ended {
			said = h
		}
	}
	speaker, language := "", form.Get("language_code")
	if form.Get("diarize") == "true" {
		speaker = "speaker_0"
	}
	if language == "" {
		language = "eng"
	}
	body, err := json.Marshal(map[string]any{
		"text": said.Transcript(), "language_code": language, "language_probability": 0.99, "words": tokens(said, speaker), "transcription_id": "t-1",
	})
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
		bill(c, form.Get("model_id"), f.Duration())
	}
}
