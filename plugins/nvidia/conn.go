package nvidia

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/audio/opus"
	"github.com/parley-go/parley/internal/ogg"
	"github.com/parley-go/parley/internal/wire"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/realtime/driver"
)

// The first byte of a message.
const (
	msgHandshake = 0
	msgAudio     = 1
	msgText      = 2
	msgError     = 5
)

var errNoTools = errors.New("PersonaPlex calls no tools: those of the session are not told")

const (
	// lag is how long the user's audio may be late before silence takes its place: without audio the model
	// stands still, in the middle of a word.
	lag = 300 * time.Millisecond
	// loud is the mean of absolute samples from which a window of audio is sound.
	loud = 200
)

// conversation implements driver.Conn.
type conversation struct {
	d *converser
	*wire.Socket
	stop chan struct{} // closed by Close
	once sync.Once
	wg   sync.WaitGroup

	out sync.Mutex // held while audio is sent
	enc opus.Encoder
	pen ogg.Writer
	// rest is less than a frame.
	rest  []int16
	sent  time.Time   // when audio was last sent; of silence, when it was due
	spoke atomic.Bool // the user, since the last answer began

	in     sync.Mutex // held while a message is read
	dec    opus.Decoder
	pages  ogg.Reader
	pcm    []int16
	cut    []byte // of a letter
	answer answer
	ready  []driver.Event
}

// converse begins a conversation over a connection that is ready.
func converse(d *converser, ws *wire.Socket) (*conversation, error) {
	c := &conversation{d: d, Socket: ws, stop: make(chan struct{}), sent: time.Now(), pcm: make([]int16, opus.MaxSamples)}
	var err error
	if c.enc, err = opus.NewEncoder(opus.EncoderConfig{Bitrate: 32000}); err != nil {
		return nil, fmt.Errorf("nvidia: %w", err)
	}
	if c.dec, err = opus.NewDecoder(1); err != nil {
		c.enc.Close()
		return nil, fmt.Errorf("nvidia: %w", err)
	}
	c.answer = answer{silence: d.o.Silence, put: c.put, addressed: func() bool { return c.spoke.Swap(false) }}
	c.wg.Go(c.breathe)
	return c, nil
}

// breathe sends silence when no audio comes, until the end of the connection.
func (c *conversation) breathe() {
	t := time.NewTicker(chunk)
	defer t.Stop()
	ctx := context.Background() // a write has a limit of its own, and ends with the connection
	for {
		select {
		case <-t.C:
		case <-c.stop:
			return
		case <-c.Dead():
			return
		}
		c.out.Lock()
		var err error
		for err == nil && time.Since(c.sent) > lag {
			c.sent = c.sent.Add(chunk)
			err = c.push(ctx, make([]int16, audio.SamplesIn(chunk, opus.Rate)))
		}
		c.out.Unlock()
		if err != nil {
			return // whoever reads learns of it
		}
	}
}

// Push implements driver.Conn.
func (c *conversation) Push(ctx context.Context, f audio.Frame) error {
	if isLoud(f.Data) {
		c.spoke.Store(true)
	}
	c.out.Lock()
	defer c.out.Unlock()
	c.sent = time.Now()
	return c.push(ctx, f.Data)
}

// push sends all whole frames that there are, in one page.
func (c *conversation) push(ctx context.Context, pcm []int16) error {
	c.rest = append(c.rest, pcm...)
	var packets [][]byte
	n := 0
	for ; len(c.rest)-n >= opus.FrameSamples; n += opus.FrameSamples {
		p := make([]byte, opus.MaxBytes)
		size, err := c.enc.Encode(p, c.rest[n:n+opus.FrameSamples])
		if err != nil {
			return c.d.Error(model.KindConnection, "send", err) // it is closed
		}
		packets = append(packets, p[:size])
	}
	c.rest = append(c.rest[:0], c.rest[n:]...)
	for len(packets) > 0 {
		some := packets[:min(len(packets), 8)]
		packets = packets[len(some):]
		page, err := c.pen.Append([]byte{msgAudio}, some...)
		if err != nil {
			return c.d.Protocol("send", "%v", err)
		}
		if err := c.WriteBinary(ctx, page); err != nil {
			return err
		}
	}
	return nil
}

