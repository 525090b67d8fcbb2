// Package sandbox has what the stand-ins of providers share: each speaks one provider's protocol
// strictly on the loopback interface, keeps an exact ledger of what it served and would bill, and does
// on request what providers do wrong. The wire formats are the packages below it.
package sandbox

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/internal/newport"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model/fault"
)

// RetryAfter is the hint that comes with RateLimit.
const RetryAfter = time.Second

// Server is one sandbox. It is safe for concurrent use; whoever started it closes it.
type Server struct {
	// Key is the only key that it takes.
	Key string
	// Ledger is what it would bill: compare it with Session.Usage.
	Ledger Ledger
	// Unanswered is what requests would have cost that it took and never answered: providers differ in whether
	// they bill such.
	Unanswered Ledger

	// Understand is how recognisers find words, instead of hearing EarText in everything.
	Understand func(audio.Frame) string

	mux   *http.ServeMux
	http  *http.Server
	ln    net.Listener
	plans plans
	calls atomic.Int64
	open  atomic.Int64
	dials atomic.Int64
	ctx   context.Context // ends with Close
	stop  context.CancelFunc
	wg    sync.WaitGroup
	errs  func(status int, message string) any

	latency time.Duration // before a request is answered, or not

	mu      sync.Mutex
	sockets map[*Socket]struct{}

	upgrading sync.RWMutex // held while websockets are opened
}

// Options are the options of a sandbox.
type Options struct {
	Key  string // default DefaultKey
	Plan fault.Plan
	// Listener is where clients come from; default a free port of the loopback interface.
	Listener net.Listener
	// Error is the provider's JSON form of an error; default {"error":{"message":...}}.
	Error func(status int, message string) any
}

// DefaultKey is the key of sandboxes that were given none.
const DefaultKey = "sandbox-key-3f9a1c"

// New makes a sandbox, which answers 404 until something is handled, and starts it.
func New(o Options) (*Server, error) {
	ln := o.Listener
	if ln == nil {
		var err error
		if ln, err = newport.Listen(); err != nil {
			return nil, fmt.Errorf("starting sandbox: %w", err)
		}
	}
	s := &Server{Key: o.Key, mux: http.NewServeMux(), ln: ln, errs: o.Error}
	if s.Key == "" {
		s.Key = DefaultKey
	}
	if s.errs == nil {
		s.errs = func(_ int, message string) any { return map[string]any{"error": map[string]any{"message": message}} }
	}
	s.ctx, s.stop = context.WithCancel(context.Background())
	s.Plan(o.Plan)
	s.http = &http.Server{Handler: s.mux, BaseContext: func(net.Listener) context.Context { return s.ctx }, Protocols: &http.Protocols{}}
	s.http.Protocols.SetHTTP1(true)
	s.http.Protocols.SetUnencryptedHTTP2(true) // for gRPC
	s.wg.Go(func() { _ = s.http.Serve(listener{ln, s}) })
	return s, nil
}

// Errors sets the provider's JSON form of an error. It is called before the first call.
func (s *Server) Errors(form func(status int, message string) any) { s.errs = form }

// Plan changes what goes wrong from the next call on.
func (s *Server) Plan(p fault.Plan) { s.plans.set(p) }

// URL is the base of the sandbox, e.g. "http://127.0.0.1:4711". With TLSFailure planned it says
// https, which the sandbox does not speak.
func (s *Server) URL() string {
	s.plans.mu.Lock()
	defer s.plans.mu.Unlock()
	if s.plans.plan.Kind == fault.TLSFailure {
		return "https://" + s.ln.Addr().String()
	}
	return "http://" + s.ln.Addr().String()
}

// Begin counts a request, or a stream of a websocket, until end is called; end may be called twice.
func (s *Server) Begin() (end func()) {
	s.calls.Add(1)
	s.open.Add(1)
	return sync.OnceFunc(func() { s.open.Add(-1) })
}

// Calls is how many requests, and streams of websockets, reached the provider.
func (s *Server) Calls() int { return int(s.calls.Load()) }

// Open is how many of them are not over.
func (s *Server) Open() int { return int(s.open.Load()) }

// Dials is how many connections were made.
func (s *Server) Dials() int { return int(s.dials.Load()) }

