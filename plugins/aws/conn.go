package aws

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/internal/wire"
	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/realtime/driver"
)

const (
	// lag is how long the user's audio may be late before silence takes its place: without audio the service ends
	// the connection, and the user's turns never end.
	lag = 300 * time.Millisecond
	// maxOpening bounds the wait for the service to accept a conversation; the context is shorter.
	maxOpening = 2 * time.Minute
	// goodbye bounds what is said at the end.
	goodbye = 250 * time.Millisecond
)

// conversation implements driver.Conn.
type conversation struct {
	d      *converser
	client *wire.Client
	str    *stream
	prompt string
	mic    string          // name of the content that is the user's audio
	life   context.Context // ends with Close
	die    context.CancelFunc
	once   sync.Once
	wg     sync.WaitGroup

	out  chan struct{} // size 1: held while a content, or a piece of audio, is sent
	fed  time.Time     // when audio was last sent; of silence, when it was due
	live bool          // the user's audio has begun

	mu      sync.Mutex
	last    string          // what the user said or wrote, if it was not answered
	asked   []string        // requests whose answers did not begin
	waiting []ask           // for the end of an answer
	written map[string]bool // texts that the user is not to hear of as his
	calls   map[string]bool // ids that outputs may be for
	busy    bool            // an answer goes on

	queue queue        // of events to be told
	in    chan arrival // size 64; the service waits while it is full. Closed at the end
	turn  turn         // of the goroutine that calls Next
	over  error        // likewise: why nothing more comes
}

// arrival is what came from the service.
type arrival struct {
	event []byte
	err   error // the last one
}

// queue is what is to be told, in order.
type queue struct {
	mu     sync.Mutex
	events []driver.Event
	wake   chan struct{} // one token: there is something
}

func (q *queue) add(e driver.Event) {
	q.mu.Lock()
	q.events = append(q.events, e)
	q.mu.Unlock()
	select {
	case q.wake <- struct{}{}:
	default: // a token is waiting already
	}
}

// take is the first event; nil for none.
func (q *queue) take() (e driver.Event) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.events) > 0 {
		e, q.events = q.events[0], q.events[1:]
	}
	return e
}

// ask is a text that asks for an answer; "" leaves it to what was said last.
type ask struct{ id, text string }

func newConversation(d *converser, client *wire.Client, s *stream) *conversation {
	c := &conversation{
		d: d, client: client, str: s, prompt: metrics.NewID("prompt_"), mic: metrics.NewID("content_"), out: make(chan struct{}, 1),
		written: map[string]bool{}, calls: map[string]bool{},
		queue: queue{wake: make(chan struct{}, 1)}, in: make(chan arrival, 64),
	}
	c.life, c.die = context.WithCancel(context.Background())
	c.turn.c = c
	return c
}

// open tells the model what it is to know, and begins with the user's audio.
func (c *conversation) open(ctx context.Context, s *driver.Setup) error {
	for _, o := range []object{c.d.sessionStart(), c.d.promptStart(c.prompt, s)} {
		if err := c.event(ctx, o); err != nil {
			return err
		}
	}
	prompt := s.Instructions
	if prompt == "" {
		prompt = manners
	}
	if err := c.text(ctx, system, prompt, false); err != nil {
		return err
	}
	for _, x := range c.d.history(s.History) {
		if err := c.text(ctx, x.role, x.text, false); err != nil {
			return err
		}
		c.last = ""
		if x.role == user {
			c.last = x.text
		}
	}
	// The service wants the conversation complete before there is audio, and says so by the head of its answer.
	if err := c.str.Accepted(ctx, maxOpening); err != nil {
		return err
	}
	if err := c.event(ctx, c.start(c.mic, "AUDIO", user, true, "audioInputConfiguration", object{
		"mediaType": "audio/lpcm", "sampleRateHertz": inputRate, "sampleSizeBits": 16, "channelCount": 1, "audioType": "SPEECH", "encoding": "base64",
	})); err != nil {
		return err
	}
	c.fed, c.live = time.Now(), true
	c.wg.Go(c.breathe)
	c.wg.Go(c.listen)
	return nil
}

// listen takes what the service says, until its end.
func (c *conversation) listen() {
	defer close(c.in)
	for {
		event, err := c.str.receive(context.Background()) // which ends with the stream
		select {
		case c.in <- arrival{event, err}:
		case <-c.life.Done():
			select {
			case c.in <- arrival{event, err}:
			default: // nobody wants it any more
			}
		}
		if err != nil {
			return
		}
	}
}

