package nvidia

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/parley-go/parley/audio/opus"
	"github.com/parley-go/parley/internal/wire"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/opt"
	"github.com/parley-go/parley/realtime"
	"github.com/parley-go/parley/realtime/driver"
)

const (
	// chunk is the audio of one message, as much as the model takes at once.
	chunk = 80 * time.Millisecond
	// deaf is how long a server may be silent that gets audio, unless the options of the front say otherwise.
	// It answers all audio with as much audio.
	deaf = 10 * time.Second
	// maxQuery is how long the query of a connection may be, in bytes: the server takes no longer lines.
	maxQuery = 7500
	// smallTalk is NVIDIA's prompt for a model that nobody has told anything.
	smallTalk = "You enjoy having a good conversation."
)

// RealtimeOptions are the options of NewRealtime. The zero value, or nil, is a server on this machine.
type RealtimeOptions struct {
	// BaseURL is that of the server: default PERSONAPLEX_URL, else ws://localhost:8998.
	BaseURL string
	// Voice is a file of the server's voice prompts, without ".pt": default NATF2. NVIDIA's are NATF0 to NATF3,
	// NATM0 to NATM3, VARF0 to VARF4 and VARM0 to VARM4. One that the server does not have ends the connection.
	Voice string
	// Seed makes what the model says repeatable. NVIDIA's server of January 2026 fails when it gets one.
	Seed opt.Value[int64]
	// Silence ends an answer: default 500 ms. The server does not say where answers end.
	Silence time.Duration
	// History is how many characters of the conversation so far, the newest, a new connection is told with
	// the instructions, the only place there is: default 1000; off tells nothing. The model takes about 40 ms for
	// a word of them before it converses.
	History opt.Value[int]
	// Header is added to the request of every connection, such as the key of a gateway before the server.
	Header http.Header
	// Front are retries and timeouts; nil for the defaults. The time of a connection includes that in which
	// the model reads its instructions.
	Front *realtime.ModelOptions
}

// NewRealtime returns PersonaPlex, which hears and speaks all the time: it finds the user's turns, which is told
// when it answers, and lets itself be interrupted, which is not told. It can neither be asked for an answer nor made to stop, has no tools,
// and does not write down what the user says; a session does so with an STT. What the model is told when it is
// instructed anew, it is told over a new connection. What it costs is the time of connections, that of your GPU.
//
// A session without instructions gets NVIDIA's prompt for small talk.
func NewRealtime(o *RealtimeOptions) (*realtime.Model, error) {
	d, err := newRealtime(o)
	if err != nil {
		return nil, err
	}
	return realtime.New(d, d.o.Front), nil
}

// converser implements driver.Realtime.
type converser struct {
	wire.Peer
	o    RealtimeOptions
	base *url.URL
	deaf time.Duration
}

func newRealtime(o *RealtimeOptions) (*converser, error) {
	d := &converser{deaf: deaf}
	if o != nil {
		d.o = *o
	}
	var err error
	if d.base, err = wire.Base("nvidia", d.o.BaseURL, "ws://localhost:8998", "PERSONAPLEX_URL"); err != nil {
		return nil, err
	}
	d.o.Voice = cmp.Or(d.o.Voice, "NATF2")
	d.o.Silence = cmp.Or(d.o.Silence, 500*time.Millisecond)
	if f := d.o.Front; f != nil && f.Conn.Timeout > 0 {
		d.deaf = f.Conn.Timeout
	}
	d.Peer = wire.Peer{Info: model.Info{Label: "nvidia.Realtime", Provider: "nvidia", Model: "personaplex-7b"}, Kind: "realtime"}
	for _, values := range []map[string][]string{d.o.Header, d.base.Query()} { // keys of a gateway, if anything
		for _, vs := range values {
			for _, v := range vs {
				d.Secrets = append(d.Secrets, v, v[strings.LastIndex(v, " ")+1:])
			}
		}
	}
	return d, nil
}

// Info implements driver.Realtime.
func (d *converser) Info() model.Info { return d.Peer.Info }

// Capabilities implements driver.Realtime.
func (d *converser) Capabilities() driver.Capabilities {
	return driver.Capabilities{
		InputRate: opus.Rate, InputChunk: chunk, OutputRate: opus.Rate,
		AudioOutput: true, ServerTurns: true, BilledByTime: true,
	}
}

// Connect implements driver.Realtime. It returns when the model has read its instructions: what it is sent
// before, it does not hear.
func (d *converser) Connect(ctx context.Context, s *driver.Setup) (driver.Conn, error) {
	query, err := d.query(s)
	if err != nil {
		return nil, err
	}
	ws, err := wire.Single(ctx, &d.Peer, wire.SocketOptions{URL: wire.JoinSocket(d.base, "/api/chat", query), Header: d.o.Header})
	if err != nil {
		return nil, err
	}
	if err := d.greeted(ctx, ws); err != nil {
		_ = ws.Close()
		return nil, err
	}
	c, err := converse(d, ws)
	if err != nil {
		_ = ws.Close()
		return nil, err
	}
	if len(s.Tools) > 0 {
		c.ready = append(c.ready, &driver.Error{Err: d.Error(model.KindRequest, "converse", errNoTools)})
	}
	return c, nil
}

// greeted waits until the server says that it listens.
func (d *converser) greeted(ctx context.Context, ws *wire.Socket) error {
	for {
		m, err := ws.Read(ctx)
		if err != nil {
			return err
		}
		kind, body, err := d.message(m)
		switch {
		case err != nil:
			return err
		case kind == msgHandshake:
			return nil
		case kind == msgError:
			return d.Protocol("open session", "%s", body)
		}
	}
}

// query is how a connection is asked for.
func (d *converser) query(s *driver.Setup) (url.Values, error) {
	voice := d.o.Voice
	if !strings.HasSuffix(voice, ".pt") && !strings.HasSuffix(voice, ".wav") {
		voice += ".pt"
	}
	q := url.Values{"voice_prompt": {voice}}
	if v, ok := d.o.Seed.Get(); ok {
		q.Set("seed", strconv.FormatInt(v, 10))
	}
	most := 0
	if !d.o.History.IsOff() {
		most = d.o.History.Default(1000)
	}
	for {
		q.Set("text_prompt", prompt(s, most))
		size := len(q.Encode())
		switch {
		case size <= maxQuery:
			return q, nil
		case most <= 0:
			return nil, d.Error(model.KindRequest, "open session", fmt.Errorf("the instructions are too long: the request has %d bytes, %d are possible", size, maxQuery))
		}
		most /= 2
	}
}
