// Package scripted is a realtime model whose answers are written down beforehand, for tests of sessions and of
// package realtime itself. It "hears" sound as the texts of the script, finds turns, answers with audio or text
// and calls of tools, does wrong where it is told to, and keeps a ledger of what it would bill. Nothing leaves the
// process, there are no goroutines, and all waiting is on timers, so that it runs on the virtual time of a
// testing/synctest bubble.
//
//	script := scripted.New(&scripted.Options{
//		Texts:   []string{"What is the weather in Paris?"},
//		Replies: []scripted.Reply{{Text: "It is sunny in Paris."}},
//	})
//	model := realtime.New(script, nil)
package scripted

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/parley-go/parley/llm/chat"
	llm "github.com/parley-go/parley/llm/driver"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/realtime/driver"
)

// Options are the script; nil means a model that hears nothing and answers "Yes.".
type Options struct {
	// Info is who the model says it is; default "scripted.Realtime", "scripted", "script".
	Info model.Info
	// Capabilities are as stated; default All.
	Capabilities *driver.Capabilities
	// Texts are what the user says in the first, second, ... turn, whatever connection it is heard on. After the
	// last one nothing is understood: the transcript is empty, but the model answers.
	Texts []string
	// Replies are given in turn, one per response. After the last one Respond makes them, or they are "Yes.".
	Replies []Reply
	// Respond makes the replies when there are no more Replies. n counts responses from 0.
	Respond func(n int, a Asked) Reply
	// Silence ends a turn: default 0.3 s.
	Silence time.Duration
	// Threshold is the mean of absolute samples from which audio is sound: default 300.
	Threshold int
	// Latency passes before every event.
	Latency time.Duration
	// TranscriptDelay passes between the end of a turn and its transcript, besides Latency.
	TranscriptDelay time.Duration
	// TranscriptModel bills the transcription of the user's turns by their duration; "" does not.
	TranscriptModel string
	// PerChar is the audio that a character of a reply takes: default 50 ms.
	PerChar time.Duration
	// Speed is how much faster than real time audio comes: default 10.
	Speed float64
	// NoInterrupt has the model go on when the user begins to speak.
	NoInterrupt bool
	// NoUsage states no usage; it is billed nevertheless.
	NoUsage bool
	// NoAcks acknowledges no changes.
	NoAcks bool
	// NoItems tells of no items, but for acknowledgements.
	NoItems bool
	// NoCancel makes connections that are no Cancellers, NoDelete no Deleters, NoImages no Watchers.
	NoCancel, NoDelete, NoImages bool
	// Resumption makes connections Resumers.
	Resumption bool
	// Unsupported says which items it has no form for; nil is none.
	Unsupported func(chat.Item) bool
	// Acquire, if set, is what every connection says about how it came about.
	Acquire *Acquire
	// Faults are what goes wrong.
	Faults []Fault
}

// All is a model that can do everything, 24 kHz both ways, and has no limits.
var All = driver.Capabilities{
	InputRate: 24000, OutputRate: 24000, AudioOutput: true, ServerTurns: true, ClientTurns: true,
	UserTranscription: true, MutableContext: true, ToolsPerResponse: true,
	MutableInstructions: true, MutableTools: true, Truncation: true, Say: true, BilledByTokens: true,
}

// Acquire is what a connection says about how it came about.
type Acquire struct {
	Took   time.Duration
	Reused bool
	// Opening passes between that and the time at which the connection takes input. If it is set, both take their
	// time, else neither does.
	Opening time.Duration
}

// Asked is what a response answers.
type Asked struct {
	Conn    int // number of the connection, from 0
	Request *driver.Request
	Text    string        // to say, or what the user said last
	Setup   *driver.Setup // of the connection, as it is now
	Items   []chat.Item   // the conversation
	// Truncated is what was kept of messages that were truncated, by their ids.
	Truncated map[string]time.Duration
	Images    int // that were pushed
}

