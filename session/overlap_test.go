package session_test

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/agent"
	"github.com/parley-go/parley/llm"
	"github.com/parley-go/parley/llm/scripted"
	"github.com/parley-go/parley/opt"
	"github.com/parley-go/parley/session"
)

func TestOverlappingSpeech(t *testing.T) {
	for _, tt := range []struct {
		name string
		tune func(c *call)
		do   func(c *call) // the agent is heard from 3.4 s to 13.4 s
		want []string
	}{
		{"words", nil, func(c *call) { c.says(5, 6, "Stop it") }, // paused at 5.5
			[]string{"6.20: interruption since 5.00, 500ms together"}},
		{"a short word", nil, func(c *call) { c.says(5, 5.3, "Stop") },
			[]string{"5.50: interruption since 5.00, 500ms together"}}, // to the VAD the user speaks until 5.8
		{"words after a short sound", nil, func(c *call) {
			c.says(5, 5.2, "")
			c.stt.expect(6*time.Second, "Stop")
		}, []string{"6.00: interruption since 5.00, 200ms together"}},
		{"too few words", func(c *call) { c.opt.TurnHandling.Interruption.MinWords = opt.Some(3) }, func(c *call) { c.says(5, 6, "Oh yes") },
			[]string{"8.50: none since 5.00, 1s together"}},
		{"noise", nil, func(c *call) { c.says(5, 6, "") }, // goes on at 8.5
			[]string{"8.50: none since 5.00, 500ms together"}},
		{"a short sound", nil, func(c *call) { c.says(5, 5.2, "") }, // until 5.7 to the VAD
			[]string{"7.70: none since 5.00, 200ms together"}},
		{"two short sounds", nil, func(c *call) { c.says(5, 5.2, ""); c.says(6, 6.2, "") },
			[]string{"8.70: none since 5.00, 400ms together"}},
		{"a sound while words are waited for", nil, func(c *call) { c.says(5, 5.2, ""); c.says(7.5, 7.7, "") },
			[]string{"10.20: none since 5.00, 400ms together"}},
		{"one after the other", nil, func(c *call) { c.says(5, 5.2, ""); c.says(9, 9.2, "") },
			[]string{"7.70: none since 5.00, 200ms together", "11.70: none since 9.00, 200ms together"}},
		{"the agent ends first", nil, func(c *call) { c.says(13.2, 14, "Well") },
			[]string{"13.40: agent ended since 13.20, 200ms together"}},
		{"the application stops the agent", nil, func(c *call) {
			c.says(5, 5.4, "")
			c.until(5.2)
			_ = c.s.Interrupt(c.t.Context(), false)
		}, []string{"5.20: agent ended since 5.00, 200ms together"}},
		{"the session closes", nil, func(c *call) {
			c.says(5, 5.4, "")
			c.until(5.2)
			c.close()
		}, []string{"5.20: agent ended since 5.00, 200ms together"}},
		{"the agent talks over the user", func(c *call) { c.opt.TurnHandling.Interruption.Enabled = opt.Some(false) }, func(c *call) {
			c.until(14)
			c.tts.lasts(10 * time.Second)
			c.says(15, 17, "")
			c.until(15.8)
			c.s.Say(tenWords, nil) // heard from 16.0 on
			c.until(16)
		}, []string{"19.50: none since 16.00, 1s together"}},
		{"at once", func(c *call) { c.opt.STT = nil }, func(c *call) { c.says(5, 6, "") },
			[]string{"5.50: interruption since 5.00, 500ms together"}},
		{"at once if it lasts", func(c *call) { c.opt.STT = nil }, func(c *call) { c.says(5, 5.2, "") },
			[]string{"5.70: none since 5.00, 200ms together"}},
		{"without VAD", func(c *call) { c.opt.VAD = nil }, func(c *call) {
			c.stt.expectInterim(5*time.Second, "Stop")
			c.stt.expect(6*time.Second, "Stop it")
		}, []string{"6.00: interruption since 5.00, 0s together"}},
		{"a turn that is committed", func(c *call) { c.opt.TurnHandling.Detection = "manual" }, func(c *call) {
			c.says(5, 6, "Stop it")
			c.until(6.3)
			_, _ = c.s.CommitUserTurn(c.t.Context(), nil)
		}, []string{"6.30: interruption since 5.00, 1.3s together"}},
		{"before the agent is heard", nil, func(c *call) { c.says(3.1, 3.3, "") }, nil},
		{"after the agent was heard", nil, func(c *call) { c.says(13.5, 14, "Fine") }, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCall(t, scripted.Answer{Text: "Ok"})
				c.tts.lasts(10 * time.Second)
				if tt.tune != nil {
					tt.tune(c)
				}
				c.start(nil)
				c.until(3.2)
				c.s.Say(tenWords, &agent.SayOptions{})
				tt.do(c)
				c.until(5)
				c.tts.lasts(time.Second) // the answer, if there is one
				c.until(40)
				rep := c.close()
				var got []string
				for _, e := range c.events {
					if o, ok := e.(session.OverlappingSpeech); ok {
						kind := "none"
						if o.Interruption {
							kind = "interruption"
						} else if o.AgentEnded {
							kind = "agent ended"
						}
						got = append(got, fmt.Sprintf("%.2f: %s since %.2f, %v together", o.When().Sub(c.t0).Seconds(), kind, o.StartedAt.Sub(c.t0).Seconds(), o.Duration))
					}
				}
				if !slices.Equal(got, tt.want) {
					t.Errorf("overlaps\n%q, want\n%q\n%s", got, tt.want, c.timeline())
				}
				data, err := json.Marshal(rep)
				if n := strings.Count(string(data), `"overlapping_speech"`); err != nil || n != len(tt.want) {
					t.Errorf("%d overlaps in the report, want %d; %v", n, len(tt.want), err)
				}
			})
		})
	}
}

// Who speaks while the agent is silent within a speech does not talk over it, until it goes on.
func TestOverlapWithinASpeech(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t)
		c.tts.lasts(time.Second)
		c.start(&agent.Agent{LLMNode: func(context.Context, *llm.Request, agent.LLMNode) iter.Seq2[*llm.Chunk, error] {
			return func(yield func(*llm.Chunk, error) bool) {
				_ = yield(&llm.Chunk{Text: "One two.", Flush: true}, nil)
				time.Sleep(3 * time.Second)
				_ = yield(&llm.Chunk{Text: "Three four."}, nil)
			}
		}})
		c.until(3)
		c.s.GenerateReply(agent.Reply{})
		c.says(5.9, 6.3, "") // the agent goes on at 6.2, before the VAD is sure
		c.until(20)
		c.close()
		segs := c.room.Out.Segments()
		var got []session.OverlappingSpeech
		for _, e := range c.events {
			if o, ok := e.(session.OverlappingSpeech); ok {
				got = append(got, o)
			}
		}
		if len(segs) != 2 || len(got) != 1 || !got[0].StartedAt.Equal(segs[1].Started) {
			t.Errorf("played %+v, overlaps %+v\n%s", segs, got, c.timeline())
		}
	})
}
