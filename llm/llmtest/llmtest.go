// Package llmtest is the conformance kit for language model drivers: it plays good and bad
// answers through a driver and checks what its caller would see and pay.
//
// The author of a driver writes a Harness, which makes the driver's provider (a sandbox, never
// the real one) act out a Scene, and calls Run:
//
//	func TestConformance(t *testing.T) { llmtest.Run(t, harness{}) }
//
// Each case says in a sentence what it expects; the sentence is printed when it is broken.
package llmtest

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/llm"
	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/llm/driver"
	"github.com/parley-go/parley/model/fault"
)

// RetryAfter is the hint that comes with RateLimit.
const RetryAfter = time.Second

// Scene is what the provider acts out.
type Scene struct {
	// Tool asks for an answer that calls Tool instead of a text of at least four words.
	Tool  bool
	Fault fault.Kind
	// Times is how many requests meet the fault before the provider is well again; -1 for all.
	Times int
}

// Tool is the name of the tool in requests; it has one required string parameter, "location".
const Tool = "lookup_weather"

// Stage is a driver whose provider acts out one Scene.
type Stage struct {
	// LLM is the driver under test.
	LLM driver.LLM
	// Text is the text that the provider sends; empty if the harness cannot know it.
	Text string
	// Usage is the sum of what the provider stated so far, its ledger; nil skips those checks.
	Usage func() driver.Usage
	// Billed is the sum of what the provider bills, whether it stated it or not; nil skips the checks of
	// what is estimated.
	Billed func() driver.Usage
	// Dials is how many connections the provider accepted; nil skips the check of connection events.
	Dials func() int
	// Secrets must appear in no error: the key the driver was given.
	Secrets []string
}

// Harness sets stages for a driver. Clean up with t.Cleanup.
type Harness interface {
	// Stage sets one up, or returns nil if the provider cannot act out the scene. The question of
	// every request is Question.
	Stage(t *testing.T, s Scene) *Stage
}

// Virtual is implemented by harnesses without sockets; their cases run on virtual time.
type Virtual interface {
	Virtual()
}

// Question is what the user says in requests.
const Question = "What is the weather in Paris?"

// Run checks a driver.
func Run(t *testing.T, h Harness) {
	for _, c := range cases {
		t.Run(strings.ReplaceAll(c.name, " ", "_"), func(t *testing.T) {
			skipped := false
			run := func(t *testing.T) {
				st := h.Stage(t, c.scene)
				if skipped = st == nil; skipped {
					return
				}
				k := newKit(t, c, st)
				defer k.model.Close()
				c.check(k)
			}
			if _, ok := h.(Virtual); ok {
				synctest.Test(t, run)
			} else {
				run(t)
			}
			if skipped {
				t.Skipf("the harness has no %q", c.scene.Fault)
			}
		})
	}
}

func request(tool bool) *llm.Request {
	c := &chat.Context{}
	c.Add(chat.NewMessage(chat.System, "You are a test."), chat.NewMessage(chat.User, Question))
	r := &llm.Request{Messages: c}
	if tool {
		r.Tools = []llm.Tool{weather}
	}
	return r
}
