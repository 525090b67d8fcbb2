package session_test

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/parley-go/parley/agent"
	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/llm"
	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/llm/driver"
	"github.com/parley-go/parley/llm/scripted"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/opt"
	"github.com/parley-go/parley/session"
	"github.com/parley-go/parley/session/sessiontest"
	"github.com/parley-go/parley/stt"
	sttdriver "github.com/parley-go/parley/stt/driver"
	"github.com/parley-go/parley/tts"
	ttsdriver "github.com/parley-go/parley/tts/driver"
	"github.com/parley-go/parley/turn"
	"github.com/parley-go/parley/vad"
	vaddriver "github.com/parley-go/parley/vad/driver"
)

// call is a session with a scripted user. Times are seconds since its start.
type call struct {
	t         *testing.T
	s         *session.Session
	opt       session.Options
	room      *sessiontest.Transport
	transport session.Transport // room, unless a test has another one
	traced    model.SpanStarter // of all that is done; nil for nobody
	stt       *sttScript
	llm       *scripted.LLM
	tts       *ttsScript
	t0        time.Time

	mu     sync.Mutex
	events []session.Event
	spent  []metrics.Event
}

// newCall makes a call whose VAD ends speech after 0.5 s, whose STT needs 0.2 s, whose LLM answers
// in 0.3 s and whose TTS needs 0.2 s, as the cases of the catalogue have it.
func newCall(t *testing.T, answers ...scripted.Answer) *call {
	c := &call{t: t, room: sessiontest.New(), stt: &sttScript{}, tts: &ttsScript{ttfb: 200 * time.Millisecond, length: 2 * time.Second}}
	for i := range answers {
		if answers[i].TTFT == 0 {
			answers[i].TTFT, answers[i].Delay = 100*time.Millisecond, 100*time.Millisecond
		}
	}
	c.llm = scripted.New(&scripted.Options{Answers: answers})
	c.opt = session.Options{
		VAD: vad.New(vadScript{}), STT: stt.New(c.stt, nil), LLM: llm.New(c.llm, nil), TTS: tts.New(c.tts, nil),
		// These have tests of their own.
		AECWarmup: opt.Off[time.Duration](), TurnHandling: turn.Handling{Preemptive: turn.Preemptive{Enabled: opt.Off[bool]()}},
		Logger: slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelWarn})),
	}
	return c
}

// testWriter shows logs only when the test fails.
type testWriter struct{ t *testing.T }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}

func (c *call) start(a *agent.Agent) {
	c.t.Helper()
	c.s = session.New(c.opt)
	if c.traced != nil {
		c.s.Trace(c.traced)
	}
	session.On(c.s, func(e session.Event) {
		c.mu.Lock()
		defer c.mu.Unlock()
		if m, ok := e.(session.MetricsCollected); ok {
			c.spent = append(c.spent, m.Metrics)
		} else {
			c.events = append(c.events, e)
		}
	})
	c.t0 = time.Now()
	if a == nil {
		a = &agent.Agent{Instructions: "Be brief."}
	}
	if err := c.s.Start(c.t.Context(), a, cmp.Or[session.Transport](c.transport, c.room)); err != nil {
		c.t.Fatalf("start: %v", err)
	}
	c.t.Cleanup(func() { _ = c.s.Close(context.Background()) })
}

func (c *call) at(sec float64) time.Time {
	return c.t0.Add(time.Duration(sec * float64(time.Second)))
}

// says makes the user speak, and the STT understand text 0.2 s after the end; "" is noise.
func (c *call) says(from, to float64, text string) {
	c.room.In.Speak(c.at(from), c.at(to))
	if text != "" {
		c.stt.expect(time.Duration((to+0.2)*float64(time.Second)), text)
	}
}

// until lets the time pass.
func (c *call) until(sec float64) { time.Sleep(time.Until(c.at(sec))) }

// interrupt stops all speeches without waiting for their end.
func (c *call) interrupt(force bool) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = c.s.Interrupt(ctx, force)
}

