package session_test

import (
	"context"
	"iter"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/agent"
	"github.com/parley-go/parley/llm"
	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/llm/driver"
	"github.com/parley-go/parley/llm/scripted"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/session"
	"github.com/parley-go/parley/tts"
	ttsscripted "github.com/parley-go/parley/tts/scripted"
)

// twoSegments is an answer that is to be spoken in two parts.
func twoSegments() scripted.Answer {
	return scripted.Answer{Chunks: []driver.Chunk{{Text: "One two."}, {Flush: true}, {Text: "Three four."}}}
}

// voices are how the requests of the synthesiser ended, in order.
func (c *call) voices() (out []metrics.Outcome) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range c.spent {
		if e, ok := e.(*metrics.TTS); ok {
			o := e.Outcome
			if o == "" {
				o = metrics.Delivered
			}
			out = append(out, o)
		}
	}
	return out
}

func TestC071SegmentsArePlayedOneAfterAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, twoSegments())
		c.tts.ttfb = time.Second
		c.start(nil)
		c.s.GenerateReply(agent.Reply{})
		c.until(6)
		c.wantHistory("handoff  -> default_agent", "assistant: One two. Three four.")
		segs := c.room.Out.Segments()
		if len(segs) != 2 || segs[0].Played != 2*time.Second || segs[1].Played != 2*time.Second {
			t.Fatalf("played %+v, want two segments of 2 s", segs)
		}
		if !segs[1].Started.Equal(segs[0].Finished) {
			t.Errorf("the second began %v after the end of the first, though it was ready", segs[1].Started.Sub(segs[0].Finished))
		}
		if got := c.room.AgentText(); !slices.Equal(got, []string{"One two.", "Three four."}) {
			t.Errorf("shown: %q", got)
		}
		if got := c.tts.most(); got != 1 {
			t.Errorf("%d syntheses at a time, want one", got)
		}
		c.close()
	})
}

func TestC071InterruptedInTheFirstSegment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, twoSegments())
		c.start(nil)
		sp := c.s.GenerateReply(agent.Reply{})
		c.until(2.3) // speaking since 0.3
		if err := sp.Interrupt(false); err != nil {
			t.Fatal(err)
		}
		c.until(8)
		c.wantHistory("handoff  -> default_agent", "assistant: One two. [interrupted]")
		if segs := c.room.Out.Segments(); len(segs) != 1 {
			t.Errorf("played %+v, want the first segment alone", segs)
		}
		if got := c.room.AgentText(); !slices.Equal(got, []string{"One two."}) {
			t.Errorf("shown: %q", got)
		}
		c.close()
		if got := c.voices(); !slices.Equal(got, []metrics.Outcome{metrics.Delivered, metrics.Discarded}) {
			t.Errorf("outcomes %q: the second segment was synthesised for nothing", got)
		}
	})
}

func TestSegmentsOfASessionThatOnlyWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, twoSegments())
		c.room.Out.Close()
		c.room.Out = nil
		c.start(nil)
		c.s.GenerateReply(agent.Reply{})
		c.until(2)
		c.wantHistory("handoff  -> default_agent", "assistant: One two. Three four.")
		if got := c.room.AgentText(); !slices.Equal(got, []string{"One two.", "Three four."}) {
			t.Errorf("shown: %q", got)
		}
		c.close()
	})
}

func TestNodeFlushes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Text: "One two."})
		c.start(&agent.Agent{LLMNode: func(ctx context.Context, req *llm.Request, next agent.LLMNode) iter.Seq2[*llm.Chunk, error] {
			return func(yield func(*llm.Chunk, error) bool) {
				_ = yield(&llm.Chunk{Flush: true}, nil) && // nothing to flush
					yield(&llm.Chunk{Text: "A moment.", Flush: true}, nil) &&
					yield(&llm.Chunk{Flush: true}, nil)
				next(ctx, req)(yield)
			}
		}})
		c.s.GenerateReply(agent.Reply{})
		c.until(6)
		c.wantHistory("handoff  -> default_agent", "assistant: A moment. One two.")
		if segs := c.room.Out.Segments(); len(segs) != 2 {
			t.Errorf("played %+v, want two segments", segs)
		}
		c.close()
	})
}

