package session

import (
	"context"
	"errors"
	"fmt"

	"github.com/parley-go/parley/agent"
	"github.com/parley-go/parley/llm"
	"github.com/parley-go/parley/opt"
	"github.com/parley-go/parley/realtime"
	"github.com/parley-go/parley/stt"
	"github.com/parley-go/parley/tts"
	"github.com/parley-go/parley/turn"
	"github.com/parley-go/parley/vad"
)

// setup is what an agent works with: what the agent, the session and the changes at run time add up to.
type setup struct {
	stt      *stt.Model // streaming
	vad      *vad.Model
	llm      *llm.Model
	tts      *tts.Model
	rt       *realtime.Model // nil for none; else llm is
	itself   bool            // rt finds the user's turns
	how      turn.Handling   // in force: every field is set
	detector *turn.Model     // nil for none; one by audio has a VAD
	warning  string          // why it is not as it was asked for; "" if it is
}

// newSetup works out what a is to work with: own is what was changed of it, and how the session's turn
// handling. It changes nothing. On the loop.
func (r *run) newSetup(a *agent.Agent, own agent.Options, how turn.Handling) (setup, error) {
	own = own.Over(agent.Options{STT: a.STT, VAD: a.VAD, LLM: a.LLM, TTS: a.TTS, Realtime: a.Realtime, TurnHandling: a.TurnHandling})
	s := setup{
		stt: pick(own.STT, r.opt.STT), vad: pick(own.VAD, r.opt.VAD),
		llm: pick(own.LLM, r.opt.LLM), tts: pick(own.TTS, r.opt.TTS),
	}
	err := s.chooseMind(own, r.opt)
	if err == nil {
		err = s.decideTurns(own.TurnHandling.Over(how))
	}
	if err == nil {
		err = s.checkVAD()
	}
	if err == nil && s.stt != nil && !s.stt.Streaming() {
		if s.vad == nil {
			err = fmt.Errorf("%s transcribes whole utterances and needs a VAD to find them", s.stt.Info().Label)
		} else {
			s.stt = r.adapt(s.stt, s.vad)
		}
	}
	if err != nil {
		return setup{}, fmt.Errorf("agent %s: %w", a.Name(), err)
	}
	return s, nil
}

// chooseMind settles whether an LLM or a realtime model answers.
func (s *setup) chooseMind(own agent.Options, session *Options) error {
	s.rt = pick(own.Realtime, session.Realtime)
	if s.rt == nil || s.llm == nil {
		return nil
	}
	_, llm := own.LLM.Get()
	_, rt := own.Realtime.Get()
	switch {
	case llm == rt: // on the same floor
		return errors.New("both an LLM and a realtime model are set")
	case llm:
		s.rt = nil
	default:
		s.llm = nil
	}
	return nil
}

// mute reports whether nobody answers.
func (s *setup) mute() bool { return s.llm == nil && s.rt == nil }

func pick[T any](override opt.Value[*T], inherited *T) *T {
	if override.IsUnset() {
		return inherited
	}
	v, _ := override.Get()
	return v
}

