package deepgram

import (
	"cmp"
	"context"
	"encoding/json"
	"io"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/internal/wire"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/tts"
	"github.com/parley-go/parley/tts/driver"
)

const (
	ttsRate = 24000
	// keepSocket is how long Deepgram keeps a websocket at most.
	keepSocket = time.Hour
	// maxText is how many characters a message may have; Deepgram takes 2000.
	maxText = 1500
)

// TTSOptions are the options of NewTTS. The zero value, or nil, takes the key from DEEPGRAM_API_KEY.
type TTSOptions struct {
	APIKey  string // default DEEPGRAM_API_KEY
	BaseURL string // default DEEPGRAM_BASE_URL, else https://api.deepgram.com
	Model   string // model, voice and language in one: default "aura-2-andromeda-en"
	Rate    int    // of the audio, Hz: 8000, 16000, 24000, 32000 or 48000; default 24000
	// NoTraining keeps the text out of Deepgram's model improvement program (mip_opt_out), which may
	// change the price.
	NoTraining bool
	// Front are retries and timeouts; nil for the defaults.
	Front *tts.ModelOptions
}

// NewTTS returns a model that speaks over a websocket, which it keeps for all its sessions. Close the
// model to close it. Deepgram takes 20 speeches a minute on a websocket. A missing key is an error that
// names the environment variable.
func NewTTS(o *TTSOptions) (*tts.Model, error) {
	d, err := newTTS(o)
	if err != nil {
		return nil, err
	}
	return tts.New(d, d.o.Front), nil
}

// synthesizer implements driver.TTS.
type synthesizer struct {
	service
	o    TTSOptions
	pool *wire.Pool
}

func newTTS(o *TTSOptions) (*synthesizer, error) {
	d := &synthesizer{}
	if o != nil {
		d.o = *o
	}
	d.o.Model = cmp.Or(d.o.Model, "aura-2-andromeda-en")
	d.o.Rate = cmp.Or(d.o.Rate, ttsRate)
	s, err := newService("TTSOptions", "deepgram.TTS", "tts", d.o.Model, d.o.APIKey, d.o.BaseURL)
	if err != nil {
		return nil, err
	}
	d.service = s
	address := wire.JoinSocket(d.base, "/v1/speak", url.Values{
		"encoding": {"linear16"}, "model": {d.o.Model}, "sample_rate": {strconv.Itoa(d.o.Rate)},
		"mip_opt_out": {strconv.FormatBool(d.o.NoTraining)},
	})
	d.pool = wire.NewPool(&d.Peer, wire.PoolOptions{
		Open: func(context.Context) (wire.SocketOptions, error) {
			return wire.SocketOptions{URL: address, Header: d.head, Goodbye: `{"type":"Close"}`, Reason: d.reason("speak")}, nil
		},
		MaxAge: keepSocket,
	})
	return d, nil
}

// Capabilities implements driver.TTS.
func (d *synthesizer) Capabilities() driver.Capabilities {
	return driver.Capabilities{SampleRate: d.o.Rate, Channels: 1}
}

// Prewarm opens a connection ahead of the first speech.
func (d *synthesizer) Prewarm(context.Context) { d.pool.Prewarm() }

// Close ends the connections.
func (d *synthesizer) Close(ctx context.Context) error { return d.pool.Close(ctx) }

// Open implements driver.Streamer.
func (d *synthesizer) Open(ctx context.Context) (driver.Stream, error) {
	l, err := d.pool.Acquire(ctx)
	if err != nil {
		return nil, err
	}
	return &segment{d: d, Lease: l, id: metrics.NewID("speak_")}, nil
}

// segment implements driver.Stream: what is said up to a Flush, on a connection that it has alone.
type segment struct {
	d *synthesizer
	*wire.Lease
	id    string
	text  string       // of a word that is not complete
	count atomic.Int64 // characters that were sent
	chunk driver.Chunk
	pcm   []int16
	odd   []byte // half a sample

	mu      sync.Mutex
	sent    bool // text
	flushed bool // Flush is out
	done    bool // the provider said that it has finished
	over    bool // the lease has ended
}

