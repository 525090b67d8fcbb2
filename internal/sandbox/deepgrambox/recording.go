package deepgrambox

import (
	"encoding/binary"
	"encoding/json"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/internal/sandbox"
	"github.com/parley-go/parley/model/fault"
)

// answer sends the result of a recording, in pieces.
func answer(c *sandbox.Call, f audio.Frame, said sandbox.Heard) {
	words := []map[string]any{}
	for _, w := range said.Words {
		words = append(words, map[string]any{"word": w.Text, "start": round(w.Start), "end": round(w.End), "confidence": 0.98})
	}
	channel := map[string]any{"alternatives": []any{map[string]any{"transcript": said.Transcript(), "confidence": 0.98, "words": words}}}
	if c.R.URL.Query().Get("detect_language") == "true" {
		channel["detected_language"] = "en"
	}
	meta := map[string]any{"request_id": requestID, "duration": f.Duration().Seconds(), "channels": 1}
	if c.Fault == fault.UsageMissing {
		delete(meta, "duration")
	}
	body, err := json.Marshal(map[string]any{"metadata": meta, "results": map[string]any{"channels": []any{channel}}})
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
		bill(c, c.R.URL.Query().Get("model"), f.Duration())
	}
}

func pcm(f audio.Frame) (b []byte) {
	for _, v := range f.Data {
		b = binary.LittleEndian.AppendUint16(b, uint16(v))
	}
	return b
}
