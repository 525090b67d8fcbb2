// Package nvidiabox stands in for a server of NVIDIA's PersonaPlex.
package nvidiabox

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gorilla/websocket"
	"github.com/parley-go/parley/audio/opus"
	"github.com/parley-go/parley/internal/ogg"
	"github.com/parley-go/parley/internal/sandbox"
	"github.com/parley-go/parley/internal/wire"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model/fault"
)

// ConverseOptions are the options of Converse.
type ConverseOptions struct {
	sandbox.Talk
	Voices []string // file names; default NATF2.pt and NATM1.pt
	// Asked, if set, gets the query of every connection.
	Asked func(url.Values)
	// Last is sent as the server's error when the user has said something, and ends the connection; "" for none.
	Last string
}

const (
	// step is the audio that the model takes and gives at once, 80 ms.
	step = 4 * opus.FrameSamples
	// maxLine is how long the line of a request may be.
	maxLine = 8190
)

// Converse serves the websocket {prefix}/api/chat, of which one at a time is a conversation: the others wait. A
// gateway before it wants the key as a bearer token.
func Converse(s *sandbox.Server, prefix string, o ConverseOptions) {
	o.Talk = o.Talk.Defaults()
	if o.Voices == nil {
		o.Voices = []string{"NATF2.pt", "NATM1.pt"}
	}
	model := make(chan struct{}, 1) // held by the conversation
	s.HandleSocket(prefix+"/api/chat", func(c *sandbox.Call, ws *sandbox.Socket) {
		began := time.Now()
		q := c.R.URL.Query()
		if o.Asked != nil {
			o.Asked(q)
		}
		if !slices.Contains(o.Voices, q.Get("voice_prompt")) {
			ws.Close(websocket.CloseInternalServerErr, "")
			return
		}
		in := ws.Inbox(func(bool, []byte) {})
		select {
		case model <- struct{}{}:
			defer func() { <-model }()
		case <-ws.Context().Done():
			return
		}
		t := &converser{o: o, c: c, ws: ws, prompt: q.Get("text_prompt"), began: began}
		t.ear = sandbox.Ear{Rate: opus.Rate, Text: o.Ear, Understand: c.Understand}
		t.serve(in)
	}, func(c *sandbox.Call) bool {
		q := c.R.URL.Query()
		_, err := strconv.ParseInt(q.Get("seed"), 10, 64)
		switch {
		case !c.Authorized("Authorization", "Bearer "):
			return false
		case len(c.R.RequestURI)+len("GET  HTTP/1.1") > maxLine:
			c.Refuse(http.StatusBadRequest, "line is too long")
		case !q.Has("voice_prompt") || !q.Has("text_prompt") || q.Has("seed") && err != nil:
			c.Refuse(http.StatusInternalServerError, "invalid query")
		default:
			return true
		}
		return false
	})
}

// converser is one conversation. All of it belongs to one goroutine.
type converser struct {
	o      ConverseOptions
	c      *sandbox.Call
	ws     *sandbox.Socket
	prompt string
	began  time.Time
	turns  []sandbox.Turn

	pages ogg.Reader
	dec   opus.Decoder
	heard []int16 // less than a step
	ear   sandbox.Ear

	enc opus.Encoder
	pen ogg.Writer

	words  []string // of the answer that are not said yet
	pieces [][]byte // their sound
	said   []string
	sound  []int16 // of the present word
	end    func()  // of the answer; nil between answers
}