// Next implements driver.Conn. What was used and not told is told before the error.
func (c *conversation) Next(ctx context.Context) (driver.Event, error) {
	for {
		if e := c.queue.take(); e != nil {
			return e, nil
		}
		if c.over != nil {
			return nil, c.over
		}
		select {
		case a, more := <-c.in:
			c.arrived(ctx, a, more)
		case <-c.queue.wake:
		case <-c.turn.overdue():
			c.turn.release()
		case <-ctx.Done():
			c.rest(ctx, context.Cause(ctx))
		}
	}
}

// arrived deals with what came.
func (c *conversation) arrived(ctx context.Context, a arrival, more bool) {
	err := a.err
	switch {
	case !more:
		err = c.client.Error(model.KindConnection, "receive", net.ErrClosed)
	case err == nil:
		err = c.turn.take(ctx, a.event)
	}
	if err != nil {
		c.rest(ctx, err)
	}
}

// rest takes what has come already, and the end.
func (c *conversation) rest(ctx context.Context, why error) {
	for c.over == nil {
		select {
		case a, more := <-c.in:
			if more && a.err == nil && c.turn.take(ctx, a.event) == nil {
				continue
			}
		default:
		}
		c.turn.flush()
		c.over = why
	}
}

// hold waits until nobody else is in the middle of sending.
func (c *conversation) hold(ctx context.Context) error {
	select {
	case c.out <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (c *conversation) release() { <-c.out }

// event sends an event.
func (c *conversation) event(ctx context.Context, o object) error {
	b, err := json.Marshal(object{"event": o})
	if err != nil {
		return c.client.Error(model.KindRequest, "send", err)
	}
	return c.str.send(ctx, b)
}

// start is the event that begins a content.
func (c *conversation) start(name, kind, role string, interactive bool, key string, config object) object {
	return object{"contentStart": object{"promptName": c.prompt, "contentName": name, "type": kind, "interactive": interactive, "role": role, key: config}}
}

// content sends a content of one piece.
func (c *conversation) content(ctx context.Context, start object, name, piece, content string) error {
	if err := c.event(ctx, start); err != nil {
		return err
	}
	if err := c.event(ctx, object{piece: object{"promptName": c.prompt, "contentName": name, "content": content}}); err != nil {
		return err
	}
	return c.event(ctx, object{"contentEnd": object{"promptName": c.prompt, "contentName": name}})
}

// text sends a text.
func (c *conversation) text(ctx context.Context, role, text string, interactive bool) error {
	if err := c.hold(ctx); err != nil {
		return err
	}
	defer c.release()
	name := metrics.NewID("content_")
	return c.content(ctx, c.start(name, "TEXT", role, interactive, "textInputConfiguration", object{"mediaType": "text/plain"}), name, "textInput", text)
}

// breathe sends silence when no audio comes, until the end of the connection.
func (c *conversation) breathe() {
	t := time.NewTicker(chunk)
	defer t.Stop()
	quiet := make([]int16, audio.SamplesIn(chunk, inputRate))
	for {
		select {
		case <-t.C:
		case <-c.life.Done():
			return
		}
		err := c.hold(c.life)
		if err == nil {
			for err == nil && time.Since(c.fed) > lag {
				c.fed = c.fed.Add(chunk)
				err = c.push(context.Background(), quiet) // a write ends with the stream; its context would end that
			}
			c.release()
		}
		if err != nil {
			return // whoever reads learns of it
		}
	}
}

// Push implements driver.Conn.
func (c *conversation) Push(ctx context.Context, f audio.Frame) error {
	if err := c.hold(ctx); err != nil {
		return err
	}
	defer c.release()
	c.fed = time.Now()
	return c.push(ctx, f.Data)
}

func (c *conversation) push(ctx context.Context, pcm []int16) error {
	b := base64.StdEncoding.EncodeToString(wire.AppendPCM(make([]byte, 0, 2*len(pcm)), pcm))
	return c.event(ctx, object{"audioInput": object{"promptName": c.prompt, "contentName": c.mic, "content": b}})
}

// Add implements driver.Conn: outputs of tools, and nothing else.
func (c *conversation) Add(ctx context.Context, items []driver.Item) error {
	items, left := driver.Supported(items, func(it chat.Item) bool {
		o, ok := it.(*chat.FunctionCallOutput)
		return ok && (c.d.writes || c.called(o.CallID))
	})
	for _, it := range items {
		o := it.Item.(*chat.FunctionCallOutput)
		if err := c.output(ctx, o); err != nil {
			return err
		}
		c.put(&driver.ItemAdded{After: it.After, Item: o})
	}
	return left
}

func (c *conversation) called(id string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.calls[id]
}

// output sends an output. One for a call of an earlier connection is what the user says.
func (c *conversation) output(ctx context.Context, o *chat.FunctionCallOutput) error {
	if !c.called(o.CallID) {
		return c.ask(ctx, ask{text: resultText(o)})
	}
	c.mu.Lock()
	delete(c.calls, o.CallID)
	c.mu.Unlock()
	if err := c.hold(ctx); err != nil {
		return err
	}
	defer c.release()
	name := metrics.NewID("content_")
	return c.content(ctx, c.start(name, "TOOL", "TOOL", false, "toolResultInputConfiguration", object{
		"toolUseId": o.CallID, "type": "TEXT", "textInputConfiguration": object{"mediaType": "text/plain"},
	}), name, "toolResult", result(o))
}

// Generate implements driver.Conn: the model answers what the user might have written.
func (c *conversation) Generate(ctx context.Context, r *driver.Request) error {
	if !c.d.writes {
		return driver.ErrUnsupported
	}
	return c.ask(ctx, ask{r.ID, asked(r)})
}

// ask has the model answer a text, when it has no other answer to give.
func (c *conversation) ask(ctx context.Context, a ask) error {
	c.mu.Lock()
	if c.busy || len(c.asked) > 0 {
		c.waiting = append(c.waiting, a)
		c.mu.Unlock()
		return nil
	}
	text := c.write(a)
	c.mu.Unlock()
	return c.text(ctx, user, text, true)
}

// Withdraw implements driver.Withdrawer.
func (c *conversation) Withdraw(id string) (kept bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := len(c.waiting)
	c.waiting = slices.DeleteFunc(c.waiting, func(a ask) bool { return a.id == id })
	return len(c.waiting) < n
}

// write is the text that is to be sent now. With the lock.
func (c *conversation) write(a ask) string {
	text := cmp.Or(a.text, c.last, goOn)
	c.asked = append(c.asked, a.id)
	c.written[text] = true
	return text
}

// begins notes that an answer begins, and returns the request that it is for.
func (c *conversation) begins() (request string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.busy, c.last = true, ""
	clear(c.written)
	if len(c.asked) > 0 {
		request, c.asked = c.asked[0], c.asked[1:]
	}
	return request
}

// askNext notes that an answer is over, and asks for the next one that waits.
func (c *conversation) askNext(ctx context.Context) error {
	c.mu.Lock()
	c.busy = false
	if len(c.waiting) == 0 || len(c.asked) > 0 {
		c.mu.Unlock()
		return nil
	}
	a := c.waiting[0]
	c.waiting = c.waiting[1:]
	text := c.write(a)
	c.mu.Unlock()
	return c.text(ctx, user, text, true)
}

// put tells an event to whoever calls Next, now or soon.
func (c *conversation) put(e driver.Event) { c.queue.add(e) }

// Acquired implements driver.Connected.
func (c *conversation) Acquired() (took time.Duration, reused bool) { return c.str.Acquired() }

// Close implements driver.Conn. It takes leave, which a service that reads nothing holds up by a quarter of a
// second.
func (c *conversation) Close() error {
	c.once.Do(func() {
		c.die()
		ctx, cancel := context.WithTimeout(context.Background(), goodbye)
		if c.live {
			_ = c.leave(ctx)
		}
		cancel()
	})
	err := c.str.Close()
	c.wg.Wait()
	return err
}

func (c *conversation) leave(ctx context.Context) error {
	if err := c.hold(ctx); err != nil {
		return err
	}
	defer c.release()
	for _, o := range []object{
		{"contentEnd": object{"promptName": c.prompt, "contentName": c.mic}},
		{"promptEnd": object{"promptName": c.prompt}}, {"sessionEnd": object{}},
	} {
		if err := c.event(ctx, o); err != nil {
			return err
		}
	}
	return c.str.sendEnd(ctx)
}

var _ driver.Connected = (*conversation)(nil)
