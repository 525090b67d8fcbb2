package google

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/internal/wire"
	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/realtime/driver"
)

const (
	liveInputRate  = 16000
	liveOutputRate = 24000
	// liveLead is the audio before the news that the user speaks that belongs to his turn.
	liveLead = time.Second
	// liveHeld is the most audio that waits for that news.
	liveHeld = 30 * time.Second
)

// liveConn implements driver.Conn and what a connection can do beyond. What it tells is made by the goroutine
// that reads, and by those that send, of what the provider has no events for.
type liveConn struct {
	d    *liveModel
	peer *wire.Peer
	*wire.Socket
	manual   bool // the caller finds the turns
	textOnly bool // audio is not handed on

	// Of those who send.
	held []int16 // audio that is in no turn; only if manual
	open bool    // a turn is; only if manual

	mu    sync.Mutex
	ready []driver.Event
	wake  context.CancelFunc // wakes who waits for the provider
	conversing
}

// resumption is what a later connection needs to go on.
type resumption struct {
	handle string
	known  map[string]bool // items that the provider has
}

var (
	_ driver.Updater   = (*liveConn)(nil)
	_ driver.Turner    = (*liveConn)(nil)
	_ driver.Watcher   = (*liveConn)(nil)
	_ driver.Resumer   = (*liveConn)(nil)
	_ driver.Connected = (*liveConn)(nil)
)

func newLiveConn(d *liveModel, peer *wire.Peer, ws *wire.Socket, s *driver.Setup) *liveConn {
	return &liveConn{d: d, peer: peer, Socket: ws, manual: s.ClientTurns, textOnly: s.TextOnly, conversing: newConversing()}
}

// connect makes a fresh connection ready: the setup, and what was said before, as far as the provider does not
// remember it.
func (c *liveConn) connect(ctx context.Context, s *driver.Setup) error {
	r, _ := s.Resume.(*resumption)
	if r == nil {
		r = &resumption{}
	}
	maps.Copy(c.known, r.known)
	turns := c.past(s.History)
	if err := c.WriteJSON(ctx, c.d.setup(s, r.handle, len(turns) > 0)); err != nil {
		return c.refused(err, r.handle != "")
	}
	for {
		said, err := c.Read(ctx)
		if err != nil {
			return c.refused(err, r.handle != "")
		}
		var m liveMessage
		if err := c.Decode(said, &m); err != nil {
			return err
		}
		if m.SetupComplete != nil {
			break
		}
	}
	if len(turns) == 0 {
		return nil
	}
	// Models that take it only now wait for the end of it, and do not answer it.
	return c.WriteJSON(ctx, clientContent(turns, c.d.fixed))
}

// refused is the error of a connection that did not come about. What is wrong with the setup stays wrong, but a
// conversation that cannot be resumed can be begun anew.
func (c *liveConn) refused(err error, resumed bool) error {
	var e *model.Error
	if !errors.As(err, &e) || e.Kind != model.KindStatus {
		return err
	}
	x := *e
	switch e.Status {
	case websocket.CloseInvalidFramePayloadData:
		x.Permanent = !resumed
	case websocket.ClosePolicyViolation:
		x.Permanent = !resumed
		x.Err = withHint(e.Err)
	}
	return &x
}

// ended is the error of a connection that ended.
func (c *liveConn) ended(err error) error {
	var e *model.Error
	switch {
	case c.EndedWell(), c.leaving && errors.As(err, &e):
		return io.EOF
	case errors.As(err, &e) && e.Kind == model.KindStatus && e.Status == websocket.CloseInvalidFramePayloadData:
		x := *e
		x.Permanent = true // mostly a conversation that is too long: it would be as long on the next one
		return &x
	}
	return err
}

var errHint = errors.New("the key or the project may not have this model; those of Vertex AI are named gemini-live-…")

func withHint(err error) error {
	if err == nil {
		return errHint
	}
	return fmt.Errorf("%w (%w)", err, errHint)
}