// close ends the session and returns what there is to know of it.
func (c *call) close() *session.Report {
	c.t.Helper()
	if err := c.s.Close(context.Background()); err != nil {
		c.t.Fatalf("close: %v", err)
	}
	rep, err := c.s.Report()
	if err != nil {
		c.t.Fatalf("report: %v", err)
	}
	return rep
}

// timeline is the state changes and items so far, one a line: "3.00 agent thinking".
func (c *call) timeline() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var b strings.Builder
	for _, e := range c.events {
		line := ""
		switch e := e.(type) {
		case session.UserStateChanged:
			line = "user " + string(e.New)
		case session.AgentStateChanged:
			line = "agent " + string(e.New)
		case session.ConversationItemAdded:
			line = describe(e.Item)
		case session.UserInputTranscribed:
			if e.Final {
				line = "final " + e.Transcript
			}
		}
		if line != "" {
			fmt.Fprintf(&b, "%.2f %s\n", e.When().Sub(c.t0).Seconds(), line)
		}
	}
	return b.String()
}

func describe(it chat.Item) string {
	switch it := it.(type) {
	case *chat.Message:
		s := fmt.Sprintf("%s: %s", it.Role, it.Text())
		if it.Interrupted {
			s += " [interrupted]"
		}
		return s
	case *chat.FunctionCall:
		return fmt.Sprintf("call %s(%s)", it.Name, it.Arguments)
	case *chat.FunctionCallOutput:
		s := "output " + it.Output
		if it.IsError {
			s += " [error]"
		}
		return s
	case *chat.Handoff:
		return fmt.Sprintf("handoff %s -> %s", it.OldAgentID, it.NewAgentID)
	}
	return it.Type()
}

// history is the conversation, one item a line.
func (c *call) history() string { return historyOf(c.s.History()) }

func historyOf(h *chat.Context) string {
	var b strings.Builder
	for it := range h.All() {
		b.WriteString(describe(it) + "\n")
	}
	return b.String()
}

func (c *call) wantHistory(want ...string) {
	c.t.Helper()
	diff(c.t, "history", c.history(), strings.Join(want, "\n")+"\n")
}

func (c *call) wantTimeline(want ...string) {
	c.t.Helper()
	diff(c.t, "timeline", c.timeline(), strings.Join(want, "\n")+"\n")
}

func diff(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s:\n%swant:\n%s", what, indent(got), indent(want))
	}
}

func indent(s string) string {
	return "  " + strings.ReplaceAll(strings.TrimRight(s, "\n"), "\n", "\n  ") + "\n"
}

// vadScript hears speech in every frame that is not silent: 40 ms start it, 0.5 s of silence end it,
// unless ends says otherwise. claims is what it says of that; less than zero is nothing.
type vadScript struct{ ends, claims time.Duration }

func (vadScript) Info() model.Info {
	return model.Info{Label: "script.VAD", Provider: "script", Model: "vad"}
}
func (s vadScript) NewStream() (vaddriver.Stream, error) { return &vadStream{vadScript: s}, nil }

type vadStream struct {
	vadScript
	ev             vaddriver.Event
	speech, silent time.Duration
}

func (v *vadStream) Process(f audio.Frame, emit func(*vaddriver.Event)) error {
	d := f.Duration()
	e := &v.ev
	e.Timestamp += d
	e.RawSpeech, e.RawSilence = v.speech, v.silent
	if f.Data[0] != 0 {
		v.speech, v.silent = v.speech+d, 0
	} else {
		v.speech, v.silent = 0, v.silent+d
	}
	if e.Speaking {
		e.SpeechDuration += d
	} else {
		e.SilenceDuration += d
	}
	e.Kind = vaddriver.InferenceDone
	emit(e)
	switch {
	case !e.Speaking && v.speech >= 40*time.Millisecond:
		e.Kind, e.Speaking, e.SpeechDuration, e.SilenceDuration = vaddriver.StartOfSpeech, true, v.speech, 0
		emit(e)
	case e.Speaking && v.silent >= cmp.Or(v.ends, 500*time.Millisecond):
		e.Kind, e.Speaking, e.SilenceDuration = vaddriver.EndOfSpeech, false, v.silent
		e.SpeechDuration -= v.silent
		emit(e)
		e.SpeechDuration = 0
	}
	return nil
}
func (v *vadStream) Flush() { *v = vadStream{vadScript: v.vadScript} }
func (v *vadStream) MinSilence() time.Duration {
	return max(cmp.Or(v.claims, 500*time.Millisecond), 0)
}
func (v *vadStream) Close() error { return nil }

