// Package resemblebox is the sandbox of Resemble AI's protocol.
package resemblebox

import (
	"slices"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/gorilla/websocket"

	"github.com/parley-go/parley/internal/sandbox"
	"github.com/parley-go/parley/metrics"
)

// MaxText is how many characters a text may have.
const MaxText = 3000

// Options say how the provider behaves.
type Options struct {
	// Header puts the header of a WAV file before the audio although none is wanted.
	Header []byte
}

// request is what clients send.
type request struct {
	VoiceUUID   string `json:"voice_uuid"`
	ProjectUUID string `json:"project_uuid"`
	Data        string `json:"data"`
	ID          *int64 `json:"request_id"`
	Model       string `json:"model"`
	Rate        int    `json:"sample_rate"`
	Precision   string `json:"precision"`
	Format      string `json:"output_format"`
	Binary      bool   `json:"binary_response"`
	NoHeader    bool   `json:"no_audio_header"`
}

// TTS serves the websocket /stream. It accepts any client, and says to its first message that the key is wrong.
func TTS(s *sandbox.Server, o Options) {
	s.HandleSocket("/stream", func(c *sandbox.Call, ws *sandbox.Socket) {
		n := &connection{c: c, ws: ws, o: o}
		if c.R.Header.Get("Authorization") != "Bearer "+c.Key {
			_, _, _ = ws.Read()
			n.refuse(nil, 401, "ConnectionFailure", "Failed to establish a connection.")
			ws.Close(websocket.ClosePolicyViolation, "")
			return
		}
		n.serve()
	}, func(*sandbox.Call) bool { return true })
}

// connection says one text at a time.
type connection struct {
	c  *sandbox.Call
	ws *sandbox.Socket
	o  Options

	mu     sync.Mutex
	speaks bool
}

func (n *connection) serve() {
	in := n.ws.Inbox(func(binary bool, data []byte) {
		var r request
		if binary || sandbox.Strict(data, &r) != nil {
			return
		}
		e := &metrics.TTS{CharactersCount: int64(utf8.RuneCountInString(r.Data))}
		e.Metadata = metrics.Metadata{ModelName: r.name(), ModelProvider: "resemble"}
		n.c.Ledger.Bill(e)
	})
	for {
		binary, data, err := in.Next(0)
		if err != nil {
			return
		}
		var r request
		if binary || sandbox.Strict(data, &r) != nil {
			n.refuse(nil, 400, "BadJSON", "Invalid JSON")
			continue
		}
		if why := r.wrong(); why != "" {
			n.refuse(r.ID, 400, "BadJSON", "Invalid JSON: "+why)
			continue
		}
		n.speak(&r)
	}
}

func (r *request) name() string {
	if r.Model == "" {
		return "unknown"
	}
	return r.Model
}

// wrong says what the provider does not take, or this sandbox does not make.
func (r *request) wrong() string {
	switch {
	case r.VoiceUUID == "":
		return "Provide a voice in the 'voice_uuid' field"
	case r.Data == "":
		return "Provide your query to synthesize as text or SSML in the 'data' field"
	case utf8.RuneCountInString(r.Data) > MaxText:
		return "The 'data' field is too long"
	case !slices.Contains([]string{"", "chatterbox", "chatterbox-turbo"}, r.Model):
		return "Unknown model"
	case !slices.Contains([]int{8000, 16000, 22050, 32000, 44100}, r.Rate):
		return "Invalid sample_rate"
	case r.Precision != "PCM_16" || r.Format != "wav" || r.Binary || !r.NoHeader || r.ID == nil:
		return "Not made here"
	}
	return ""
}

func (n *connection) refuse(id *int64, status int, name, message string) {
	_ = n.ws.Send(map[string]any{
		"type": "error", "success": false, "error_name": name, "message": message, "status_code": status, "request_id": id,
	}, false)
}

// speak says a text. Audio is cut where it happens to be, not between samples.
func (n *connection) speak(r *request) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.speaks {
		n.refuse(r.ID, 400, "Busy", "a text at a time: the real one would hold this one back")
		return
	}
	n.speaks = true
	head := n.o.Header
	sp := n.ws.Speak(sandbox.SpeechOptions{
		Rate: r.Rate,
		Word: func(w string, pcm []byte, _, _ time.Duration) error {
			cut := len(pcm)/3 | 1
			for _, part := range [][]byte{head, pcm[:cut], pcm[cut:]} {
				if len(part) == 0 {
					continue
				}
				if err := n.ws.Send(map[string]any{"type": "audio", "audio_content": part, "sample_rate": r.Rate, "request_id": r.ID}, true); err != nil {
					return err
				}
			}
			head = nil
			return nil
		},
		Done: func() { _ = n.ws.Send(map[string]any{"type": "audio_end", "request_id": r.ID}, false) },
		Over: func() {
			n.mu.Lock()
			n.speaks = false
			n.mu.Unlock()
		},
	})
	sp.Say(r.Data)
	sp.End()
}
