package session_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/agent"
	"github.com/parley-go/parley/llm"
	"github.com/parley-go/parley/llm/scripted"
	"github.com/parley-go/parley/opt"
	"github.com/parley-go/parley/session"
	"github.com/parley-go/parley/stt"
	sttscripted "github.com/parley-go/parley/stt/scripted"
	"github.com/parley-go/parley/tts"
	"github.com/parley-go/parley/turn"
	turnscripted "github.com/parley-go/parley/turn/scripted"
	"github.com/parley-go/parley/vad"
	vaddriver "github.com/parley-go/parley/vad/driver"
)

// inForce is the turn handling of the agent in charge.
func inForce(t *testing.T, s *session.Session) turn.Handling {
	t.Helper()
	rep, err := s.Report()
	if err != nil {
		t.Fatal(err)
	}
	return rep.Options.TurnHandling
}

func delays(h turn.Handling) [2]time.Duration {
	return [2]time.Duration{h.Endpointing.MinDelay.Default(0), h.Endpointing.MaxDelay.Default(0)}
}

func ms(a, b int) [2]time.Duration {
	return [2]time.Duration{time.Duration(a) * time.Millisecond, time.Duration(b) * time.Millisecond}
}

func audioModel() *turn.Model { return turn.New(turnscripted.NewAudio(nil), nil) }
func textModel() *turn.Model  { return turn.New(turnscripted.NewText(nil), nil) }

func TestC005C006DetectorInForceDecidesTheDelays(t *testing.T) {
	byAudio, byText := audioModel(), textModel()
	for _, tt := range []struct {
		name    string
		session turn.Handling
		agent   agent.Agent
		noVAD   bool
		noSTT   bool
		mode    turn.Detection
		uses    *turn.Model
		delays  [2]time.Duration
		warns   bool
	}{
		{name: "nothing said", mode: turn.DetectAuto, delays: ms(500, 3000)},
		{name: "off", session: turn.Handling{Detector: opt.Off[*turn.Model]()}, mode: turn.DetectAuto, delays: ms(500, 3000)},
		{name: "by audio", session: turn.Handling{Detector: opt.Some(byAudio)}, mode: turn.DetectAuto, uses: byAudio, delays: ms(300, 2500)},
		{name: "by text", session: turn.Handling{Detector: opt.Some(byText)}, mode: turn.DetectAuto, uses: byText, delays: ms(500, 3000)},
		{name: "vad", session: turn.Handling{Detection: turn.DetectVAD}, mode: turn.DetectVAD, delays: ms(500, 3000)},
		{name: "one key of two", session: turn.Handling{Detector: opt.Some(byAudio), Endpointing: turn.EndpointingOptions{MinDelay: opt.Some(time.Second)}},
			mode: turn.DetectAuto, uses: byAudio, delays: ms(1000, 2500)},
		{name: "by audio without VAD", session: turn.Handling{Detector: opt.Some(byAudio)}, noVAD: true,
			mode: turn.DetectAuto, delays: ms(500, 3000), warns: true},
		{name: "by text without VAD", session: turn.Handling{Detector: opt.Some(byText)}, noVAD: true, mode: turn.DetectAuto, uses: byText, delays: ms(500, 3000)},
		{name: "vad without VAD", session: turn.Handling{Detection: turn.DetectVAD}, noVAD: true, mode: turn.DetectAuto, delays: ms(500, 3000), warns: true},
		{name: "stt without STT", session: turn.Handling{Detection: turn.DetectSTT}, noSTT: true, mode: turn.DetectAuto, delays: ms(500, 3000), warns: true},
		{name: "manual", session: turn.Handling{Detection: turn.DetectManual, Detector: opt.Some(byAudio)}, mode: turn.DetectManual, delays: ms(500, 3000)},
		{name: "stt", session: turn.Handling{Detection: turn.DetectSTT, Detector: opt.Some(byAudio)}, mode: turn.DetectSTT, delays: ms(500, 3000)},
		{name: "agent (C007)", session: turn.Handling{Detector: opt.Some(byText), Endpointing: turn.EndpointingOptions{MinDelay: opt.Some(700 * time.Millisecond)}},
			agent: agent.Agent{TurnHandling: turn.Handling{Detector: opt.Some(byAudio)}}, mode: turn.DetectAuto, uses: byAudio, delays: ms(700, 2500)},
		{name: "agent without VAD", session: turn.Handling{Detector: opt.Some(byAudio)}, agent: agent.Agent{VAD: opt.Off[*vad.Model]()},
			mode: turn.DetectAuto, delays: ms(500, 3000), warns: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCall(t)
				l := keepLogs(c)
				c.opt.TurnHandling = tt.session
				if tt.noVAD {
					c.opt.VAD = nil
				}
				if tt.noSTT {
					c.opt.STT = nil
				}
				c.start(&tt.agent)
				h := inForce(t, c.s)
				if d, _ := h.Detector.Get(); h.Detection != tt.mode || d != tt.uses || delays(h) != tt.delays {
					t.Errorf("in force: %q, %v, %v", h.Detection, d, delays(h))
				}
				if n := l.count("WARN"); (n == 1) != tt.warns || n > 1 {
					t.Errorf("%d warnings: %q", n, l.lines)
				}
				c.close()
			})
		})
	}
}

