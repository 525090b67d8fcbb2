package llm

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/parley-go/parley/internal/failover"
	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/llm/driver"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/opt"
)

// ErrClosed is the error of a stream that its caller closed, and of requests to a closed model.
var ErrClosed = errors.New("llm: closed")

const (
	// drainTime is how long a cut stream is read on for its usage, unless somebody decides otherwise.
	drainTime = 2 * time.Second
	// settleTime is how long a cut stream is waited for to come to its end.
	settleTime = 50 * time.Millisecond
	// maxDrains bounds the cut streams of a model that are read on at the same time.
	maxDrains = 32
)

// Options are the options of a Model. The zero value is good.
type Options struct {
	// Conn says how requests are tried; Request.Conn overrides it.
	Conn model.ConnOptions
	// DrainUsage is how long an answer that was cut short is read on in the background, and thrown
	// away, to learn what it costs: most providers say so only at the end. The provider goes on
	// producing, and billing, tokens meanwhile. Default 2 s; off: the provider is told to stop at once.
	// What it has not said by then is estimated, and the event says so (metrics.Estimated). A session
	// that closes waits for it up to 5 s.
	DrainUsage opt.Value[time.Duration]
}

// Model is a language model. It is safe for concurrent use and may be shared by any number of
// sessions.
type Model struct {
	d        driver.LLM
	conn     model.ConnOptions
	drain    time.Duration   // 0: cut streams are not read on
	gauge    gauge           // for what it does not state
	life     context.Context // ends with Close
	end      context.CancelFunc
	mu       sync.Mutex
	closed   bool
	draining int
	behind   sync.WaitGroup          // work behind requests that Close waits for
	group    *failover.Group[*Model] // of a Fallback, which has no driver; else nil
}

// New returns a Model that speaks through d. nil options are the defaults. Plugins call it; their
// users call the constructors of plugins.
func New(d driver.LLM, o *Options) *Model {
	if o == nil {
		o = &Options{}
	}
	m := &Model{d: d, conn: o.Conn, drain: o.DrainUsage.Default(drainTime)}
	m.life, m.end = context.WithCancel(context.Background())
	return m
}

// Info says who does the work.
func (m *Model) Info() model.Info { return m.Driver().Info() }

// Driver returns the driver, for what only it can do.
func (m *Model) Driver() driver.LLM {
	if m.group != nil {
		return m.group.First().d
	}
	return m.d
}

// Prewarm opens a connection ahead of the first request if the driver can. It is best effort and
// returns when that is done or ctx ends.
func (m *Model) Prewarm(ctx context.Context) {
	if m.group != nil {
		m = m.group.Models()[0]
	}
	p, ok := m.d.(driver.Prewarmer)
	if !ok {
		return
	}
	defer func() { _ = recover() }() // best effort: the request will tell what is wrong
	p.Prewarm(ctx)
}

// Close ends the reading of cut streams, waits for that and closes the driver if it is an
// io.Closer. Later requests fail with ErrClosed; streams that are still read are not touched. It
// may be called twice.
func (m *Model) Close() error {
	m.mu.Lock()
	closed := m.closed
	m.closed = true
	m.mu.Unlock()
	m.end()
	m.behind.Wait()
	if c, ok := m.d.(io.Closer); ok && !closed {
		return c.Close()
	}
	return nil
}

// Request is one chat request. It and what it holds must not be changed until the stream ends.
type Request struct {
	Messages          *chat.Context
	Tools             []Tool // functions and toolsets; see NewToolContext for what is refused
	ToolChoice        ToolChoice
	ParallelToolCalls *bool              // nil leaves it to the provider
	Conn              *model.ConnOptions // nil means the model's
	Extra             map[string]any     // provider-specific fields
}

// Chat sends a request. It returns at once; what goes wrong is told by the stream. ctx ends the
// request and its stream. The caller must close the stream, read it to its end, or end ctx.
func (m *Model) Chat(ctx context.Context, r *Request) *Stream {
	if r == nil {
		r = &Request{}
	}
	conn := m.conn
	if r.Conn != nil {
		conn = *r.Conn
	}
	s := newStream(ctx, m, conn.Defaults())
	req, err := m.request(r)
	go s.run(req, err)
	return s
}

func (m *Model) request(r *Request) (*driver.Request, error) {
	m.mu.Lock()
	closed := m.closed
	m.mu.Unlock()
	if closed {
		return nil, ErrClosed
	}
	req := &driver.Request{
		Messages:          r.Messages,
		ToolChoice:        r.ToolChoice,
		ParallelToolCalls: r.ParallelToolCalls,
		Extra:             r.Extra,
	}
	if req.Messages == nil {
		req.Messages = &chat.Context{}
	}
	tools, err := NewToolContext(r.Tools...)
	if err != nil {
		info := m.Info()
		return nil, &model.Error{Kind: model.KindRequest, Provider: info.Provider, Op: "chat", Err: err}
	}
	req.Tools = tools.Specs()
	return req, nil
}

// enter announces work behind a request, which Close waits for until leave; false when it is too late.
func (m *Model) enter() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return false
	}
	m.behind.Add(1)
	return true
}

func (m *Model) leave() { m.behind.Done() }

// startDrain reserves a place for reading on; it reports false when the stream is to be cut.
func (m *Model) startDrain() bool {
	if m.drain <= 0 || !m.enter() {
		return false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.draining >= maxDrains {
		m.leave()
		return false
	}
	m.draining++
	return true
}

func (m *Model) endDrain() {
	m.mu.Lock()
	m.draining--
	m.mu.Unlock()
	m.leave()
}