// Reply is what a response says and does.
type Reply struct {
	Text     string
	TextOnly bool
	Calls    []llm.ToolCall // after the text; an empty CallID is filled
	TTFT     time.Duration  // from the creation to the first audio or text
	Status   driver.Status  // default Completed
	Err      error
	Usage    *driver.Usage // instead of what it would cost
	Early    *driver.Usage // stated when it begins
	// Open leaves the response open: it is never done. Silent neither creates nor does anything.
	Open, Silent bool
}

// When is the moment of a fault.
type When uint8

// The moments of faults.
const (
	AtConnect  When = iota // the connection is made
	AtResponse             // a response is to begin
	AtOutput               // the first audio, text or call of a response was told
	AtSpeech               // the user began to speak
	AtSend                 // something but audio is sent
)

// FaultKind is what goes wrong.
type FaultKind uint8

// The kinds of faults.
const (
	Fail     FaultKind = iota // the connection ends with Err
	Hangup                    // the connection ends in order
	Stall                     // nothing comes any more
	Panic                     // the driver panics
	Reject                    // the response fails with Err before it is created
	Broken                    // the response fails with Err
	Repeated                  // ends of responses and of transcripts are told twice
)

// Fault is something that goes wrong.
type Fault struct {
	Conn int // number of the connection, from 0; -1 for all
	N    int // number of the response on it, from 0; -1 for all; for AtResponse and AtOutput
	When When
	Kind FaultKind
	Err  error // default a connection error
}

// Served is one response as it would be billed.
type Served struct {
	ID     string
	Usage  driver.Usage
	Stated driver.Usage  // what the client was told of it
	Status driver.Status // "" while it goes on
	Told   bool          // its end was told
}

// Ledger is what a model served.
type Ledger struct {
	Connects    int // asked for, faults included
	Dials       int // that came about
	Open        int // connections that are not closed
	Setups      []*driver.Setup
	Heard       []time.Duration // audio, per connection
	Responses   []Served
	Transcribed time.Duration // billed to the model that transcribes
	Time        time.Duration // of connections that are closed
	Updates     []driver.Update
	Requests    []driver.Request
	Said        []string // texts that Say was given
	Truncated   map[string]time.Duration
	Deleted     []string
	Cancels     int
	Images      int
	Starts      int // of turns, by the client
	Commits     int
	Clears      int
	Items       []chat.Item // the conversation of the latest connection
}

// Realtime is the driver. It is safe for concurrent use.
type Realtime struct {
	o Options

	mu      sync.Mutex
	ledger  Ledger
	text    int // next of Texts
	replies int
	conns   []*conn
}

// New returns a model that follows o, which may be nil.
func New(o *Options) *Realtime {
	r := &Realtime{}
	if o != nil {
		r.o = *o
	}
	if r.o.Info == (model.Info{}) {
		r.o.Info = model.Info{Label: "scripted.Realtime", Provider: "scripted", Model: "script"}
	}
	if r.o.Capabilities == nil {
		r.o.Capabilities = &All
	}
	if r.o.Silence == 0 {
		r.o.Silence = 300 * time.Millisecond
	}
	if r.o.Threshold == 0 {
		r.o.Threshold = 300
	}
	if r.o.PerChar == 0 {
		r.o.PerChar = 50 * time.Millisecond
	}
	if r.o.Speed == 0 {
		r.o.Speed = 10
	}
	r.ledger.Truncated = map[string]time.Duration{}
	return r
}

// Info implements driver.Realtime.
func (r *Realtime) Info() model.Info { return r.o.Info }

// Capabilities implements driver.Realtime.
func (r *Realtime) Capabilities() driver.Capabilities { return *r.o.Capabilities }

