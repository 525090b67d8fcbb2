package session

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/parley-go/parley/agent"
	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/stt"
	"github.com/parley-go/parley/tokenize"
	"github.com/parley-go/parley/turn"
	"github.com/parley-go/parley/vad"
)

// recognition is what is known of the user's present turn. It is used on the loop only.
type recognition struct {
	transcript   string // final texts of this turn, joined by a space
	interim      string
	confidences  []float64
	requests     []string // the STT's ids of them
	language     string
	lastFinal    time.Time
	turnStart    time.Time      // first speech of the turn
	lastSpeaking time.Time      // last evidence of the user's voice
	speaking     bool           // as the VAD sees it
	sttSpeaking  bool           // as the STT sees it, when it detects turns
	silent       bool           // replies may start
	segment      string         // id of the transcript segment that is being published
	decision     timer          // the end of the turn, when nothing happens before it fires
	question     int            // counts what the turn detector was asked; older answers are void
	asking       bool           // the answer to the last one is open
	toldLate     bool           // that words came after their turn
	verdict      verdict        // on the end of the turn
	asked        *chat.Context  // what a detector by text was asked about; nil for nothing
	turnID       string         // of the turn, once the user is heard
	tries        int            // early answers
	commit       *commitRequest // waits for the last words; nil for none
	unheard      unheard        // speech without words
}

func (h *recognition) init(r *run) {
	h.decision.s, h.unheard.wait.s = r, r
	h.silent = true
}

func (h *recognition) stop() {
	h.stopDeciding()
	if h.commit != nil {
		h.commit.wait.stop()
	}
}

// stopDeciding forgets the decision that is open.
func (h *recognition) stopDeciding() {
	h.question++
	h.asking = false
	h.decision.stop()
}

// deciding reports whether it is open that the turn is over.
func (h *recognition) deciding() bool { return h.asking || h.commit != nil || h.decision.running() }

// takeAll empties the turn and returns all its text, interim included.
func (h *recognition) takeAll() string {
	text := join(h.transcript, h.interim)
	h.reset()
	return text
}

// reset begins a new turn. What is known of speech that goes on is kept.
func (h *recognition) reset() {
	h.transcript, h.interim, h.confidences, h.requests = "", "", nil, nil
	h.turnID, h.tries = "", 0
	h.verdict, h.asked = verdict{}, nil
	h.lastFinal = time.Time{}
	h.unheard.reset()
	if !h.speaking {
		h.turnStart, h.lastSpeaking = time.Time{}, time.Time{}
	}
}

func (h *recognition) confidence() float64 {
	var sum float64
	for _, c := range h.confidences {
		sum += c
	}
	if len(h.confidences) == 0 {
		return 0
	}
	return sum / float64(len(h.confidences))
}

// turnID is the id of the user's present turn. It begins with the first that is heard of it.
func (r *run) turnID() string {
	if h := &r.heard; h.turnID == "" {
		h.turnID = metrics.NewID("turn_")
		r.attribute()
	}
	return r.heard.turnID
}

// listening is on whose behalf the user is listened to.
func (r *run) listening() metrics.Tags {
	t := metrics.Tags{}
	if r.act != nil {
		t = r.act.tags
	}
	t.TurnID = r.heard.turnID
	return t
}

// attribute has everybody who listens to the user do that on behalf of the agent in charge and of the
// present turn.
func (r *run) attribute() {
	if r.ears != nil {
		r.ears.tags.Set(r.listening())
	}
	if j := r.judge.Load(); j != nil {
		j.tags.Set(r.listening())
	}
	if c := r.conv.Load(); c != nil {
		c.live.Set(r.listening())
	}
}

func join(a, b string) string {
	return strings.TrimSpace(strings.TrimSpace(a) + " " + strings.TrimSpace(b))
}

// onVAD handles an event of the ears' VAD.
func (r *run) onVAD(m *message) {
	if r.ears == nil || r.ears.gen != m.gen || r.ears.cut.Load() != m.cut || r.closing != nil {
		return
	}
	h, t, ev := &r.heard, now(), &m.vad
	switch ev.Kind {
	case vad.StartOfSpeech:
		onset := t.Add(-ev.SpeechDuration - ev.InferenceDuration)
		h.speaking, h.lastSpeaking = true, t
		h.unheard.started(onset)
		r.userStarted(onset)
	case vad.InferenceDone:
		r.onVADTick(ev, t)
	case vad.EndOfSpeech:
		r.endSpeech(t.Add(-ev.SilenceDuration - ev.InferenceDuration))
	}
}

// userStarted notes that the user speaks since onset.
func (r *run) userStarted(onset time.Time) {
	h := &r.heard
	h.silent = false
	r.turnID()
	if h.turnStart.IsZero() {
		h.turnStart = onset
	}
	h.stopDeciding()
	if j := r.judge.Load(); j != nil {
		j.begin()
	}
	r.talk.started(onset)
	r.standing.callerSpeaks(onset)
	r.talksOver(onset)
	r.act.endpointing.UserStarted(onset, r.agentState == agent.Speaking)
	r.resume.stop()
	r.resumeWaits = false
	r.setUserState(agent.UserSpeaking, onset)
	if c := r.conv.Load(); c != nil && !c.itself {
		_ = c.s.StartTurn() // a session that failed says so to its reader
	}
	// A reply that is about to begin must not talk over the user.
	if sp := r.act.interruptible(); sp != nil && r.agentState != agent.Speaking && r.canPause() &&
		r.act.detection() != turn.DetectManual && isClosed(sp.step.go_) {
		r.hold(sp, 0)
	}
}