// sttScript understands texts at positions of the audio.
type sttScript struct {
	mu     sync.Mutex
	script []expectation
	heard  time.Duration
	voiced time.Duration // of heard, what was not silence
	opened int           // streams
}

// expectation is an event, or an error, that comes when the STT has heard so much.
type expectation struct {
	at    time.Duration
	event sttdriver.Event
	err   error
}

func (s *sttScript) add(x expectation) {
	s.mu.Lock()
	s.script = append(s.script, x)
	slices.SortStableFunc(s.script, func(a, b expectation) int { return cmp.Compare(a.at, b.at) })
	s.mu.Unlock()
}

func (s *sttScript) expect(at time.Duration, text string) {
	s.add(expectation{at: at, event: words(sttdriver.Final, sttdriver.Alternative{Text: text, Confidence: 0.9})})
}

func (s *sttScript) expectInterim(at time.Duration, text string) {
	s.add(expectation{at: at, event: words(sttdriver.Interim, sttdriver.Alternative{Text: text, Confidence: 0.9})})
}

// tells has an event come after some seconds; fails an error, which ends the stream.
func (s *sttScript) tells(sec float64, ev sttdriver.Event) {
	s.add(expectation{at: seconds(sec), event: ev})
}
func (s *sttScript) fails(sec float64, err error) { s.add(expectation{at: seconds(sec), err: err}) }

// listens has the STT tell that the user began and ended to speak, 0.2 s later each.
func (s *sttScript) listens(from, to float64) {
	s.tells(from+0.2, sttdriver.Event{Kind: sttdriver.StartOfSpeech, SpeechStart: seconds(from)})
	s.tells(to+0.2, sttdriver.Event{Kind: sttdriver.EndOfSpeech})
}

func words(kind sttdriver.EventKind, a sttdriver.Alternative) sttdriver.Event {
	return sttdriver.Event{Kind: kind, Alternatives: []sttdriver.Alternative{a}}
}

func seconds(sec float64) time.Duration { return time.Duration(sec * float64(time.Second)) }

// streams is how many streams were opened.
func (s *sttScript) streams() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.opened
}

// total is how much was heard.
func (s *sttScript) total() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.heard
}

// loud is how much was heard that was not silence.
func (s *sttScript) loud() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.voiced
}

func (*sttScript) Info() model.Info {
	return model.Info{Label: "script.STT", Provider: "script", Model: "stt"}
}
func (*sttScript) Capabilities() sttdriver.Capabilities { return sttdriver.Capabilities{} }
func (s *sttScript) Open(context.Context, sttdriver.Options) (sttdriver.Stream, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.opened++
	return &sttStream{s: s, out: make(chan expectation, 100), closed: make(chan struct{})}, nil
}

type sttStream struct {
	s      *sttScript
	out    chan expectation // size 100: no script has that many
	closed chan struct{}
	once   sync.Once
}

