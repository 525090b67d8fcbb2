package providertest

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/parley-go/parley/agent"
	"github.com/parley-go/parley/internal/sandbox"
	"github.com/parley-go/parley/internal/sandbox/cartesiabox"
	"github.com/parley-go/parley/internal/sandbox/deepgrambox"
	"github.com/parley-go/parley/internal/sandbox/openaibox"
	"github.com/parley-go/parley/llm"
	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/model/fault"
	"github.com/parley-go/parley/opt"
	"github.com/parley-go/parley/plugins/cartesia"
	"github.com/parley-go/parley/plugins/deepgram"
	"github.com/parley-go/parley/plugins/openai"
	"github.com/parley-go/parley/session"
	"github.com/parley-go/parley/session/sessiontest"
	"github.com/parley-go/parley/stt"
	"github.com/parley-go/parley/tts"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait: far more than anything here takes.
const patience = 20 * time.Second

var conn = model.ConnOptions{MaxRetry: 2, RetryInterval: 50 * time.Millisecond, Timeout: 2 * time.Second}

// voice is a model of Cartesia's on a sandbox.
func voice(t *testing.T, p fault.Plan) (*tts.Model, *sandbox.Server) {
	t.Helper()
	box := sandbox.Start(t, p)
	cartesiabox.TTS(box, cartesiabox.TTSOptions{})
	return voiceOf(t, box), box
}

func voiceOf(t *testing.T, box *sandbox.Server) *tts.Model {
	t.Helper()
	m, err := cartesia.NewTTS(&cartesia.TTSOptions{APIKey: box.Key, BaseURL: box.URL(), Rate: 16000, Front: &tts.ModelOptions{Conn: conn, CountReplays: true}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	return m
}

// hearing is a model of Deepgram's on a sandbox.
func hearing(t *testing.T, p fault.Plan) (*stt.Model, *sandbox.Server) {
	t.Helper()
	box := sandbox.Start(t, p)
	deepgrambox.Listen(box)
	m, err := deepgram.NewSTT(&deepgram.STTOptions{APIKey: box.Key, BaseURL: box.URL(), Front: &stt.ModelOptions{Conn: conn}})
	if err != nil {
		t.Fatal(err)
	}
	return m, box
}

// mind is a model of OpenAI's on a sandbox.
func mind(t *testing.T, p fault.Plan) (*llm.Model, *sandbox.Server) {
	t.Helper()
	box := sandbox.Start(t, p)
	openaibox.Chat(box, "", openaibox.ChatOptions{})
	m, err := openai.NewLLM(&openai.LLMOptions{APIKey: box.Key, BaseURL: box.URL(), Front: &llm.Options{Conn: conn}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	return m, box
}

// call is a session whose user is a script, in real time.
type call struct {
	*session.Session
	t    *testing.T
	room *sessiontest.Transport

	mu      sync.Mutex
	events  []session.Event
	changed chan struct{} // size 1: a full channel says that there is something new
}

func start(t *testing.T, o session.Options) *call {
	t.Helper()
	return startWith(t, o, &agent.Agent{Instructions: "Be brief."})
}

func startWith(t *testing.T, o session.Options, a *agent.Agent) *call {
	t.Helper()
	room := sessiontest.New()
	return startIn(t, o, a, room, room)
}

// startIn starts a session over what is made of a room.
func startIn(t *testing.T, o session.Options, a *agent.Agent, over session.Transport, room *sessiontest.Transport) *call {
	t.Helper()
	o.AECWarmup = opt.Off[time.Duration]()
	o.Logger = slog.New(slog.DiscardHandler)
	c := &call{Session: session.New(o), t: t, room: room, changed: make(chan struct{}, 1)}
	session.On(c.Session, func(e session.Event) {
		c.mu.Lock()
		c.events = append(c.events, e)
		c.mu.Unlock()
		select {
		case c.changed <- struct{}{}:
		default:
		}
	})
	if err := c.Start(t.Context(), a, over); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.hangUp)
	return c
}

func (c *call) hangUp() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := c.Close(ctx); err != nil {
		c.t.Errorf("close: %v", err)
	}
}

// speak makes the user audible from now on.
func (c *call) speak(d time.Duration) {
	now := time.Now()
	c.room.In.Speak(now, now.Add(d))
}

// hear waits until so much of what the agent says was heard.
func (c *call) hear(d time.Duration) {
	c.t.Helper()
	for limit := time.Now().Add(patience); c.room.Out.Played() < d; time.Sleep(time.Millisecond) {
		if time.Now().After(limit) {
			c.t.Fatalf("%v were heard in %v, want %v; history: %q", c.room.Out.Played(), patience, d, c.said())
		}
	}
}

// await waits until cond holds of the events so far.
func (c *call) await(what string, cond func([]session.Event) bool) {
	c.t.Helper()
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for {
		c.mu.Lock()
		ok := cond(c.events)
		c.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-c.changed:
		case <-limit.C:
			c.t.Fatalf("waited %v for %s; history: %q", patience, what, c.said())
		}
	}
}

// said is the conversation, one message each.
func (c *call) said() (list []string) {
	for it := range c.History().All() {
		if m, ok := it.(*chat.Message); ok {
			list = append(list, string(m.Role)+": "+m.Text())
		}
	}
	return list
}

// awaitMessages waits until there are n messages.
func (c *call) awaitMessages(n int) []string {
	c.t.Helper()
	c.await("messages", func([]session.Event) bool { return len(c.said()) >= n })
	return c.said()
}

// failures are the error events of a kind of model.
func (c *call) failures(kind string) (list []session.ErrorOccurred) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range c.events {
		if e, ok := e.(session.ErrorOccurred); ok && e.Kind == kind {
			list = append(list, e)
		}
	}
	return list
}

// connections are the connection events of a kind of model.
func (c *call) connections(kind string) (list []*metrics.Connection) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range c.events {
		if m, ok := e.(session.MetricsCollected); ok {
			if conn, ok := m.Metrics.(*metrics.Connection); ok && conn.Kind == kind {
				list = append(list, conn)
			}
		}
	}
	return list
}

// spent is one line of the session's usage.
func spent[U metrics.ModelUsage](c *call) (u U) {
	for _, m := range c.Usage().Models {
		if x, ok := m.(U); ok {
			u = x
		}
	}
	return u
}

func words(n int) string { return strings.TrimSpace(strings.Repeat("word ", n)) }