// decideTurns settles who ends the user's turns: what was asked for, as far as the models allow it.
// The defaults are those of the detector that is left.
func (s *setup) decideTurns(how turn.Handling) error {
	s.decideOwner(how)
	switch how.Detection {
	case "":
		how.Detection = turn.DetectAuto
	case turn.DetectRealtime:
		if !s.itself {
			how.Detection, s.warning = turn.DetectAuto, "there is no realtime model that finds turns"
		}
	case turn.DetectVAD:
		if s.vad == nil {
			how.Detection, s.warning = turn.DetectAuto, "voice activity cannot end turns without a VAD"
		}
	case turn.DetectSTT:
		if s.rt != nil {
			how.Detection, s.warning = turn.DetectAuto, "speech recognition cannot end turns of a realtime model"
		} else if s.stt == nil {
			how.Detection, s.warning = turn.DetectAuto, "speech recognition cannot end turns without an STT"
		}
	case turn.DetectAuto, turn.DetectManual:
	default:
		return fmt.Errorf("unknown turn detection %q", how.Detection)
	}
	if s.itself {
		if how.Detection != turn.DetectAuto && how.Detection != turn.DetectRealtime {
			s.warning = fmt.Sprintf("the realtime model finds turns itself, not %s", how.Detection)
		}
		how.Detection, how.Detector = turn.DetectRealtime, opt.Off[*turn.Model]()
		if !how.Interruption.Enabled.Default(true) || how.Interruption.Enabled.IsOff() {
			return errors.New("speeches cannot be protected by default from a realtime model that finds turns itself")
		}
	} else if s.rt != nil && how.Detection == turn.DetectAuto && s.vad != nil {
		how.Detection = turn.DetectVAD
	}
	kind := turn.Kind("")
	if d, _ := how.Detector.Get(); d != nil && (how.Detection == turn.DetectAuto || how.Detection == turn.DetectVAD) {
		switch kind = d.Kind(); {
		case kind == "":
			return fmt.Errorf("turn detector %s: %w", d.Info().Label, turn.ErrKind)
		case kind == turn.Audio && s.vad == nil:
			kind, s.warning = "", fmt.Sprintf("turn detector %s cannot be asked without a VAD", d.Info().Label)
		default:
			s.detector = d
		}
	}
	how.Detector = opt.Off[*turn.Model]()
	if s.detector != nil {
		how.Detector = opt.Some(s.detector)
	}
	s.how = how.Over(turn.Defaults(kind))
	return nil
}

// decideOwner settles whether the realtime model finds turns itself, as far as it leaves a choice.
func (s *setup) decideOwner(how turn.Handling) {
	if s.rt == nil {
		return
	}
	c := s.rt.Capabilities()
	d, _ := how.Detector.Get()
	ours := how.Detection == turn.DetectManual ||
		s.vad != nil && (how.Detection == turn.DetectVAD || how.Detection != turn.DetectRealtime && d != nil && d.Kind() == turn.Audio)
	s.itself = c.ServerTurns && !(c.ClientTurns && ours)
	if c.UserTranscription {
		s.stt = nil // nobody needs the words twice
	}
}

// checkVAD reports whether the VAD leaves the detector by audio the time to be asked.
func (s *setup) checkVAD() error {
	if s.detector == nil || s.detector.Kind() != turn.Audio {
		return nil
	}
	vs, err := s.vad.NewStream(context.Background()) // only a stream knows
	if err != nil {
		return err
	}
	return errors.Join(s.detector.CheckVAD(vs.MinSilence()), vs.Close())
}

// detection is who ends the user's turns.
func (s *setup) detection() turn.Detection { return s.how.Detection }

// warn tells what is not as it was asked for, unless that was told before.
func (act *activity) warn(told string) {
	if act.warning != "" && act.warning != told {
		act.r.log.Warn("turn detection is not as it was asked for", "agent", act.agent.Name(), "why", act.warning)
	}
}

// prewarm lets the models get ready that are asked from time to time.
func (act *activity) prewarm() {
	if m := act.llm; m != nil {
		act.r.goDo("prewarm", func() { m.Prewarm(act.ctx) })
	}
	if m := act.tts; m != nil {
		act.r.goDo("prewarm", func() { m.Prewarm(act.ctx) })
	}
}

// adaptedKey is what a streaming recogniser was made of.
type adaptedKey struct {
	stt *stt.Model
	vad *vad.Model
}

// adapt makes a batch recogniser streaming; the same one for the same models, so that the ears stay
// when the agent changes.
func (r *run) adapt(m *stt.Model, v *vad.Model) *stt.Model {
	k := adaptedKey{m, v}
	if r.adapted[k] == nil {
		r.adapted[k] = stt.Adapt(m, v, nil)
	}
	return r.adapted[k]
}