func TestUnusableTurnHandlingIsRefused(t *testing.T) {
	for name, h := range map[string]turn.Handling{
		"detection": {Detection: "guess"},
		"detector":  {Detector: opt.Some(turn.New(nil, nil))},
	} {
		synctest.Test(t, func(t *testing.T) {
			c := newCall(t)
			o := c.opt
			o.TurnHandling = h
			s := session.New(o)
			if err := s.Start(t.Context(), &agent.Agent{}, nil); err == nil {
				t.Errorf("%s: the session starts", name)
			}
			c.start(nil)
			if err := c.s.UpdateOptions(h); err == nil {
				t.Errorf("%s: the session takes it while it runs", name)
			}
			if got := inForce(t, c.s); got.Detection != turn.DetectAuto {
				t.Errorf("%s: detection is %q after the refusal", name, got.Detection)
			}
			c.close()
		})
	}
}

func TestC008EndpointingChangedAtRunTimeSurvivesAHandoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t)
		c.opt.TurnHandling.Detector = opt.Some(audioModel())
		c.start(&agent.Agent{ID: "a"})
		change := turn.EndpointingOptions{Mode: turn.Dynamic, MinDelay: opt.Some(400 * time.Millisecond), Alpha: opt.Some(0.5)}
		if err := c.s.UpdateOptions(turn.Handling{Endpointing: change}); err != nil {
			t.Fatal(err)
		}
		for _, id := range []string{"a", "b"} {
			h := inForce(t, c.s)
			if h.Endpointing.Mode != turn.Dynamic || h.Endpointing.Alpha.Default(0) != 0.5 || delays(h) != ms(400, 2500) {
				t.Errorf("agent %s works with %+v", id, h.Endpointing)
			}
			_ = c.s.UpdateAgent(&agent.Agent{ID: "b"})
			c.until(1)
		}
		if got := c.s.Agent().ID; got != "b" {
			t.Fatalf("agent %s is in charge", got)
		}
		c.close()
		// And the next start.
		if err := c.s.Start(t.Context(), &agent.Agent{ID: "c"}, nil); err != nil {
			t.Fatal(err)
		}
		if got := delays(inForce(t, c.s)); got != ms(400, 2500) {
			t.Errorf("after a restart: %v", got)
		}
		c.close()
	})
}

func TestUpdateOptionsReachTheAgentThatComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t)
		c.start(&agent.Agent{ID: "a", OnExit: func(context.Context, *agent.RunContext) error {
			time.Sleep(2 * time.Second)
			return nil
		}})
		_ = c.s.UpdateAgent(&agent.Agent{ID: "b", VAD: opt.Some(vad.New(vadScript{claims: 200 * time.Millisecond}))})
		c.until(1)
		// What only the agent that comes could not work with is refused as well.
		if err := c.s.UpdateOptions(turn.Handling{Detector: opt.Some(audioModel())}); !errors.Is(err, turn.ErrVADSilence) {
			t.Errorf("a detector that the next VAD is too quick for: %v", err)
		}
		if err := c.s.UpdateOptions(turn.Handling{Endpointing: turn.EndpointingOptions{MinDelay: opt.Some(time.Second)}}); err != nil {
			t.Fatal(err)
		}
		c.until(3)
		if got := delays(inForce(t, c.s)); c.s.Agent().ID != "b" || got != ms(1000, 3000) {
			t.Errorf("agent %s works with %v", c.s.Agent().ID, got)
		}
		c.close()
	})
}