// Next implements driver.Conn.
func (c *liveConn) Next(ctx context.Context) (driver.Event, error) {
	for {
		e, wait := c.next(ctx)
		if e != nil {
			return e, nil
		}
		m, err := c.Read(wait)
		woken := wait.Err() != nil
		c.wake()
		switch {
		case err != nil && woken && ctx.Err() == nil:
			continue
		case err != nil:
			return nil, c.ended(err)
		}
		var said liveMessage
		if err := c.Decode(m, &said); err != nil { // in whatever kind of message it comes
			return nil, err
		}
		c.mu.Lock()
		err = c.take(&said)
		later := c.due()
		c.mu.Unlock()
		if err == nil && later != nil {
			err = c.WriteJSON(ctx, later)
		}
		if err != nil {
			return nil, err
		}
	}
}

// next is the next event; without one, what to wait with.
func (c *liveConn) next(ctx context.Context) (driver.Event, context.Context) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.ready) > 0 {
		e := c.ready[0]
		c.ready = c.ready[1:]
		return e, nil
	}
	wait, wake := context.WithCancel(ctx)
	c.wake = wake
	return nil, wait
}

// tell has the caller told of events that the provider has none for.
func (c *liveConn) tell(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f()
	if len(c.ready) > 0 && c.wake != nil {
		c.wake()
	}
}

// Push implements driver.Conn.
func (c *liveConn) Push(ctx context.Context, f audio.Frame) error {
	if c.manual && !c.open { // the provider would drop it
		c.held = append(c.held, f.Data...)
		if most := audio.SamplesIn(liveHeld, liveInputRate); len(c.held) > 2*most {
			c.held = append(c.held[:0], c.held[len(c.held)-most:]...)
		}
		return nil
	}
	return c.push(ctx, f.Data)
}

func (c *liveConn) push(ctx context.Context, pcm []int16) error {
	b := wire.AppendPCM(make([]byte, 0, 2*len(pcm)), pcm)
	return c.input(ctx, "audio", blob{"audio/pcm;rate=16000", base64.StdEncoding.EncodeToString(b)})
}

// input sends what the user does.
func (c *liveConn) input(ctx context.Context, kind string, v any) error {
	return c.WriteJSON(ctx, map[string]any{"realtimeInput": map[string]any{kind: v}})
}

// StartTurn implements driver.Turner. It interrupts the answer under way.
func (c *liveConn) StartTurn(ctx context.Context) error {
	if !c.manual {
		return driver.ErrUnsupported
	}
	if c.open {
		return nil
	}
	return c.startTurn(ctx, audio.SamplesIn(liveLead, liveInputRate))
}

// startTurn begins a turn with the last samples of what was held.
func (c *liveConn) startTurn(ctx context.Context, samples int) error {
	c.tell(c.userBegins)
	if err := c.input(ctx, "activityStart", struct{}{}); err != nil {
		return err
	}
	c.open = true
	for rest := c.held[max(len(c.held)-samples, 0):]; len(rest) > 0; {
		n := min(len(rest), liveInputRate)
		if err := c.push(ctx, rest[:n]); err != nil {
			return err
		}
		rest = rest[n:]
	}
	c.held = c.held[:0]
	return nil
}

// Commit implements driver.Turner. The provider answers by itself; Generate is told of it.
func (c *liveConn) Commit(ctx context.Context) error {
	if !c.manual {
		return driver.ErrUnsupported
	}
	if !c.open {
		if len(c.held) == 0 {
			return nil
		}
		if err := c.startTurn(ctx, len(c.held)); err != nil {
			return err
		}
	}
	c.open = false
	c.tell(c.userEnds)
	return c.input(ctx, "activityEnd", struct{}{})
}

// Clear implements driver.Turner. A turn that began cannot be taken back.
func (c *liveConn) Clear(context.Context) error {
	if c.open {
		return driver.ErrUnsupported
	}
	c.held = c.held[:0]
	return nil
}

