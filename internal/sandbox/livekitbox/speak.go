package livekitbox

import (
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/parley-go/parley/internal/sandbox"
	"github.com/parley-go/parley/metrics"
)

// TTSOptions say how the gateway behaves.
type TTSOptions struct {
	// Generation is after how many words a generation of a speech ends, with a message as at the end; 0 for
	// one generation. Gap is how long it takes to the next.
	Generation int
	Gap        time.Duration
	// Letters sends the times of letters rather than those of words.
	Letters bool
	// OnCreate is told what a session is made with.
	OnCreate func(CreateTTS)
}

// CreateTTS is the first message of a session.
type CreateTTS struct {
	Type       string         `json:"type"`
	Model      string         `json:"model"`
	Voice      string         `json:"voice"`
	Language   string         `json:"language"`
	Rate       string         `json:"sample_rate"`
	Encoding   string         `json:"encoding"`
	Extra      map[string]any `json:"extra"`
	Fallback   *standby       `json:"fallback"`
	Connection *upstream      `json:"connection"`
}

// text is any other message.
type text struct {
	Type       string `json:"type"`
	Transcript string `json:"transcript"`
	Generation *struct {
		Voice    string `json:"voice"`
		Model    string `json:"model"`
		Language string `json:"language"`
	} `json:"generation_config"`
	Extra map[string]any `json:"extra"`
}

// TTS serves the websocket /v1/tts.
func (g *Gateway) TTS(o TTSOptions) {
	g.s.HandleSocket("/v1/tts", func(c *sandbox.Call, ws *sandbox.Socket) {
		(&speaker{c: c, ws: ws, o: o}).serve()
	}, g.dialled)
}

// speaker is one session, which says one speech after the other.
type speaker struct {
	c      *sandbox.Call
	ws     *sandbox.Socket
	o      TTSOptions
	create CreateTTS
	id     string
	rate   int

	mu      sync.Mutex
	sp      *sandbox.Speech // nil between speeches
	flushed bool
	words   int // of the speech
}

func (s *speaker) serve() {
	s.id = s.c.R.Header.Get("X-LiveKit-Session-ID")
	between := 0 // white space between the text before and the next
	in := s.ws.Inbox(func(_ bool, data []byte) {
		var m text
		if sandbox.Strict(data, &m) != nil || m.Type != "input_transcript" {
			between = 0
			return
		}
		e := &metrics.TTS{CharactersCount: int64(between + utf8.RuneCountInString(strings.TrimSuffix(m.Transcript, " ")))}
		between = 1
		e.Metadata = metrics.Metadata{ModelName: s.c.R.URL.Query().Get("model"), ModelProvider: "livekit"}
		s.c.Ledger.Bill(e)
	})
	for {
		binary, data, err := in.Next(0)
		if err != nil {
			return
		}
		why := "binary message"
		switch {
		case binary:
		case s.create.Type == "":
			why = s.begin(data)
		default:
			why = s.obey(data)
		}
		if why != "" {
			_ = s.ws.Send(problem(400, why), false)
			s.ws.Close(1000, "")
			return
		}
	}
}

func (s *speaker) begin(data []byte) string {
	if sandbox.Strict(data, &s.create) != nil || s.create.Type != "session.create" {
		return "want session.create"
	}
	m := s.create
	s.rate, _ = strconv.Atoi(m.Rate)
	switch {
	case s.rate < 8000 || m.Encoding != "pcm_s16le" || m.Extra == nil:
		return "bad settings"
	case m.Model != s.c.R.URL.Query().Get("model"):
		return "another model than in the query"
	}
	if why := names(m.Model, m.Fallback, m.Connection, true); why != "" {
		return why
	}
	if s.o.OnCreate != nil {
		s.o.OnCreate(m)
	}
	s.note("session.created")
	return ""
}

func (s *speaker) note(kind string) {
	_ = s.ws.Send(map[string]any{"type": kind, "session_id": s.id}, false)
}

func (s *speaker) obey(data []byte) string {
	var m text
	if sandbox.Strict(data, &m) != nil {
		return "message cannot be read"
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch m.Type {
	case "input_transcript":
		g := m.Generation
		switch {
		case s.flushed:
			return "a speech after the other: the real one would hold this one back"
		case g == nil || m.Extra == nil || g.Model != s.create.Model || g.Voice != s.create.Voice || g.Language != s.create.Language:
			return "another voice than that of the session"
		case strings.TrimSpace(m.Transcript)+" " != m.Transcript:
			return "want one space behind a sentence"
		}
		if s.sp == nil {
			s.sp = s.ws.Speak(sandbox.SpeechOptions{Rate: s.rate, Word: s.say, Done: func() { s.note("done") }, Over: s.over})
		}
		s.sp.Say(m.Transcript)
	case "session.flush":
		if s.sp == nil || s.flushed {
			return "nothing to flush"
		}
		s.flushed = true
		s.sp.End()
	case "session.close":
		s.note("session.closed")
		s.ws.Close(1000, "")
	default:
		return "bad " + m.Type
	}
	return ""
}

func (s *speaker) over() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sp, s.flushed, s.words = nil, false, 0
}

// say sends the audio of a word, cut in the middle of a sample, and its times.
func (s *speaker) say(w string, pcm []byte, from, to time.Duration) error {
	if s.o.Generation > 0 && s.words > 0 && s.words%s.o.Generation == 0 {
		s.note("done")
		if !s.c.Pace(s.o.Gap) {
			return sandbox.ErrOver
		}
	}
	s.words++
	cut := len(pcm)/3 | 1
	for _, part := range [][]byte{pcm[:cut], pcm[cut:]} {
		if err := s.ws.Send(map[string]any{"type": "output_audio", "session_id": s.id, "audio": part}, true); err != nil {
			return err
		}
	}
	times := map[string]any{"type": "output_alignment", "session_id": s.id}
	if s.o.Letters {
		times["chars"] = letters(w+" ", from, to)
	} else {
		times["words"] = []any{map[string]any{"word": w, "start": from.Seconds(), "end": to.Seconds()}}
	}
	return s.ws.Send(times, false)
}

// letters spreads a word over its time.
func letters(w string, from, to time.Duration) (list []any) {
	n := time.Duration(utf8.RuneCountInString(w))
	for i, r := range []rune(w) {
		at := func(i int) float64 { return (from + (to-from)*time.Duration(i)/n).Seconds() }
		list = append(list, map[string]any{"char": string(r), "start": at(i), "end": at(i + 1)})
	}
	return list
}