func TestUpdateOptionsWhileADecisionIsOpen(t *testing.T) {
	for _, tt := range []struct {
		name   string
		before turn.Handling
		change turn.Handling // at 3.2 s, 0.7 s after the last sound
		ended  time.Duration // -1: never
	}{
		{"shorter", turn.Handling{Endpointing: turn.EndpointingOptions{MinDelay: opt.Some(2 * time.Second)}},
			turn.Handling{Endpointing: turn.EndpointingOptions{MinDelay: opt.Some(time.Second)}}, 3500 * time.Millisecond},
		{"longer", turn.Handling{Endpointing: turn.EndpointingOptions{MinDelay: opt.Some(time.Second)}},
			turn.Handling{Endpointing: turn.EndpointingOptions{MinDelay: opt.Some(2 * time.Second)}}, 4500 * time.Millisecond},
		{"manual from now on", turn.Handling{Endpointing: turn.EndpointingOptions{MinDelay: opt.Some(time.Second)}},
			turn.Handling{Detection: turn.DetectManual}, -1},
		{"not manual any more", turn.Handling{Detection: turn.DetectManual}, turn.Handling{Detection: turn.DetectAuto}, 3200 * time.Millisecond},
		{"a detector", turn.Handling{Endpointing: turn.EndpointingOptions{MinDelay: opt.Some(time.Second)}},
			turn.Handling{Detector: opt.Some(turn.New(turnscripted.NewText(&turnscripted.Options{Steps: []turnscripted.Step{{Probability: 0.1}}}), nil))}, 5500 * time.Millisecond},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCall(t, scripted.Answer{Text: "Hi there"})
				c.opt.TurnHandling = tt.before
				c.start(nil)
				c.says(0.5, 2.5, "Hello")
				c.until(3.2)
				if err := c.s.UpdateOptions(tt.change); err != nil {
					t.Fatal(err)
				}
				c.until(10)
				want := tt.ended
				if want < 0 {
					want = -1
				}
				if at := c.committedAt(); at != want {
					t.Errorf("turn ended at %v, want %v", at, want)
				}
				c.close()
			})
		})
	}
}

func TestUpdateOptionsKeepsWhatEndpointingHasLearned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Text: "Hi there"})
		c.opt.TurnHandling.Endpointing = turn.EndpointingOptions{Mode: turn.Dynamic, MinDelay: opt.Some(600 * time.Millisecond), Alpha: opt.Some(0.0)}
		c.start(nil)
		c.room.In.Speak(c.at(0.5), c.at(1)) // ends at 1.5, no words: no turn
		c.says(2, 3, "Hello")               // a pause of 1 s is learned
		c.until(3.55)
		if err := c.s.UpdateOptions(turn.Handling{Interruption: turn.Interruption{MinWords: opt.Some(2)}}); err != nil {
			t.Fatal(err)
		}
		c.until(8)
		if at := c.committedAt(); at != 4*time.Second {
			t.Errorf("turn ended at %v: the pause of a second was forgotten", at)
		}
		c.close()
	})
}

func newVoice() (*ttsScript, *tts.Model) {
	v := &ttsScript{ttfb: 200 * time.Millisecond, length: 2 * time.Second}
	return v, tts.New(v, nil)
}

func TestC105LiveSwaps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Text: "First"})
		c.start(nil)
		c.says(0.5, 1.5, "One")
		c.until(6)

		mind := scripted.New(&scripted.Options{Answers: []scripted.Answer{{Text: "Second"}}})
		voice, voiceModel := newVoice()
		ears := &sttScript{}
		old := c.stt
		err := c.s.UpdateAgentOptions(agent.Options{
			LLM: opt.Some(llm.New(mind, nil)), TTS: opt.Some(voiceModel), STT: opt.Some(stt.New(ears, nil)),
			VAD: opt.Some(vad.New(vadScript{claims: time.Second})),
		})
		if err != nil {
			t.Fatal(err)
		}
		c.until(7)
		heard := old.loud()
		c.stt = ears
		c.room.In.Speak(c.at(8), c.at(9))
		ears.expect(3200*time.Millisecond, "Two") // it listens since 6
		c.until(15)
		c.wantHistory("handoff  -> default_agent", "user: One", "assistant: First", "user: Two", "assistant: Second")
		if voice.chars != int64(len("Second")) || ears.loud() != time.Second || old.loud() != heard {
			t.Errorf("new voice %d characters, new ears %v, old ears %v more", voice.chars, ears.loud(), old.loud()-heard)
		}
		for m := range c.s.History().Messages() {
			if m.Text() == "Second" && m.Metrics.LLM.ModelName == "" {
				t.Error("the new model is not named in the metrics")
			}
		}
		// The agent keeps them when it comes back.
		a := c.s.Agent()
		_ = c.s.UpdateAgent(&agent.Agent{ID: "other", STT: opt.Off[*stt.Model]()})
		c.until(16)
		_ = c.s.UpdateAgent(a)
		c.until(17)
		said := voice.chars
		sp := c.s.Say("Again", nil)
		_ = sp.Wait(context.Background())
		if voice.chars != said+int64(len("Again")) {
			t.Errorf("the agent came back with its old voice")
		}
		if !a.TTS.IsUnset() {
			t.Error("the application's agent was changed")
		}
		c.close()
	})
}

