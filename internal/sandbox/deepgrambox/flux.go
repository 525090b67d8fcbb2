package deepgrambox

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/internal/sandbox"
	"github.com/parley-go/parley/model/fault"
)

var fluxQuery = []string{
	"model", "sample_rate", "encoding", "mip_opt_out", "eager_eot_threshold", "eot_threshold", "eot_timeout_ms", "keyterm",
	"language_hint", "tag",
}

// Flux serves the websocket /v2/listen.
func Flux(s *sandbox.Server) {
	s.Errors(refusal)
	s.HandleSocket("/v2/listen", func(c *sandbox.Call, ws *sandbox.Socket) {
		q := c.R.URL.Query()
		r, _ := rate(q)
		f := &fluxer{c: c, ws: ws, ear: sandbox.Ear{Rate: r}, model: q.Get("model"), eager: q.Has("eager_eot_threshold")}
		f.serve()
	}, func(c *sandbox.Call) bool {
		if !c.Authorized("Authorization", "Token ") || !known(c, fluxQuery...) || !booleans(c, "mip_opt_out") {
			return false
		}
		q := c.R.URL.Query()
		_, err := rate(q)
		switch {
		case !slices.Contains([]string{"flux-general-en", "flux-general-multi"}, q.Get("model")):
			c.Refuse(400, "no such model")
		case err != nil:
			c.Refuse(400, err.Error())
		case q.Has("language_hint") && !strings.HasSuffix(q.Get("model"), "-multi"):
			c.Refuse(400, "language_hint is for flux-general-multi")
		case !within(q.Get("eot_threshold"), 0.5, 1) || !within(q.Get("eager_eot_threshold"), 0.3, 0.9) || !within(q.Get("eot_timeout_ms"), 500, 60000):
			c.Refuse(400, "parameter out of range")
		default:
			return true
		}
		return false
	})
}

func within(v string, low, high float64) bool {
	x, err := strconv.ParseFloat(v, 64)
	return v == "" || err == nil && x >= low && x <= high
}

// fluxer is one stream of Flux.
type fluxer struct {
	c        *sandbox.Call
	ws       *sandbox.Socket
	ear      sandbox.Ear
	model    string
	eager    bool
	fault    fault.Kind
	sequence int
	turn     int
	from     time.Duration // of the turn
}

func (f *fluxer) serve() {
	k, end := f.ws.Stream()
	defer end()
	f.fault = k
	in := f.ws.Inbox(func(binary bool, data []byte) {
		if binary {
			bill(f.c, f.model, audio.Samples(len(data)/2).At(f.ear.Rate))
		}
	})
	_ = f.ws.Send(map[string]any{"type": "Connected", "request_id": requestID, "sequence_id": 0}, false)
	for {
		binary, data, err := in.Next(0)
		if err != nil {
			return
		}
		if binary {
			err = f.tell(f.ear.Hear(data))
		} else {
			err = f.obey(data)
		}
		if err != nil {
			f.ws.Hang()
			return
		}
	}
}

// obey does what a text message says.
func (f *fluxer) obey(data []byte) error {
	var m struct {
		Type string `json:"type"`
	}
	if sandbox.Strict(data, &m) != nil {
		return f.refuse("UNPARSABLE_CLIENT_MESSAGE")
	}
	switch m.Type {
	case "ForceEndTurn":
		return f.tell(f.ear.Finish())
	case "CloseStream": // what is said in a turn that is not over comes as an update
		if h := f.ear.Finish(); len(h) > 0 {
			if err := f.info("Update", h[0]); err != nil {
				return err
			}
		}
		f.ws.Close(1000, "")
		return sandbox.ErrOver
	}
	return f.refuse("UNPARSABLE_CLIENT_MESSAGE")
}

func (f *fluxer) refuse(code string) error {
	_ = f.ws.Send(map[string]any{"type": "Error", "sequence_id": f.sequence, "code": code, "description": "the message cannot be read"}, false)
	f.ws.Close(1008, "")
	return sandbox.ErrOver
}

// tell sends what the ear noticed.
func (f *fluxer) tell(heard []sandbox.Heard) error {
	for _, h := range heard {
		events := []string{"Update"}
		switch h.Kind {
		case sandbox.Began:
			f.from = h.Start
			events = []string{"StartOfTurn"}
		case sandbox.Ended:
			events = []string{"EndOfTurn"}
			if f.eager {
				events = []string{"EagerEndOfTurn", "TurnResumed", "EagerEndOfTurn", "EndOfTurn"}
			}
		}
		for _, e := range events {
			if err := f.info(e, h); err != nil {
				return err
			}
		}
	}
	return nil
}

func (f *fluxer) info(event string, h sandbox.Heard) error {
	words := []map[string]any{}
	for _, w := range h.Words {
		words = append(words, map[string]any{"word": w.Text, "confidence": 0.9, "start": round(w.Start), "end": round(w.End)})
	}
	f.sequence++
	m := map[string]any{
		"type": "TurnInfo", "event": event, "request_id": requestID, "sequence_id": f.sequence, "turn_index": f.turn,
		"audio_window_start": round(f.from), "audio_window_end": round(max(f.ear.At(), h.End)), "transcript": h.Transcript(), "words": words,
		"end_of_turn_confidence": 0.5,
	}
	if strings.HasSuffix(f.model, "-multi") {
		m["languages"] = []string{"es", "en"}
	}
	err := f.ws.Send(m, len(words) > 0)
	if event == "EndOfTurn" && err == nil {
		f.turn++
		if f.fault == fault.DoubleFinal {
			err = f.ws.Send(m, false)
		}
	}
	return err
}