// PushImage implements driver.Watcher. Only data URLs can be sent.
func (c *liveConn) PushImage(ctx context.Context, img *chat.Image) error {
	mime, data, ok := wire.DataURL(img.URL)
	if !ok {
		return driver.ErrUnsupported
	}
	if img.MIMEType != "" {
		mime = img.MIMEType
	}
	return c.input(ctx, "video", blob{mime, data})
}

// Generate implements driver.Conn. It ends an answer under way.
func (c *liveConn) Generate(ctx context.Context, r *driver.Request) error {
	var m any
	c.tell(func() {
		if !c.adopt(r) {
			m = c.request(r)
		}
	})
	if m == nil {
		return nil
	}
	return c.WriteJSON(ctx, m)
}

// request asks for an answer.
func (c *liveConn) request(r *driver.Request) any {
	c.asked = append(c.asked, r.ID)
	c.stale = true
	turns := c.later
	c.later, c.laterAnswered = nil, false
	if r.Instructions != "" {
		turns = appendTurn(turns, &content{Role: "model", Parts: []*part{{Text: r.Instructions}}})
	}
	if !c.d.fixed {
		return clientContent(appendTurn(turns, userTurn(".")), true)
	}
	if len(turns) == 0 {
		turns = []*content{userTurn(".")}
	}
	return textInput(turns)
}

// textInput are turns in the only form that models take whose context is fixed.
func textInput(turns []*content) map[string]any {
	var text []string
	for _, t := range turns {
		for _, p := range t.Parts {
			text = append(text, p.Text)
		}
	}
	return map[string]any{"realtimeInput": map[string]any{"text": strings.Join(text, "\n")}}
}

// Add implements driver.Conn. What is added comes behind everything else.
func (c *liveConn) Add(ctx context.Context, items []driver.Item) error {
	var outputs []*functionResponse
	var m any
	c.mu.Lock()
	items, left := driver.Supported(items, c.can)
	for _, it := range items {
		out, ok := it.Item.(*chat.FunctionCallOutput)
		if !ok {
			c.later = appendTurn(c.later, c.turnOf(it.Item, nil))
			continue
		}
		waits, ours := c.calls[out.CallID]
		delete(c.calls, out.CallID)
		if waits {
			outputs = append(outputs, c.response(out, it.Silent))
			c.own = true // also if the provider's turn ended with the call, as Vertex AI's do
			continue
		}
		// The call was made on a connection before, and is answered all the same, or was cancelled.
		c.later = appendTurn(c.later, c.turnOf(out, nil))
		c.laterAnswered = c.laterAnswered || !ours && !out.NoReply && !it.Silent
	}
	c.stale = true
	m = c.due()
	c.mu.Unlock()
	if len(outputs) > 0 {
		if err := c.WriteJSON(ctx, map[string]any{"toolResponse": map[string]any{"functionResponses": outputs}}); err != nil {
			return err
		}
	}
	if m != nil {
		if err := c.WriteJSON(ctx, m); err != nil {
			return err
		}
	}
	c.tell(func() {
		for _, it := range items {
			c.known[it.Item.Head().ID] = true
			c.put(&driver.ItemAdded{After: it.After, Item: it.Item})
		}
	})
	return left
}

// Update implements driver.Updater.
func (c *liveConn) Update(ctx context.Context, u *driver.Update) error {
	if !c.d.Capabilities().MutableInstructions || u.Tools != nil || u.ToolChoice != nil {
		return driver.ErrUnsupported
	}
	var m any
	c.tell(func() {
		if u.Instructions != nil {
			c.later = appendTurn(c.later, &content{Parts: []*part{{Text: *u.Instructions}}})
			c.stale = true
			m = c.due()
		}
		c.put(&driver.Updated{ID: u.ID})
	})
	if m == nil {
		return nil
	}
	return c.WriteJSON(ctx, m)
}

// Resumption implements driver.Resumer. A handle that is older than what was said last is of no use.
func (c *liveConn) Resumption() any {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.handle == "" || c.stale {
		return nil
	}
	return &resumption{handle: c.handle, known: maps.Clone(c.known)}
}