// Add implements driver.Conn. There is nothing that the model could be told.
func (c *conversation) Add(_ context.Context, items []driver.Item) error {
	var ids []string
	for _, it := range items {
		ids = append(ids, it.Item.Head().ID)
	}
	return driver.Unsupported(ids...)
}

// Generate implements driver.Conn. The model speaks when it wants to.
func (c *conversation) Generate(context.Context, *driver.Request) error { return driver.ErrUnsupported }

// Next implements driver.Conn.
func (c *conversation) Next(ctx context.Context) (driver.Event, error) {
	for len(c.ready) == 0 {
		m, err := c.read(ctx)
		if err != nil {
			return nil, err
		}
		if err := c.take(m); err != nil {
			return nil, err
		}
	}
	e := c.ready[0]
	c.ready = c.ready[1:]
	return e, nil
}

// read waits for a message. The model is never silent: it answers all audio, and silence is audio.
func (c *conversation) read(ctx context.Context) (wire.Message, error) {
	inner, cancel := context.WithTimeout(ctx, c.d.deaf)
	defer cancel()
	m, err := c.Read(inner)
	switch {
	case err == nil:
		return m, nil
	case c.EndedWell():
		return m, io.EOF
	case ctx.Err() == nil && inner.Err() != nil && errors.Is(err, context.DeadlineExceeded):
		return m, c.d.Error(model.KindTimeout, "receive", fmt.Errorf("the server answers nothing for %s", c.d.deaf))
	}
	return m, err
}

func (c *conversation) put(e driver.Event) { c.ready = append(c.ready, e) }

// message takes a message apart.
func (d *converser) message(m wire.Message) (kind byte, body []byte, err error) {
	if !m.Binary || len(m.Data) == 0 {
		return 0, nil, d.Protocol("receive", "the server sent no binary message")
	}
	return m.Data[0], m.Data[1:], nil
}

// take understands a message. Those that the protocol names and no server sends are left alone.
func (c *conversation) take(m wire.Message) error {
	kind, body, err := c.d.message(m)
	if err != nil {
		return err
	}
	c.in.Lock()
	defer c.in.Unlock()
	switch kind {
	case msgAudio:
		return c.hear(body)
	case msgText:
		if t := c.letters(body); t != "" {
			c.answer.say(t)
		}
	case msgError:
		return c.d.Protocol("converse", "%s", body)
	}
	return nil
}

// hear decodes audio.
func (c *conversation) hear(body []byte) error {
	c.pages.Write(body)
	for {
		p, err := c.pages.Next()
		if err != nil {
			return c.d.Protocol("receive", "%v", err)
		}
		if p == nil {
			return nil
		}
		if len(p) == 0 {
			continue
		}
		n, err := c.dec.Decode(c.pcm, p)
		if errors.Is(err, opus.ErrClosed) {
			return c.d.Error(model.KindConnection, "receive", err)
		}
		if err != nil {
			return c.d.Protocol("receive", "%v", err)
		}
		pcm := c.pcm[:n]
		drop := min(c.pages.Skip, n)
		c.pages.Skip -= drop
		c.answer.sound(pcm[drop:])
	}
}

// letters is the text of a token. Letters that the model has no token for come as bytes, "<0xE2>".
func (c *conversation) letters(body []byte) string {
	t := string(body)
	if len(t) == 1 && (t[0] == 0 || t[0] == 3) { // ids of tokens that say nothing
		return ""
	}
	if len(t) == 6 && t[:3] == "<0x" && t[5] == '>' {
		if b, err := strconv.ParseUint(t[3:5], 16, 8); err == nil {
			c.cut = append(c.cut, byte(b))
			if !utf8.FullRune(c.cut) {
				return ""
			}
			t = ""
		}
	}
	t = string(c.cut) + t
	c.cut = nil
	if !utf8.ValidString(t) {
		return ""
	}
	return t
}

// Close implements driver.Conn.
func (c *conversation) Close() error {
	c.once.Do(func() { close(c.stop) })
	err := c.Socket.Close()
	c.wg.Wait()
	c.out.Lock()
	c.enc.Close()
	c.out.Unlock()
	c.in.Lock()
	c.dec.Close()
	c.in.Unlock()
	return err
}

var _ driver.Connected = (*conversation)(nil)