// userStopped notes that the user is silent since t.
func (r *run) userStopped(t time.Time) {
	r.heard.silent = true
	r.standing.callerSilent(t)
	r.act.endpointing.UserEnded(t, false)
	r.setUserState(agent.UserListening, t)
	r.userFellSilent(t)
	r.resumeLater()
}

// endSpeech notes that the VAD hears nothing of the user since t.
func (r *run) endSpeech(t time.Time) {
	h := &r.heard
	h.speaking, h.lastSpeaking = false, t
	r.missWords(t)
	r.userStopped(t)
	if r.turnsByVAD() || r.turnsBySTT() && !h.sttSpeaking {
		r.endTurnSoon()
	}
	r.schedule()
}

// endVoice ends a speech whose end nobody will hear, because the ears are gone. It may go on although its
// words were committed or cleared.
func (r *run) endVoice() {
	if r.heard.speaking || r.heard.sttSpeaking || !r.heard.silent {
		r.heard.sttSpeaking = false
		r.endSpeech(now())
	}
}

// inputFailed tells that the user is not heard any more.
func (r *run) inputFailed(err error) {
	r.emit(ErrorOccurred{at(now()), model.ErrorEvent{Kind: "audio_input", Err: fmt.Errorf("reading audio input: %w", err), Time: now()}})
}

func (r *run) hasVAD() bool { return r.ears != nil && r.ears.vad != nil }
func (r *run) hasSTT() bool { return r.ears != nil && r.ears.stt != nil }

// turnsByVAD reports whether the silence that the VAD finds ends turns.
func (r *run) turnsByVAD() bool {
	d := r.act.detection()
	return r.hasVAD() && (d == turn.DetectAuto || d == turn.DetectVAD)
}

func (r *run) onVADTick(ev *vad.Event, t time.Time) {
	h := &r.heard
	r.watchEars()
	if !ev.Speaking {
		return
	}
	if ev.RawSpeech > 0 {
		h.lastSpeaking = t
	}
	if j := r.judge.Load(); j != nil {
		j.follow(ev)
	}
	// A short pause inside of speech does not let the agent in.
	silent := ev.RawSilence > r.minDelay()/2
	// While the VAD waits for the end of speech, the user says nothing to be interrupted for.
	if !silent && ev.SpeechDuration >= r.act.how.Interruption.MinDuration.Default(0) {
		r.interruptByVoice()
	}
	if silent != h.silent {
		h.silent = silent
		r.schedule()
	}
}

// onSTT handles an event of the STT of e. said is when the user said it.
func (r *run) onSTT(e *ears, ev *stt.Event, said span) {
	if _, retired := r.retired[e]; r.ears != e && !retired {
		return
	}
	text := strings.TrimSpace(ev.Text())
	switch ev.Kind {
	case stt.Interim, stt.Preflight, stt.Final:
		if text == "" {
			return
		}
		delete(r.errors, "stt")
		if ev.Kind == stt.Final {
			r.onFinal(text, ev, said)
		} else {
			r.onInterim(text, ev)
		}
	case stt.StartOfSpeech:
		r.sttStarted(e, said.from)
	case stt.EndOfSpeech:
		r.sttEnded(e)
	}
}

func (r *run) onInterim(text string, ev *stt.Event) {
	h := &r.heard
	r.turnID()
	if text != h.interim {
		h.interim = text
		r.publishUser(text, false, &ev.Alternatives[0])
	}
	if ev.Kind == stt.Preflight {
		h.setLanguage(ev.Alternatives[0].Language, text)
		r.preempt(join(h.transcript, text))
	}
	if !r.hasVAD() {
		h.lastSpeaking = now()
		r.interruptByVoice()
		if h.deciding() {
			r.endTurnSoon() // the user goes on
		}
	}
	r.resumeAfterWords()
}

func (r *run) onFinal(text string, ev *stt.Event, said span) {
	h, t := &r.heard, now()
	r.turnID()
	h.interim = ""
	h.transcript = join(h.transcript, text)
	if c := ev.Alternatives[0].Confidence; c > 0 {
		h.confidences = append(h.confidences, c)
	}
	if id := ev.RequestID; id != "" && !slices.Contains(h.requests, id) {
		h.requests = append(h.requests, id)
	}
	h.setLanguage(ev.Alternatives[0].Language, text)
	h.lastFinal = t
	h.unheard.said()
	h.place(said, t, r.hasVAD())
	r.publishUser(text, true, &ev.Alternatives[0])
	if r.userState == agent.UserAway {
		r.setUserState(agent.UserListening, t)
	} else {
		r.watchAway()
	}
	if r.closing != nil {
		return
	}
	r.interruptByWords()
	r.resumeAfterWords()
	r.countTalk(text)
	switch {
	case h.commit != nil:
		r.finishCommit()
	case r.act.detection() == turn.DetectManual:
	case h.speaking, r.turnsBySTT() && h.sttSpeaking:
		r.preempt(h.transcript)
	default:
		r.preempt(h.transcript)
		r.endTurnSoon()
	}
}