func (t *converser) serve(in *sandbox.Inbox) {
	var err error
	if t.dec, err = opus.NewDecoder(1); err != nil {
		return
	}
	defer t.dec.Close()
	if t.enc, err = opus.NewEncoder(opus.EncoderConfig{Bitrate: 32000, Effort: 1}); err != nil {
		return
	}
	defer t.enc.Close()
	end := t.c.Begin() // open until it is billed
	defer end()
	defer func() {
		t.over()
		e := &metrics.Realtime{SessionDuration: time.Since(t.began)}
		e.Metadata = metrics.Metadata{ModelName: "personaplex-7b", ModelProvider: "nvidia"}
		t.c.Ledger.Bill(e)
	}()
	if t.ws.NoteBinary([]byte{0}) != nil {
		return
	}
	for {
		binary, data, err := in.Next(0)
		if err != nil {
			return
		}
		if !binary || len(data) < 2 || data[0] != 1 || !t.take(data[1:]) {
			t.ws.Hang()
			t.ws.Close(websocket.CloseProtocolError, "")
			return
		}
	}
}

// take takes audio, and answers it with as much audio; false when the conversation is over.
func (t *converser) take(pages []byte) bool {
	t.pages.Write(pages)
	pcm := make([]int16, opus.MaxSamples)
	for {
		p, err := t.pages.Next()
		if err != nil {
			return false
		}
		if p == nil {
			return true
		}
		n, err := t.dec.Decode(pcm, p)
		if err != nil {
			return false
		}
		t.heard = append(t.heard, pcm[:n]...)
		for ; len(t.heard) >= step; t.heard = t.heard[step:] {
			if !t.listen(t.heard[:step]) || !t.speak() {
				return false
			}
		}
	}
}

// listen hears a step of audio.
func (t *converser) listen(pcm []int16) bool {
	for _, h := range t.ear.Hear(wire.AppendPCM(nil, pcm)) {
		switch h.Kind {
		case sandbox.Began:
			t.over() // it lets itself be interrupted
		case sandbox.Ended:
			if t.o.Last != "" {
				_ = t.ws.NoteBinary(append([]byte{5}, t.o.Last...))
				return false
			}
			t.turns = append(t.turns, sandbox.Turn{Role: "user", Text: h.Transcript()})
			f, end := t.ws.Stream()
			t.end = end
			if f != fault.Empty {
				text := t.o.Answer(sandbox.TalkRequest{Instructions: t.prompt, Turns: t.turns}).Text
				t.words, t.pieces = strings.Fields(text), t.o.Speak(text, opus.Rate)
			}
		}
	}
	return true
}

// over ends the answer, if there is one.
func (t *converser) over() {
	if t.end == nil {
		return
	}
	t.end()
	t.end = nil
	t.turns = append(t.turns, sandbox.Turn{Role: "assistant", Text: strings.Join(t.said, " ")})
	t.words, t.pieces, t.said, t.sound = nil, nil, nil, nil
}

// speak gives a step of audio, which is silence when there is nothing to say; false when nobody takes it.
func (t *converser) speak() bool {
	answering := t.end != nil
	for answering && len(t.sound) < step && len(t.words) > 0 {
		w, piece := t.words[0], t.pieces[0]
		t.words, t.pieces, t.said = t.words[1:], t.pieces[1:], append(t.said, w)
		if t.ws.SendBinary(append([]byte{2}, " "+w...)) != nil {
			return false
		}
		t.sound = wire.Samples(t.sound, piece)
	}
	pcm := make([]int16, step)
	t.sound = t.sound[copy(pcm, t.sound):]
	page, err := t.page(pcm)
	if err != nil {
		return false
	}
	send := t.ws.NoteBinary
	if answering {
		send = t.ws.SendBinary
	}
	if send(page) != nil {
		return false
	}
	if answering && len(t.words) == 0 && len(t.sound) == 0 {
		t.over()
	}
	return true
}

// page is a message with audio.
func (t *converser) page(pcm []int16) ([]byte, error) {
	var packets [][]byte
	for frame := range slices.Chunk(pcm, opus.FrameSamples) {
		p := make([]byte, opus.MaxBytes)
		n, err := t.enc.Encode(p, frame)
		if err != nil {
			return nil, err
		}
		packets = append(packets, p[:n])
	}
	return t.pen.Append([]byte{1}, packets...)
}