func (x *sttStream) Push(_ context.Context, f audio.Frame) error {
	x.s.mu.Lock()
	defer x.s.mu.Unlock()
	x.s.heard += f.Duration()
	if f.Data[0] != 0 {
		x.s.voiced += f.Duration()
	}
	for len(x.s.script) > 0 && x.s.script[0].at <= x.s.heard {
		x.out <- x.s.script[0]
		x.s.script = x.s.script[1:]
	}
	return nil
}
func (x *sttStream) Flush(context.Context) error { return nil }
func (x *sttStream) CloseSend(context.Context) error {
	x.s.mu.Lock()
	defer x.s.mu.Unlock()
	for _, e := range x.s.script {
		if e.event.Kind == sttdriver.Final {
			x.out <- e
		}
	}
	x.s.script = nil
	close(x.out)
	return nil
}
func (x *sttStream) Next(ctx context.Context) (*sttdriver.Event, error) {
	select {
	case e, ok := <-x.out:
		if !ok {
			return nil, io.EOF
		}
		if e.err != nil {
			return nil, e.err
		}
		return &e.event, nil
	case <-x.closed:
		return nil, io.ErrClosedPipe
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
func (x *sttStream) Close() error {
	x.once.Do(func() { close(x.closed) })
	return nil
}

// ttsScript speaks every text in the same time, evenly, once it is complete.
type ttsScript struct {
	mu           sync.Mutex
	ttfb, length time.Duration
	chars        int64
	open, peak   int             // streams that have not ended
	untimed      int             // the last words of a text have no times
	text         strings.Builder // all that was pushed
}

// most is how many syntheses ran at the same time.
func (s *ttsScript) most() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.peak
}

// pushed is all that was to be spoken.
func (s *ttsScript) pushed() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// lasts sets how long every later text takes.
func (s *ttsScript) lasts(d time.Duration) {
	s.mu.Lock()
	s.length = d
	s.mu.Unlock()
}

func (*ttsScript) Info() model.Info {
	return model.Info{Label: "script.TTS", Provider: "script", Model: "tts"}
}
func (*ttsScript) Capabilities() ttsdriver.Capabilities {
	return ttsdriver.Capabilities{SampleRate: 16000, Channels: 1, AlignedTranscript: true}
}
func (s *ttsScript) Open(context.Context) (ttsdriver.Stream, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open++
	s.peak = max(s.peak, s.open)
	return &ttsStream{s: s, length: s.length, full: make(chan struct{}), closed: make(chan struct{})}, nil
}

type ttsStream struct {
	s            *ttsScript
	text         string
	sent, length time.Duration
	full, closed chan struct{}
	once         sync.Once
}

func (x *ttsStream) Push(_ context.Context, text string) error {
	x.text += text
	x.s.mu.Lock()
	x.s.text.WriteString(text)
	x.s.chars += int64(len([]rune(text)))
	x.s.mu.Unlock()
	return nil
}
func (x *ttsStream) CloseSend(context.Context) error { close(x.full); return nil }
func (x *ttsStream) Next(ctx context.Context) (*ttsdriver.Chunk, error) {
	select {
	case <-x.full:
	case <-x.closed:
		return nil, io.ErrClosedPipe
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	c := &ttsdriver.Chunk{RequestID: "tts"}
	if x.sent == 0 {
		t := time.NewTimer(x.s.ttfb)
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		words := strings.Fields(x.text)
		for i, w := range words[:max(len(words)-x.s.untimed, 0)] {
			c.Words = append(c.Words, ttsdriver.Word{Text: w, Start: x.length * time.Duration(i) / time.Duration(len(words)),
				End: x.length * time.Duration(i+1) / time.Duration(len(words))})
		}
	}
	if x.sent >= x.length {
		return nil, io.EOF
	}
	c.Frame = audio.Silence(100*time.Millisecond, 16000, 1)
	x.sent += 100 * time.Millisecond
	return c, nil
}
func (x *ttsStream) Close() error {
	x.once.Do(func() {
		close(x.closed)
		x.s.mu.Lock()
		x.s.open--
		x.s.mu.Unlock()
	})
	return nil
}

// oneChunk is an answer that comes all at once.
func oneChunk(text string) []driver.Chunk { return []driver.Chunk{{Text: text}} }