func TestC105SwapOffAndOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Text: "Hi there"}, scripted.Answer{Text: "Hi there"})
		c.start(nil)
		c.says(0.5, 1.5, "One")
		c.until(6)
		if err := c.s.UpdateAgentOptions(agent.Options{STT: opt.Off[*stt.Model](), VAD: opt.Off[*vad.Model]()}); err != nil {
			t.Fatal(err)
		}
		c.until(9)
		heard := c.stt.total()
		c.until(12)
		if c.stt.total() != heard {
			t.Errorf("an STT that is off heard %v", c.stt.total()-heard)
		}
		// All at once: only the last one listens.
		for range 3 {
			if err := c.s.UpdateAgentOptions(agent.Options{STT: opt.Some(c.opt.STT), VAD: opt.Some(c.opt.VAD)}); err != nil {
				t.Fatal(err)
			}
			if err := c.s.UpdateAgentOptions(agent.Options{STT: opt.Off[*stt.Model](), VAD: opt.Off[*vad.Model]()}); err != nil {
				t.Fatal(err)
			}
		}
		_ = c.s.UpdateAgentOptions(agent.Options{STT: opt.Some(c.opt.STT), VAD: opt.Some(c.opt.VAD)})
		c.room.In.Speak(c.at(13), c.at(14))
		c.stt.expect(2200*time.Millisecond, "Two")
		c.until(20)
		c.wantHistory("handoff  -> default_agent", "user: One", "assistant: Hi there", "user: Two", "assistant: Hi there")
		c.close()
	})
}

// deadVAD cannot be used.
type deadVAD struct{ vadScript }

func (deadVAD) NewStream() (vaddriver.Stream, error) { return nil, errors.New("no such model") }

func TestC105FailedSwapChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Text: "Hi there"})
		c.start(nil)
		_, other := newVoice()
		batch := stt.New(sttscripted.NewBatch(nil), nil)
		for name, o := range map[string]agent.Options{
			"dead VAD":            {VAD: opt.Some(vad.New(deadVAD{})), TTS: opt.Some(other)},
			"batch STT, no VAD":   {VAD: opt.Off[*vad.Model](), STT: opt.Some(batch), TTS: opt.Some(other)},
			"VAD too quick":       {VAD: opt.Some(vad.New(vadScript{claims: 100 * time.Millisecond})), TurnHandling: turn.Handling{Detector: opt.Some(audioModel())}},
			"detector of no kind": {TTS: opt.Some(other), TurnHandling: turn.Handling{Detector: opt.Some(turn.New(nil, nil))}},
		} {
			before := inForce(t, c.s)
			if err := c.s.UpdateAgentOptions(o); err == nil {
				t.Errorf("%s: was taken", name)
			}
			if inForce(t, c.s) != before {
				t.Errorf("%s: the turn handling has changed", name)
			}
		}
		c.says(2, 3, "Hello")
		c.until(8)
		c.wantHistory("handoff  -> default_agent", "user: Hello", "assistant: Hi there")
		if c.tts.chars != int64(len("Hi there")) {
			t.Errorf("the voice was changed: %d characters", c.tts.chars)
		}
		c.close()
	})
}

