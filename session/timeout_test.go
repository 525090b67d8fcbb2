package session_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/agent"
	"github.com/parley-go/parley/opt"
	"github.com/parley-go/parley/session"
	"github.com/parley-go/parley/stt"
	sttdriver "github.com/parley-go/parley/stt/driver"
	"github.com/parley-go/parley/turn"
)

// timeouts lists the transcription timeouts: when, how long and since when the user spoke.
func (c *call) timeouts() (list []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range c.events {
		if u, ok := e.(session.UserTranscriptionTimeout); ok {
			list = append(list, fmt.Sprintf("%.2f: %v since %.2f", u.When().Sub(c.t0).Seconds(), u.SpeechDuration, u.SpeechStartedAt.Sub(c.t0).Seconds()))
		}
	}
	return list
}

func TestC043TranscriptionTimeout(t *testing.T) {
	noise := func(c *call) { c.says(0.5, 2.5, "") }
	for _, tt := range []struct {
		name string
		tune func(c *call)
		do   func(c *call)
		want []string
	}{
		{"no text", nil, noise, []string{"3.50: 2s since 0.50"}},
		{"by default", func(c *call) { c.opt.TranscriptionTimeout = 0 }, noise, nil},
		{"shorter than the VAD needs", func(c *call) { c.opt.TranscriptionTimeout = 100 * time.Millisecond }, noise, []string{"3.00: 2s since 0.50"}},
		{"without STT", func(c *call) { c.opt.STT = nil }, noise, nil},
		{"with text", nil, func(c *call) { c.says(0.5, 2.5, "Hello") }, nil},
		{"with text of the first half only", nil, func(c *call) {
			c.stt.expect(time.Second, "Hello")
			noise(c)
		}, nil},
		{"interim and preflight", nil, func(c *call) {
			c.stt.expectInterim(2*time.Second, "Hel")
			c.stt.tells(2.6, words(sttdriver.Preflight, sttdriver.Alternative{Text: "Hello"}))
			noise(c)
		}, []string{"3.50: 2s since 0.50"}},
		{"empty final", nil, func(c *call) {
			c.stt.expect(2700*time.Millisecond, " ")
			noise(c)
		}, []string{"3.50: 2s since 0.50"}},
		{"two bursts", nil, func(c *call) {
			noise(c)
			c.says(3.2, 4.2, "")
		}, []string{"5.20: 3s since 0.50"}},
		{"a later attempt", nil, func(c *call) {
			noise(c)
			c.says(5, 6, "")
		}, []string{"3.50: 2s since 0.50", "7.00: 3s since 0.50"}},
		{"after a committed turn", nil, func(c *call) {
			c.says(0.5, 2.5, "Hello")
			c.says(5, 6, "")
		}, []string{"7.00: 1s since 5.00"}},
		{"while the agent speaks", func(c *call) { c.opt.TurnHandling.Interruption.Enabled = opt.Some(false) }, func(c *call) {
			c.tts.lasts(10 * time.Second)
			c.s.Say(tenWords, nil)
			c.says(0.5, 2.5, "") // the STT hears silence
			c.until(4)
			if c.s.AgentState() != agent.Speaking {
				c.t.Errorf("agent is %s, want speaking", c.s.AgentState())
			}
		}, []string{"3.50: 2s since 0.50"}},
		{"speech that goes on after a commit", func(c *call) { c.opt.TurnHandling.Detection = turn.DetectManual }, func(c *call) {
			c.says(0.5, 2.5, "")
			c.stt.expect(time.Second, "Hello")
			c.until(1.1)
			if _, err := c.s.CommitUserTurn(c.t.Context(), &session.CommitOptions{SkipReply: true}); err != nil {
				c.t.Error(err)
			}
		}, nil},
		{"a turn that is cleared", nil, func(c *call) {
			noise(c)
			c.until(3.1)
			c.s.ClearUserTurn()
		}, nil},
		{"the STT hears the end", func(c *call) { c.opt.TurnHandling.Detection = turn.DetectSTT }, func(c *call) {
			c.stt.listens(0.5, 2.5) // tells of the end at 2.7, before the VAD does
			noise(c)
		}, []string{"3.52: 2.02s since 0.50"}}, // the VAD's last sound is one frame later
		{"closed meanwhile", nil, func(c *call) {
			noise(c)
			c.until(3.1)
			c.close()
		}, nil},
		{"the next agent is deaf", nil, func(c *call) {
			noise(c)
			c.until(1)
			_ = c.s.UpdateAgent(&agent.Agent{STT: opt.Off[*stt.Model]()})
		}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCall(t)
				c.opt.LLM = nil
				c.opt.TranscriptionTimeout = time.Second
				if tt.tune != nil {
					tt.tune(c)
				}
				c.start(nil)
				tt.do(c)
				c.until(12)
				if got := c.timeouts(); !slices.Equal(got, tt.want) {
					t.Errorf("timeouts %q, want %q", got, tt.want)
				}
				rep := c.close()
				data, err := json.Marshal(rep)
				if n := strings.Count(string(data), `"user_transcription_timeout"`); err != nil || n != len(tt.want) {
					t.Errorf("%d timeouts in the report, want %d; %v", n, len(tt.want), err)
				}
			})
		})
	}
}