// Push implements driver.Stream. Deepgram may take the end of a message for the end of a word, so
// only whole words are sent.
func (s *segment) Push(ctx context.Context, text string) error {
	text = s.text + text
	i := strings.LastIndexAny(text, " \n\t") + 1
	s.text = text[i:]
	return s.speak(ctx, text[:i])
}

// CloseSend implements driver.Stream.
func (s *segment) CloseSend(ctx context.Context) error {
	if err := s.speak(ctx, s.text); err != nil {
		return err
	}
	s.mu.Lock()
	s.sent, s.flushed = true, true
	s.mu.Unlock()
	return s.WriteText(ctx, []byte(`{"type":"Flush"}`))
}

func (s *segment) speak(ctx context.Context, text string) error {
	s.mu.Lock()
	s.sent = s.sent || text != ""
	s.mu.Unlock()
	for text != "" {
		piece := text
		if utf8.RuneCountInString(text) > maxText {
			piece = firstPart(text)
		}
		if err := s.WriteJSON(ctx, map[string]string{"type": "Speak", "text": piece}); err != nil {
			return err
		}
		s.count.Add(int64(utf8.RuneCountInString(piece)))
		text = text[len(piece):]
	}
	return nil
}

// Sent implements driver.Counter.
func (s *segment) Sent() int64 { return s.count.Load() }

// firstPart is what fits into a message, up to the end of a word if there is one.
func firstPart(text string) string {
	n := 0
	for i := range text {
		if n++; n > maxText {
			text = text[:i]
			break
		}
	}
	if i := strings.LastIndexAny(text, " \n\t"); i > 0 {
		return text[:i+1]
	}
	return text
}

// notice is a message of the provider that is no audio.
type notice struct {
	Type     string `json:"type"`
	WarnCode string `json:"warn_code"`
	WarnMsg  string `json:"warn_msg"`
	failure
}

// Next implements driver.AudioStream.
func (s *segment) Next(ctx context.Context) (*driver.Chunk, error) {
	for {
		m, err := s.Read(ctx)
		if err != nil {
			return nil, err
		}
		if m.Binary {
			if s.samples(m.Data); len(s.pcm) == 0 {
				continue
			}
			s.chunk = driver.Chunk{RequestID: s.id, Frame: audio.Frame{Data: s.pcm, Rate: s.d.o.Rate, Channels: 1}}
			return &s.chunk, nil
		}
		if over, err := s.heed(m.Data); over || err != nil {
			if err == nil {
				err = io.EOF
			}
			return nil, err
		}
	}
}

// samples takes audio, whose messages need not end with a sample.
func (s *segment) samples(b []byte) {
	if len(s.odd) > 0 {
		b = append(s.odd, b...)
	}
	s.pcm = wire.Samples(s.pcm[:0], b)
	s.odd = append([]byte(nil), b[len(b)/2*2:]...)
}

// heed takes a message that is no audio; over says that all audio has come.
func (s *segment) heed(data []byte) (over bool, err error) {
	var n notice
	if err := json.Unmarshal(data, &n); err != nil {
		return false, s.d.Protocol("speak", "message cannot be read: %v", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch n.Type {
	case "Flushed":
		s.done = s.flushed // else of somebody before
		return s.done, nil
	case "Warning":
		if s.flushed && strings.Contains(n.WarnCode, "FLUSH") { // too many: the audio will not come
			return false, s.d.Protocol("speak", "%s: %s", n.WarnCode, n.WarnMsg)
		}
	}
	return false, n.err(&s.d.Peer, "speak", n.Type)
}

// Close implements driver.AudioStream. Answers do not name their speech, so that a connection with one
// that is not over is replaced.
func (s *segment) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return nil
	}
	s.over = true
	switch {
	case s.Broken():
		s.Discard()
	case s.sent && !s.done:
		s.d.pool.Replace(s.Lease)
	default:
		s.Release()
	}
	return nil
}