// HangUp ends all websockets politely, as providers do with connections that are idle for too long.
func (s *Server) HangUp() {
	s.upgrading.Lock()
	defer s.upgrading.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	for ws := range s.sockets {
		ws.Close(websocket.CloseNormalClosure, "idle")
	}
}

// Sockets is how many websockets are open.
func (s *Server) Sockets() int {
	s.upgrading.Lock()
	defer s.upgrading.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.sockets)
}

// track keeps ws for HangUp until it ends.
func (s *Server) track(ws *Socket) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sockets == nil {
		s.sockets = make(map[*Socket]struct{})
	}
	s.sockets[ws] = struct{}{}
	context.AfterFunc(ws.ctx, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.sockets, ws)
	})
}

// Close ends all connections and waits for the handlers.
func (s *Server) Close() error {
	s.stop()
	err := s.http.Close()
	s.wg.Wait()
	return err
}

// Handle serves the calls of pattern, which is one of http.ServeMux. The faults of requests strike
// before h; those of streams are left to the Call.
func (s *Server) Handle(pattern string, h func(*Call)) {
	s.handle(pattern, ofRequest, func(c *Call) bool {
		c.look()
		c.leave(h)
		return c.strike()
	}, h)
}

// HandleFirst is Handle for a request that only says where the answers are to be had: their faults are left to
// the calls there.
func (s *Server) HandleFirst(pattern string, h func(*Call)) {
	s.handle(pattern, ofOpening, (*Call).strike, h)
}

func (s *Server) handle(pattern string, mine func(fault.Kind) bool, strike func(*Call) bool, h func(*Call)) {
	s.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		s.wg.Add(1)
		defer s.wg.Done()
		c := &Call{Server: s, Ledger: &s.Ledger, W: w, R: r, Fault: s.plans.take(mine)}
		c.end = s.Begin()
		defer func() { c.end() }()
		if !strike(c) {
			h(c)
		}
	})
}

// HandleSocket is Handle for a websocket: Silence strikes its streams, and not its opening.
func (s *Server) HandleSocket(path string, h func(*Call, *Socket), accept func(*Call) bool) {
	s.handle("GET "+path, ofRequest, func(c *Call) bool { return c.Fault != fault.Silence && c.strike() }, func(c *Call) {
		if !accept(c) {
			return
		}
		if ws := c.socket(); ws != nil {
			defer ws.Close(websocket.CloseNormalClosure, "")
			h(c, ws)
		}
	})
}

// HandlePlain serves what costs nothing and never fails, such as lists of models.
func (s *Server) HandlePlain(pattern string, h http.HandlerFunc) { s.mux.HandleFunc(pattern, h) }

// listener strikes connections as they are made.
type listener struct {
	net.Listener
	s *Server
}

func (l listener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		l.s.dials.Add(1)
		refused := l.s.plans.take(ofConnection) != fault.None
		if o, ok := c.(*offer); ok {
			o.taken <- !refused
			c = o.Conn
		}
		if !refused {
			return c, nil
		}
		reset(c)
	}
}

// reset ends c so that the peer sees a reset, not an end.
func reset(c net.Conn) {
	if t, ok := c.(interface{ SetLinger(sec int) error }); ok {
		_ = t.SetLinger(0)
	}
	_ = c.Close()
}

// Ledger is the account of a sandbox, in the form of Session.Usage.
type Ledger struct{ billed, stated metrics.Collector }

// Bill books e, an *metrics.LLM, *metrics.STT or *metrics.TTS with its Metadata and amounts, as served:
// the provider asks for money for it.
func (l *Ledger) Bill(e metrics.Event) { book(&l.billed, e) }

// State books e as told to the client. Providers that state nothing need not call it.
func (l *Ledger) State(e metrics.Event) { book(&l.stated, e) }

func book(c *metrics.Collector, e metrics.Event) {
	if e.Head().ID == "" {
		e.Head().ID = metrics.NewID("bill_")
	}
	c.Add(e)
}

// Billed is the sum of what was served.
func (l *Ledger) Billed() metrics.Usage { return l.billed.Usage() }

// Stated is the sum of what the client was told.
func (l *Ledger) Stated() metrics.Usage { return l.stated.Usage() }

// JSON writes v as the answer.
func JSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}
