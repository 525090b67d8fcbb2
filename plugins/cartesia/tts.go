package cartesia

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/internal/wire"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/opt"
	"github.com/parley-go/parley/tts"
	"github.com/parley-go/parley/tts/driver"
)

const (
	defaultBase  = "https://api.cartesia.ai"
	apiVersion   = "2025-04-16"
	keepSocket   = 300 * time.Second // idle connections are given up after that
	defaultModel = "sonic-3"
	defaultVoice = "f786b574-daa5-4673-aa0c-cbe3e8534c02"
	defaultRate  = 24000
)

// TTSOptions are the options of NewTTS. The zero value, or nil, takes the key from CARTESIA_API_KEY.
type TTSOptions struct {
	APIKey   string             // default CARTESIA_API_KEY
	BaseURL  string             // default CARTESIA_BASE_URL, else Cartesia's
	Model    string             // default sonic-3
	Voice    string             // id of a voice; default an English one
	Language string             // default "en"
	Rate     int                // of the audio, Hz; default 24000
	Speed    opt.Value[float64] // 0.6 to 1.5; unset: the voice's (sonic-3)
	Volume   opt.Value[float64] // 0.5 to 2; unset: the voice's (sonic-3)
	Emotion  string             // e.g. "happy" (sonic-3)
	// PronunciationDict is the id of a dictionary.
	PronunciationDict string
	// NoWords leaves out the times of words, by which transcripts follow the voice.
	NoWords bool
	// Front are retries and timeouts; nil for the defaults.
	Front *tts.ModelOptions
}

// NewTTS returns a model that speaks over a websocket, which it keeps for all its sessions. Close the
// model to close it. A missing key is an error that names the environment variable.
func NewTTS(o *TTSOptions) (*tts.Model, error) {
	d, err := newTTS(o)
	if err != nil {
		return nil, err
	}
	return tts.New(d, d.o.Front), nil
}

// synthesizer implements driver.TTS.
type synthesizer struct {
	o    TTSOptions
	http wire.Client
	base *url.URL
	head http.Header
	pool *wire.Pool
}

func newTTS(o *TTSOptions) (*synthesizer, error) {
	d := &synthesizer{}
	if o != nil {
		d.o = *o
	}
	key, err := wire.Key("cartesia", "TTSOptions.APIKey", d.o.APIKey, "CARTESIA_API_KEY")
	if err != nil {
		return nil, err
	}
	if d.base, err = wire.Base("cartesia", d.o.BaseURL, defaultBase, "CARTESIA_BASE_URL"); err != nil {
		return nil, err
	}
	for p, v := range map[*string]string{&d.o.Model: defaultModel, &d.o.Voice: defaultVoice, &d.o.Language: "en"} {
		if *p == "" {
			*p = v
		}
	}
	if d.o.Rate == 0 {
		d.o.Rate = defaultRate
	}
	d.head = http.Header{"X-Api-Key": {key}, "Cartesia-Version": {apiVersion}}
	d.http.Peer = wire.Peer{
		Info: model.Info{Label: "cartesia.TTS", Provider: "cartesia", Model: d.o.Model}, Kind: "tts", Secrets: []string{key},
	}
	address := wire.JoinSocket(d.base, "/tts/websocket", url.Values{"cartesia_version": {apiVersion}})
	d.pool = wire.NewPool(&d.http.Peer, wire.PoolOptions{
		Open: func(context.Context) (wire.SocketOptions, error) {
			return wire.SocketOptions{URL: address, Header: d.head}, nil
		},
		MaxIdle: keepSocket,
	})
	return d, nil
}

// Info implements driver.TTS.
func (d *synthesizer) Info() model.Info { return d.http.Info }

// Capabilities implements driver.TTS.
func (d *synthesizer) Capabilities() driver.Capabilities {
	return driver.Capabilities{AlignedTranscript: !d.o.NoWords, SampleRate: d.o.Rate, Channels: 1}
}

// Prewarm opens a connection ahead of the first speech.
func (d *synthesizer) Prewarm(context.Context) { d.pool.Prewarm() }

// Close ends the connections.
func (d *synthesizer) Close(ctx context.Context) error { return d.pool.Close(ctx) }

// packet is a request, or a piece of one.
type packet struct {
	Model      string      `json:"model_id"`
	Voice      voice       `json:"voice"`
	Format     format      `json:"output_format"`
	Language   string      `json:"language"`
	Dict       string      `json:"pronunciation_dict_id,omitempty"`
	Generation *generation `json:"generation_config,omitempty"`
	Transcript string      `json:"transcript"`
	ContextID  string      `json:"context_id,omitempty"`
	Continue   *bool       `json:"continue,omitempty"`
	Timestamps *bool       `json:"add_timestamps,omitempty"`
}

type voice struct {
	Mode string `json:"mode"`
	ID   string `json:"id"`
}

type format struct {
	Container string `json:"container"`
	Encoding  string `json:"encoding"`
	Rate      int    `json:"sample_rate"`
}