func TestC105NotRunning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := session.New(session.Options{LLM: llm.New(scripted.New(nil), nil)})
		if err := s.UpdateAgentOptions(agent.Options{}); !errors.Is(err, agent.ErrNotRunning) {
			t.Errorf("before the first start there is no agent, but %v", err)
		}
		if err := s.UpdateOptions(turn.Handling{Detection: turn.DetectManual}); err != nil {
			t.Fatal(err)
		}
		a := &agent.Agent{}
		start := func() {
			t.Helper()
			if err := s.Start(t.Context(), a, nil); err != nil {
				t.Fatal(err)
			}
		}
		start()
		if got := inForce(t, s).Detection; got != turn.DetectManual {
			t.Errorf("started with %q", got)
		}
		_ = s.Close(t.Context())
		if err := s.UpdateAgentOptions(agent.Options{LLM: opt.Off[*llm.Model]()}); err != nil {
			t.Fatal(err)
		}
		start()
		if err := s.GenerateReply(agent.Reply{}).Err(); !errors.Is(err, agent.ErrNoLanguage) {
			t.Errorf("started with a model that was taken away: %v", err)
		}
		_ = s.Close(t.Context())
	})
}

func TestC105ToolChangesTheVoiceOfItsOwnReply(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Calls: callsTool("spanish", "{}")}, scripted.Answer{Text: "Hola"})
		voice, model := newVoice()
		c.start(&agent.Agent{Tools: []llm.Tool{llm.NewTool("spanish", "", func(_ context.Context, rc *agent.RunContext, _ struct{}) (string, error) {
			return "done", rc.Session().UpdateAgentOptions(agent.Options{TTS: opt.Some(model)})
		})}})
		c.says(0.5, 1.5, "Spanish please")
		c.until(12)
		if voice.chars != int64(len("Hola")) {
			t.Errorf("the new voice spoke %d characters", voice.chars)
		}
		c.close()
	})
}

func TestC105EarlyAnswerOfTheOldModelIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t, scripted.Answer{Text: "Old"})
		c.opt.TurnHandling = turn.Handling{Endpointing: turn.EndpointingOptions{MinDelay: opt.Some(2 * time.Second)}}
		c.start(nil)
		c.says(0.5, 1.5, "Hello")
		c.until(2.5)
		mind := scripted.New(&scripted.Options{Answers: []scripted.Answer{{Text: "New"}}})
		if err := c.s.UpdateAgentOptions(agent.Options{LLM: opt.Some(llm.New(mind, nil))}); err != nil {
			t.Fatal(err)
		}
		c.until(8)
		c.wantHistory("handoff  -> default_agent", "user: Hello", "assistant: New")
		c.close()
	})
}

func TestReportHasTheOptionsInForce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t)
		c.start(&agent.Agent{MinConsecutiveSpeechDelay: opt.Some(time.Second)})
		err := c.s.UpdateOptions(turn.Handling{
			Detector:     opt.Some(audioModel()),
			Interruption: turn.Interruption{DiscardProtected: opt.Off[bool](), FalseTimeout: opt.Off[time.Duration]()},
			Preemptive:   turn.Preemptive{MaxTries: opt.Off[int](), MaxSpeech: opt.Some(4 * time.Second)},
		})
		if err != nil {
			t.Fatal(err)
		}
		data, err := json.Marshal(c.close())
		if err != nil {
			t.Fatal(err)
		}
		var doc struct{ Options json.RawMessage }
		if err := json.Unmarshal(data, &doc); err != nil {
			t.Fatal(err)
		}
		want := `{"allow_interruptions":true,"discard_audio_if_uninterruptible":false,"endpointing_mode":"fixed",` +
			`"false_interruption_timeout":null,"hard_budget":null,"max_endpointing_delay":2.5,"max_tool_steps":3,"min_consecutive_speech_delay":1,` +
			`"min_endpointing_delay":0.3,"min_interruption_duration":0.5,"min_interruption_words":0,` +
			`"preemptive_generation":{"enabled":false,"max_retries":null,"max_speech_duration":4,"preemptive_tts":false},` +
			`"recording_options":{"redaction":false,"transcript":null},` +
			`"resume_false_interruption":true,"soft_budget":null,"turn_detection":"auto","turn_detector":"scripted.Turn","user_away_timeout":15}`
		if got := string(doc.Options); got != want {
			t.Errorf("options\n%s\nwant\n%s", strings.ReplaceAll(got, ",", ",\n"), strings.ReplaceAll(want, ",", ",\n"))
		}
	})
}

func TestCloseTakesTheWordsOfReplacedEars(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCall(t)
		c.start(nil)
		c.says(0.5, 1.5, "Hello")
		c.until(1.6)
		if err := c.s.UpdateAgentOptions(agent.Options{VAD: opt.Some(vad.New(vadScript{})), STT: opt.Some(stt.New(&sttScript{}, nil))}); err != nil {
			t.Fatal(err)
		}
		c.close()
		c.wantHistory("handoff  -> default_agent", "user: Hello")
	})
}