// place puts the words that arrived at t, and were said in said, into the turn. The VAD knows better
// when the user spoke, unless it has missed them.
func (h *recognition) place(said span, t time.Time, hasVAD bool) {
	if said.to.IsZero() {
		said.to = t
	}
	if said.from.IsZero() || said.from.After(said.to) {
		said.from = said.to
	}
	missed := hasVAD && !h.speaking && t.Sub(h.lastSpeaking) > staleVoice // what it heard was another sound
	if h.turnStart.IsZero() || missed {
		h.turnStart = said.from
	}
	if !hasVAD || h.lastSpeaking.IsZero() || missed {
		h.lastSpeaking = said.to
	}
}

// setLanguage takes the first concrete language; a later one only for more than a few letters.
func (h *recognition) setLanguage(lang, text string) {
	if lang == "" || lang == "auto" || lang == "multi" {
		return
	}
	if h.language == "" || len([]rune(text)) > 5 {
		h.language = lang
	}
}

// publishUser tells what the user said: to the listeners and to the transcript.
func (r *run) publishUser(text string, final bool, a *stt.Alternative) {
	h := &r.heard
	r.emit(UserInputTranscribed{At: at(now()), Transcript: text, Final: final,
		Language: a.Language, SpeakerID: a.SpeakerID})
	if r.io.Transcripts == nil {
		return
	}
	if h.segment == "" {
		h.segment = newSegmentID()
	}
	r.io.Transcripts.WriteTranscript(Transcript{SegmentID: h.segment, User: true, Text: text, Final: final})
	if final {
		h.segment = ""
	}
}

func (r *run) minDelay() time.Duration { return r.act.endpointing.MinDelay() }

// endTurnSoon ends the turn when the user stays silent for the endpointing delay.
func (r *run) endTurnSoon() {
	h := &r.heard
	if h.transcript == "" && !r.heardByModel() || h.commit != nil || r.act.detection() == turn.DetectManual || r.act.itself {
		return // wait for the text, or for the application
	}
	h.stopDeciding()
	d := r.act.detector
	switch {
	case d == nil || !d.SupportsLanguage(h.language):
		r.endTurnAfter(r.minDelay())
	case d.Kind() == turn.Audio:
		r.judgeByAudio()
	default:
		r.judgeByText(d)
	}
}

// judgeByText asks d about the words so far.
func (r *run) judgeByText(d *turn.Model) {
	h := &r.heard
	h.asking = true
	question, act := h.question, r.act
	c := act.mind.Copy(nil)
	tentative := chat.NewMessage(chat.User, h.transcript)
	tentative.CreatedAt = now()
	c.Add(tentative)
	h.asked = c
	language, ctx := h.language, metrics.WithTags(act.ctx, r.listening())
	r.goDo("turn detector", func() {
		p, err := d.Predict(ctx, c, language)
		r.post(func() { r.judged(question, p, err) })
	})
}

// judged takes the answer of the turn detector. Without one, the silence decides.
func (r *run) judged(question int, p turn.Prediction, err error) {
	h := &r.heard
	if h.question != question || !h.asking || r.closing != nil {
		return
	}
	h.asking = false
	h.verdict.known, h.verdict.by = err == nil, p
	delay := r.minDelay()
	if err == nil && !p.Over() {
		delay = r.act.endpointing.MaxDelay()
	}
	r.endTurnAfter(delay)
}

// endTurnAfter ends the turn when the user has been silent for d.
func (r *run) endTurnAfter(d time.Duration) {
	r.heard.verdict.after = int64(d)
	r.heard.decision.start(d-now().Sub(r.heard.lastSpeaking), r.endTurn)
}

// endTurn takes the user's words as a turn and has it answered.
func (r *run) endTurn() {
	h := &r.heard
	if h.transcript == "" && !r.heardByModel() || r.closing != nil {
		return
	}
	if w := r.act.how.Interruption.MinWords.Default(0); w > 0 && r.act.interruptible() != nil && h.transcript != "" && tokenize.CountWords(h.transcript) < w {
		r.dropEarly()
		r.turnDropped() // too little to interrupt the agent; it stays for the next decision
		return
	}
	r.take(newTurn(h))
}

// take has t answered, which has all that was heard so far.
func (r *run) take(t *userTurn) {
	if e := r.ears; e != nil && e.stt != nil {
		t.msg.Metrics.STT = metadata(e.stt, model.Info{})
	}
	r.traceVerdict(t)
	r.heard.reset()
	r.attribute()
	r.resetJudge()
	r.queue(t)
}

// queue has t answered after the turns before it.
func (r *run) queue(t *userTurn) {
	r.pendingTurns++
	r.turns.post(message{do: func() { r.answer(t) }})
}
