package googlebox

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"github.com/parley-go/parley/internal/sandbox"
	"github.com/parley-go/parley/metrics"
)

// LiveOptions are the options of Live.
type LiveOptions struct {
	sandbox.Talk
	// Pace makes audio come no faster than so many times real time; 0 at once.
	Pace float64
	// Thought is what the models think before they speak.
	Thought string
	// Late has the last word of the user come after the answer to him has begun.
	Late bool
	// Seen, if set, gets every message of the client.
	Seen func(fields map[string]any)
}

const (
	liveStudio = "/ws/google.ai.generativelanguage.%s.GenerativeService.BidiGenerateContent"
	liveVertex = "/ws/google.cloud.aiplatform.v1beta1.LlmBidiService/BidiGenerateContent"
	hearRate   = 16000
	speakRate  = 24000
)

// LiveService is what Live serves.
type LiveService struct {
	o LiveOptions

	mu    sync.Mutex
	open  map[*liver]struct{}
	saved map[string][]sandbox.Turn // conversations, by handle
}

// Live serves conversations as AI Studio and Vertex AI do. The key is the API key there, and the access token
// here.
func Live(s *sandbox.Server, o LiveOptions) *LiveService {
	o.Talk = o.Talk.Defaults()
	l := &LiveService{o: o, open: map[*liver]struct{}{}, saved: map[string][]sandbox.Turn{}}
	s.Errors(refusal)
	for _, version := range []string{"v1alpha", "v1beta"} {
		s.HandleSocket(fmt.Sprintf(liveStudio, version), func(c *sandbox.Call, ws *sandbox.Socket) {
			l.serve(&liver{s: l, c: c, ws: ws, alpha: version == "v1alpha"})
		}, func(c *sandbox.Call) bool { return c.Authorized("X-Goog-Api-Key", "") })
	}
	s.HandleSocket(liveVertex, func(c *sandbox.Call, ws *sandbox.Socket) {
		l.serve(&liver{s: l, c: c, ws: ws, vertex: true})
	}, func(c *sandbox.Call) bool { return c.Authorized("Authorization", "Bearer ") })
	return l
}

// GoAway tells all clients that their connections will be closed, and closes them after d.
func (l *LiveService) GoAway(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for t := range l.open {
		_ = t.ws.Send(map[string]any{"goAway": map[string]any{"timeLeft": fmt.Sprintf("%.3fs", d.Seconds())}}, false)
		timer := time.AfterFunc(d, func() { t.ws.Close(websocket.ClosePolicyViolation, "session duration limit") })
		go func() { // as long as the connection
			t.ws.Wait()
			timer.Stop()
		}()
	}
}

// Forget has no handle lead to a conversation any more.
func (l *LiveService) Forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	clear(l.saved)
}

// liver is one connection.
type liver struct {
	s      *LiveService
	c      *sandbox.Call
	ws     *sandbox.Socket
	vertex bool
	alpha  bool
	wg     sync.WaitGroup // of answers

	mu      sandbox.Mutex
	setup   *liveSetup
	begun   bool // it was told anything besides the setup
	turns   []sandbox.Turn
	ear     sandbox.Ear
	written int           // words of what is being said that were written down
	said    sandbox.Heard // in a turn that the client ends
	from    time.Duration // the user's turn begins here
	at      time.Duration // audio that was taken
	inTurn  bool          // the client says that the user speaks
	calls   []*liveCall   // that wait for outputs
	active  *liveAnswer   // nil for none
	again   bool          // an answer begins when the active one is over
	read    metrics.InputTokenDetails
}

// refused is why a connection is closed.
type refused struct {
	code   int
	reason string
}

func (r *refused) Error() string { return r.reason }

func invalid(format string, args ...any) error {
	return &refused{websocket.CloseInvalidFramePayloadData, fmt.Sprintf(format, args...)}
}

func (l *LiveService) serve(t *liver) {
	defer t.wg.Wait()
	end := t.c.Begin()
	defer end()
	l.mu.Lock()
	l.open[t] = struct{}{}
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		delete(l.open, t)
		l.mu.Unlock()
	}()
	in := t.ws.Inbox(func(bool, []byte) {})
	for {
		_, data, err := in.Next(0)
		if err == nil {
			if l.o.Seen != nil {
				var fields map[string]any
				_ = json.Unmarshal(data, &fields)
				l.o.Seen(fields)
			}
			t.mu.Lock()
			err = t.take(data)
			t.mu.Unlock()
		}
		var r *refused
		switch {
		case errors.As(err, &r):
			t.ws.Close(r.code, r.reason)
		case err != nil:
			t.ws.Hang()
		default:
			continue
		}
		t.mu.Lock()
		t.stop()
		t.mu.Unlock()
		return
	}
}

// take does what a message asks for.
func (t *liver) take(data []byte) error {
	var m struct {
		Setup   *liveSetup   `json:"setup"`
		Input   *liveInput   `json:"realtimeInput"`
		Content *liveContent `json:"clientContent"`
		Outputs *struct {
			Responses []liveOutput `json:"functionResponses"`
		} `json:"toolResponse"`
	}
	if err := sandbox.Strict(data, &m); err != nil {
		return invalid("Invalid JSON payload received. %s", err.Error())
	}
	switch n := count(m.Setup != nil, m.Input != nil, m.Content != nil, m.Outputs != nil); {
	case n != 1:
		return invalid("Request contains an invalid argument.")
	case (m.Setup == nil) != (t.setup != nil):
		return invalid("setup must be the first message and only the first")
	case m.Setup != nil:
		return t.begin(m.Setup)
	}
	first := !t.begun
	t.begun = true
	switch {
	case m.Input != nil:
		return t.input(m.Input)
	case m.Content != nil:
		return t.content(m.Content, first)
	}
	return t.outputs(m.Outputs.Responses)
}

// begin takes the setup.
func (t *liver) begin(s *liveSetup) error {
	if err := s.check(t.vertex, t.alpha); err != nil {
		return err
	}
	if h := s.Resumption; h != nil && h.Handle != "" {
		t.s.mu.Lock()
		turns, ok := t.s.saved[h.Handle]
		t.s.mu.Unlock()
		if !ok {
			return &refused{websocket.ClosePolicyViolation, "BidiGenerateContent session not found"}
		}
		t.turns = slices.Clone(turns)
	}
	t.setup = s
	t.ear = sandbox.Ear{Rate: hearRate, Text: t.s.o.Ear, Understand: t.c.Understand, Silence: time.Duration(s.Turns.Detection.Silence) * time.Millisecond}
	return t.ws.Send(map[string]any{"setupComplete": map[string]any{}}, false)
}

// save gives the client a handle to go on from here.
func (t *liver) save() {
	if t.setup.Resumption == nil {
		return
	}
	handle := metrics.NewID("handle_")
	t.s.mu.Lock()
	t.s.saved[handle] = slices.Clone(t.turns)
	t.s.mu.Unlock()
	_ = t.ws.Send(map[string]any{"sessionResumptionUpdate": map[string]any{"newHandle": handle, "resumable": true}}, false)
}