// oneShot makes the voice of c one that takes whole texts and needs 0.2 s to begin.
func (c *call) oneShot() *ttsscripted.Batch {
	b := ttsscripted.NewBatch(&ttsscripted.Options{TTFB: 200 * time.Millisecond})
	c.opt.TTS = tts.New(b, nil)
	return b
}

// spokenMessage is what the agent said first.
func (c *call) spokenMessage() *chat.Message {
	c.t.Helper()
	for it := range c.s.History().All() {
		if m, ok := it.(*chat.Message); ok && m.Role == chat.Assistant {
			return m
		}
	}
	c.t.Fatal("the agent said nothing")
	return nil
}

func TestC003VoiceThatWaitsForTheWholeText(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// One sentence of 2 s: its end is known when the model is done.
		c := newCall(t, scripted.Answer{Text: "this is one sentence without an end", TTFT: 200 * time.Millisecond, Delay: 300 * time.Millisecond})
		c.oneShot()
		c.start(nil)
		c.s.GenerateReply(agent.Reply{})
		c.until(10)
		m := c.spokenMessage().Metrics
		if m.LLMNodeTTFS == nil || *m.LLMNodeTTFS != 2300*time.Millisecond || *m.LLMNodeTTFT != 200*time.Millisecond {
			t.Errorf("first sentence after %v, first token after %v", m.LLMNodeTTFS, m.LLMNodeTTFT)
		}
		if m.TTSNodeTTFB == nil || *m.TTSNodeTTFB != 200*time.Millisecond {
			t.Errorf("the voice began after %v, want 0.2 s from the whole sentence on", m.TTSNodeTTFB)
		}
		c.close()
	})
}

func TestAnswerBeginsWithTheFirstSentence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Text: "That is a good question, my friend. The second sentence takes the model very long to write.",
			TTFT: 100 * time.Millisecond, Delay: 500 * time.Millisecond})
		c.oneShot()
		c.start(nil)
		c.says(0.5, 2.5, "Hello")
		c.until(20)
		turns := c.close().Turns
		want := []session.Stage{
			{Name: session.StageTranscript, Duration: 200 * time.Millisecond},
			{Name: session.StageDecision, Duration: 300 * time.Millisecond},
			{Name: session.StageFirstToken, Duration: 100 * time.Millisecond},
			{Name: session.StageFirstSentence, Duration: 2 * time.Second}, // to the comma
			{Name: session.StageFirstAudio, Duration: 200 * time.Millisecond},
			{Name: session.StagePlayback, Duration: 0},
		}
		if len(turns) != 1 || !slices.Equal(turns[0].Stages, want) {
			t.Fatalf("turns %+v, want stages %+v", turns, want)
		}
		if turns[0].Total != 2800*time.Millisecond || turns[0].Slowest().Name != session.StageFirstSentence {
			t.Errorf("total %v, slowest %s", turns[0].Total, turns[0].Slowest().Name)
		}
		if segs := c.room.Out.Segments(); len(segs) != 1 || segs[0].Started.Sub(c.at(2.5)) != turns[0].Total {
			t.Errorf("played %+v", segs)
		}
	})
}

func TestC116WordTimesThatNeverArrive(t *testing.T) {
	for name, untimed := range map[string]int{"none": 100, "some": 5, "all": 0} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCall(t)
				c.tts.lasts(3400 * time.Millisecond) // as fast as people speak
				c.tts.untimed = untimed
				c.start(nil)
				c.s.Say(tenWords, nil)
				c.until(5)
				c.wantHistory("handoff  -> default_agent", "assistant: "+tenWords)
				if got := c.room.AgentText(); !slices.Equal(got, []string{tenWords}) {
					t.Errorf("shown: %q", got)
				}
				sp := c.s.Say(tenWords, nil)
				c.until(7.2) // 2 s of it were heard
				_ = sp.Interrupt(false)
				<-sp.Done()
				got := c.room.AgentText()[1]
				if n := len(strings.Fields(got)); n < 5 || n > 6 {
					t.Errorf("heard %q in 2 of 3.4 s", got)
				}
				c.close()
			})
		})
	}
}