type generation struct {
	Speed   *float64 `json:"speed,omitempty"`
	Volume  *float64 `json:"volume,omitempty"`
	Emotion string   `json:"emotion,omitempty"`
}

func (d *synthesizer) packet(text string) packet {
	p := packet{
		Model: d.o.Model, Voice: voice{"id", d.o.Voice}, Format: format{"raw", "pcm_s16le", d.o.Rate},
		Language: d.o.Language, Dict: d.o.PronunciationDict, Transcript: text,
	}
	g := generation{Emotion: d.o.Emotion}
	if v, ok := d.o.Speed.Get(); ok {
		g.Speed = &v
	}
	if v, ok := d.o.Volume.Get(); ok {
		g.Volume = &v
	}
	if g != (generation{}) {
		p.Generation = &g
	}
	return p
}

// Open implements driver.Streamer.
func (d *synthesizer) Open(ctx context.Context) (driver.Stream, error) {
	l, err := d.pool.Acquire(ctx)
	if err != nil {
		return nil, err
	}
	return &segment{d: d, Lease: l, id: metrics.NewID("ctx_")}, nil
}

// segment implements driver.Stream: a context of the provider, on a connection that it has alone.
type segment struct {
	d *synthesizer
	*wire.Lease
	id    string
	chunk driver.Chunk
	pcm   []int16

	mu   sync.Mutex
	sent bool // text
	done bool // the provider said that it has finished
	over bool // the lease has ended
}

// Push implements driver.Stream.
func (s *segment) Push(ctx context.Context, text string) error { return s.send(ctx, text, true) }

// CloseSend implements driver.Stream.
func (s *segment) CloseSend(ctx context.Context) error { return s.send(ctx, "", false) }

func (s *segment) send(ctx context.Context, text string, more bool) error {
	p := s.d.packet(text)
	words := !s.d.o.NoWords
	p.ContextID, p.Continue, p.Timestamps = s.id, &more, &words
	s.mu.Lock()
	s.sent = true
	s.mu.Unlock()
	return s.WriteJSON(ctx, &p)
}

// reply is a message of the provider.
type reply struct {
	Type      string `json:"type"`
	ContextID string `json:"context_id"`
	Data      []byte `json:"data"`
	Words     *struct {
		Words []string  `json:"words"`
		Start []float64 `json:"start"`
		End   []float64 `json:"end"`
	} `json:"word_timestamps"`
	Status  int             `json:"status_code"`
	Error   json.RawMessage `json:"error"`
	Message string          `json:"message"`
}

// Next implements driver.AudioStream.
func (s *segment) Next(ctx context.Context) (*driver.Chunk, error) {
	for {
		var r reply
		if err := s.ReadJSON(ctx, &r); err != nil {
			return nil, err
		}
		if r.ContextID != "" && r.ContextID != s.id {
			continue // of a speech that was cancelled
		}
		s.chunk = driver.Chunk{RequestID: s.id}
		switch r.Type {
		case "chunk":
			s.pcm = wire.Samples(s.pcm[:0], r.Data)
			s.chunk.Frame = audio.Frame{Data: s.pcm, Rate: s.d.o.Rate, Channels: 1}
			return &s.chunk, nil
		case "timestamps":
			if r.Words == nil {
				continue
			}
			w := r.Words
			for i := range min(len(w.Words), len(w.Start), len(w.End)) {
				s.chunk.Words = append(s.chunk.Words, driver.Word{Text: w.Words[i], Start: seconds(w.Start[i]), End: seconds(w.End[i])})
			}
			return &s.chunk, nil
		case "done":
			s.mu.Lock()
			s.done = true
			s.mu.Unlock()
			return nil, io.EOF
		case "error":
			return nil, s.refused(r)
		}
	}
}

// refused is the error that the provider states for this speech.
func (s *segment) refused(r reply) error {
	text := r.Message
	if len(r.Error) > 0 {
		text = wire.Explain(r.Error)
	}
	if r.Status == 0 {
		return s.d.http.Protocol("speak", "%s", text)
	}
	return s.d.http.Status("speak", r.Status, text)
}

// Close implements driver.AudioStream. A speech that is not over is cancelled; its connection stays,
// since answers name their context.
func (s *segment) Close() error {
	s.mu.Lock()
	first, cancel := !s.over, s.sent && !s.done
	s.over = true
	s.mu.Unlock()
	if !first {
		return nil
	}
	if s.Broken() {
		s.Discard()
		return nil
	}
	if cancel {
		ctx, stop := context.WithTimeout(context.Background(), cancelLimit)
		defer stop()
		if s.WriteJSON(ctx, map[string]any{"context_id": s.id, "cancel": true}) != nil {
			s.Discard()
			return nil
		}
	}
	s.Release()
	return nil
}

// cancelLimit bounds the sending of a cancellation.
const cancelLimit = 100 * time.Millisecond

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
