package workertest

import (
	"strings"
	"testing"
	"time"

	"github.com/parley-go/parley/llm/driver"
	llmscripted "github.com/parley-go/parley/llm/scripted"
	"github.com/parley-go/parley/session"
)

func TestTypedAndSpokenTurnsShareASession(t *testing.T) {
	t.Parallel()
	s := script{user: []string{"And who are you?"}, answers: []llmscripted.Answer{{Text: "It is Friday."}, {Text: "I am Kelly."}},
		agent: greets("Hello there.")}
	sc := newScene(t, scripted(s), nil)
	c := sc.dialAgent()
	c.answered()
	if err := c.Type(t.Context(), "What day is it?"); err != nil {
		t.Fatal(err)
	}
	c.answered()
	c.says(600 * ms)
	c.answered()
	c.wantFinals(false, "Hello there.", "It is Friday.", "I am Kelly.")
	c.wantFinals(true, "And who are you?")
	job := next(t, sc.jobs)
	job.Shutdown("")
	wantHistory(t, next(t, sc.reports), "assistant: Hello there.", "user: What day is it?", "assistant: It is Friday.",
		"user: And who are you?", "assistant: I am Kelly.")
	sc.quiet()
}

// TestInterruptedAgentFallsSilent has the caller speak while the agent tells a story. The audio stops,
// and what the agent remembers is what the caller was shown.
func TestInterruptedAgentFallsSilent(t *testing.T) {
	t.Parallel()
	story := "Once upon a time there was a king " + strings.Repeat("who told stories all day long ", 20)
	s := script{user: []string{"Stop it!"}, answers: []llmscripted.Answer{{Text: "As you like."}}, agent: greets(story)}
	sc := newScene(t, scripted(s), nil)
	c := sc.dialAgent()
	eventually(t, func() bool { return c.heard() > time.Second }, "the story begins")
	before := c.heard()
	c.says(time.Second)
	eventually(t, func() bool { s, _ := c.Speaking(); return !s }, "the agent falls silent")
	// It takes 0.5 s of speech to interrupt, and the caller notices silence only later.
	if d := c.heard() - before; d > 1500*ms {
		t.Errorf("heard %v of the story after the interruption began", d)
	}
	c.answered()
	c.wantFinals(true, "Stop it!")
	eventually(t, func() bool { return len(c.finals(false)) == 2 }, "both transcripts")
	shown := c.finals(false)
	next(t, sc.jobs).Shutdown("")
	r := next(t, sc.reports)
	wantHistory(t, r, "assistant: "+shown[0]+" [interrupted]", "user: Stop it!", "assistant: As you like.")
	// A character takes 40 ms: what is remembered is what was heard, to a word or two.
	heard := time.Duration(len(shown[0])) * perCharacter
	if whole := c.heard() - time.Duration(len("As you like."))*perCharacter; heard > whole+400*ms || heard < whole-400*ms {
		t.Errorf("remembers %v of the story, heard were %v", heard, whole)
	}
	sc.quiet()
}

func wantHistory(t *testing.T, r *session.Report, want ...string) {
	t.Helper()
	var got []string
	for m := range r.History.Messages() {
		line := string(m.Role) + ": " + m.Text()
		if m.Interrupted {
			line += " [interrupted]"
		}
		got = append(got, line)
	}
	if g, w := strings.Join(got, "\n  "), strings.Join(want, "\n  "); g != w {
		t.Errorf("history:\n  %s\nwant:\n  %s", g, w)
	}
}

// TestFailingModelLeavesTheCallAlive has the language model fail once; the next turn is answered.
func TestFailingModelLeavesTheCallAlive(t *testing.T) {
	t.Parallel()
	s := script{answers: []llmscripted.Answer{
		{Chunks: []driver.Chunk{{Text: "It is "}}, Fault: &llmscripted.Fault{After: 1, Panic: "oops"}}, {Text: "It is Friday."}}}
	sc := newScene(t, scripted(s), nil)
	c := sc.dialAgent()
	if err := c.WaitAgent(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := c.Type(t.Context(), "What day is it?"); err != nil {
			t.Fatal(err)
		}
		c.answered()
	}
	next(t, sc.jobs).Shutdown("")
	r := next(t, sc.reports)
	var last string
	for m := range r.History.Messages() {
		last = m.Text()
	}
	if last != "It is Friday." || r.CloseReason != session.ReasonJobShutdown {
		t.Errorf("the last message is %q, closed for %s", last, r.CloseReason)
	}
}