// Connect implements driver.Realtime.
func (r *Realtime) Connect(ctx context.Context, s *driver.Setup) (driver.Conn, error) {
	r.mu.Lock()
	n := r.ledger.Connects
	r.ledger.Connects++
	f := r.fault(n, AtConnect, 0)
	r.mu.Unlock()
	if f != nil {
		if f.Kind == Stall {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		return nil, f.error(r.o.Info)
	}
	opening, err := r.o.Acquire.pass(ctx)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	c := newConn(r, n, s)
	c.began = c.began.Add(-opening)
	r.conns = append(r.conns, c)
	r.ledger.Dials++
	r.ledger.Open++
	r.ledger.Setups = append(r.ledger.Setups, &c.given)
	r.ledger.Heard = append(r.ledger.Heard, 0)
	if a := r.o.Acquire; a != nil {
		metrics.Record(ctx, &metrics.Connection{
			Header: metrics.Header{
				Label: r.o.Info.Label, Source: metrics.Measured,
				Metadata: metrics.Metadata{ModelName: r.o.Info.Model, ModelProvider: r.o.Info.Provider},
			},
			Kind: "realtime", AcquireTime: a.Took, Reused: a.Reused,
		})
		return connected{c, *a}, nil
	}
	return c, nil
}

// pass lets the time of a connection's opening pass, and returns that since it was made.
func (a *Acquire) pass(ctx context.Context) (time.Duration, error) {
	if a == nil || a.Opening == 0 {
		return 0, ctx.Err()
	}
	t := time.NewTimer(a.Took + a.Opening)
	defer t.Stop()
	select {
	case <-t.C:
		return a.Opening, nil
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// fault is the fault that strikes connection n now.
func (r *Realtime) fault(n int, when When, response int) *Fault {
	for i := range r.o.Faults {
		f := &r.o.Faults[i]
		if f.Kind != Repeated && f.When == when && (f.Conn == n || f.Conn == -1) && (f.N == response || f.N == -1 || when == AtConnect) {
			return f
		}
	}
	return nil
}

func (f *Fault) error(info model.Info) error {
	if f.Kind == Panic {
		panic("scripted panic")
	}
	if f.Err != nil {
		return f.Err
	}
	return &model.Error{Kind: model.KindConnection, Provider: info.Provider, Op: "scripted fault"}
}

// Ledger returns what was served until now.
func (r *Realtime) Ledger() Ledger {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.ledger
	l.Setups, l.Heard, l.Responses = slices.Clone(l.Setups), slices.Clone(l.Heard), slices.Clone(l.Responses)
	l.Updates, l.Requests, l.Said, l.Deleted = slices.Clone(l.Updates), slices.Clone(l.Requests), slices.Clone(l.Said), slices.Clone(l.Deleted)
	if n := len(r.conns); n > 0 {
		l.Items = slices.Clone(r.conns[n-1].items)
	}
	return l
}

// Stated is the sum of what the client was told.
func (l *Ledger) Stated() (sum driver.Usage) {
	for _, s := range l.Responses {
		add(&sum, s.Stated)
	}
	return sum
}

// Usage is the sum of what all responses cost.
func (l *Ledger) Usage() (sum driver.Usage) {
	for _, s := range l.Responses {
		add(&sum, s.Usage)
	}
	return sum
}

func add(sum *driver.Usage, u driver.Usage) {
	sum.InputTokens += u.InputTokens
	sum.OutputTokens += u.OutputTokens
	sum.TotalTokens += u.TotalTokens
	sum.Input.AudioTokens += u.Input.AudioTokens
	sum.Input.TextTokens += u.Input.TextTokens
	sum.Input.CachedTokens += u.Input.CachedTokens
	sum.Output.AudioTokens += u.Output.AudioTokens
	sum.Output.TextTokens += u.Output.TextTokens
}

// Emit tells an event on the latest connection, as if the provider did by itself.
func (r *Realtime) Emit(e driver.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := len(r.conns); n > 0 {
		r.conns[n-1].give(0, e)
	}
}

// Break ends the latest connection with err; nil ends it in order.
func (r *Realtime) Break(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := len(r.conns); n > 0 {
		r.conns[n-1].strike(&Fault{Kind: Fail, Err: err}, err == nil)
	}
}
