package google

import (
	"encoding/json"
	"testing"

	"pgregory.net/rapid"

	"github.com/parley-go/parley/internal/wire"
	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/realtime/driver"
)

// unconnected is a connection that only takes messages.
func unconnected(manual bool) *liveConn {
	return newLiveConn(&liveModel{place: &place{}}, &wire.Peer{}, nil, &driver.Setup{ClientTurns: manual, History: &chat.Context{}})
}

// checker checks what a connection tells: everything in its place, and ended once.
type checker struct {
	t      interface{ Fatalf(string, ...any) }
	going  map[string]bool // responses; two when an answer that waited for its request is told while another goes on
	seen   map[string]bool
	open   map[string]bool // messages
	spent  map[string]driver.Usage
	beside driver.Usage // of no response
}

func newChecker(t interface{ Fatalf(string, ...any) }) *checker {
	return &checker{t: t, going: map[string]bool{}, seen: map[string]bool{}, open: map[string]bool{}, spent: map[string]driver.Usage{}}
}

func (k *checker) take(events []driver.Event) {
	within := func(response, what string) {
		if !k.going[response] {
			k.t.Fatalf("%s of %q while %v go on", what, response, k.going)
		}
	}
	for _, e := range events {
		switch e := e.(type) {
		case *driver.ResponseCreated:
			if k.seen[e.ResponseID] {
				k.t.Fatalf("%q begins again", e.ResponseID)
			}
			k.going[e.ResponseID], k.seen[e.ResponseID] = true, true
		case *driver.MessageStarted:
			within(e.ResponseID, "message")
			k.open[e.ItemID] = true
		case *driver.Text:
			within(e.ResponseID, "text")
			if !k.open[e.ItemID] {
				k.t.Fatalf("text of no message")
			}
		case *driver.MessageDone:
			within(e.ResponseID, "end of a message")
			if !k.open[e.ItemID] {
				k.t.Fatalf("end of no message")
			}
			delete(k.open, e.ItemID)
		case *driver.ToolCall:
			within(e.ResponseID, "call")
		case *driver.Interrupted:
			within(e.ResponseID, "interruption")
		case *driver.ResponseUsage:
			if e.ResponseID == "" {
				k.beside = plus(k.beside, e.Usage)
			} else {
				k.spent[e.ResponseID] = e.Usage
			}
		case *driver.ResponseDone:
			if !k.going[e.ResponseID] && k.seen[e.ResponseID] {
				k.t.Fatalf("%q ends again", e.ResponseID)
			}
			delete(k.going, e.ResponseID)
			k.seen[e.ResponseID] = true
			if e.Usage != nil {
				k.spent[e.ResponseID] = *e.Usage
			}
		}
	}
}

func (k *checker) total() (n int64) {
	for _, u := range k.spent {
		n += u.InputTokens + u.OutputTokens
	}
	return n + k.beside.InputTokens + k.beside.OutputTokens
}

// Whatever order a provider finds, its answers are told from their beginning to their end, and cost what it stated
// for its turns.
func TestRealtimeRandom(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		c := unconnected(rapid.Bool().Draw(t, "manual"))
		k := newChecker(t)
		var billed, stated int64
		content := false
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			m := &liveMessage{Content: &serverContent{}}
			state := func() {
				stated += rapid.Int64Range(1, 9).Draw(t, "more")
				m.Usage = &liveUsage{Prompt: stated}
			}
			switch rapid.IntRange(0, 11).Draw(t, "what") {
			case 0, 1:
				m.Content.Spoken, content = &transcription{Text: "word"}, true
			case 2:
				m.Content.Heard = &transcription{Text: " word"}
			case 3:
				m.Content.Interrupted = true
				content = content || c.turn || len(c.asked) > 0 // of an answer of which nothing came
			case 4:
				m.Content.GenerationComplete = true
			case 5, 6:
				if content {
					state()
				}
				m.Content.TurnComplete, content = true, false
			case 7:
				if content {
					state()
				}
			case 8:
				m.ToolCall, content = &liveToolCall{[]*functionCall{{ID: metrics.NewID("c"), Name: "light"}}}, true
			case 9:
				c.tell(func() {
					if r := (&driver.Request{ID: metrics.NewID("req_")}); len(c.asked) == 0 && !c.adopt(r) {
						c.request(r)
					}
				})
			case 10:
				if c.manual {
					c.tell(c.userBegins)
				}
			case 11:
				if c.manual {
					c.tell(c.userEnds)
				}
			}
			if err := c.take(m); err != nil {
				t.Fatal(err)
			}
			if m.Content.TurnComplete {
				billed, stated = billed+stated, 0
			}
			k.take(c.ready)
			c.ready = nil
		}
		if err := c.take(&liveMessage{Content: &serverContent{TurnComplete: true}}); err != nil {
			t.Fatal(err)
		}
		k.take(c.ready)
		if len(k.going) > 0 || len(k.open) > 0 {
			t.Fatalf("%v go on, %d messages are open", k.going, len(k.open))
		}
		if got := k.total(); got != billed+stated && c.kept == nil {
			t.Fatalf("told %d tokens, the provider stated %d", got, billed+stated)
		}
	})
}

func FuzzRealtimeMessage(f *testing.F) {
	for _, m := range []string{saysSound, saysComplete, saysCall, saysText("Hi"), saysHeard("Hi"), saysOver(3, 4),
		`{"serverContent":{"modelTurn":{"parts":[null,{"inlineData":{"mimeType":"audio/pcm;rate=8000","data":"AA=="}}]}}}`,
		`{"toolCall":{"functionCalls":[null]},"goAway":{"timeLeft":"x"},"sessionResumptionUpdate":{}}`} {
		f.Add([]byte(m), []byte(saysOver(1, 1)))
	}
	f.Fuzz(func(t *testing.T, a, b []byte) {
		c := unconnected(false)
		k := newChecker(t)
		for _, data := range [][]byte{a, b, a} {
			var m liveMessage
			if json.Unmarshal(data, &m) != nil || c.take(&m) != nil {
				return
			}
			k.take(c.ready)
			c.ready = nil
		}
	})
}
