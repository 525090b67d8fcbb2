package session

import (
	"context"
	"errors"
	"io"
	"iter"
	"sync/atomic"
	"time"

	"github.com/parley-go/parley/agent"
	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/tokenize"
	"github.com/parley-go/parley/tts"
)

// spoken is what became of a text.
type spoken struct {
	text        string // what was heard
	interrupted bool
	started     time.Time // zero when nothing was heard
	stopped     time.Time
	textAt      time.Time // first text handed to the TTS
	audioAt     time.Time // first audio from the TTS
	ids         []string
	err         error
}

// speak says the text that comes through p and returns when it was heard, or stopped. gen is where the
// text comes from, nil for a text that was given.
func (r *run) speak(sp *speech, p *pipe[string], gen *generation) spoken {
	first, ok := p.next(sp.ctx)
	if !ok {
		return spoken{}
	}
	if gen != nil && sp.turn != nil {
		first := gen.first
		r.ask(func() { sp.turn.marks.token = first })
	}
	text := func(yield func(string) bool) {
		if yield(first) {
			p.all(sp.ctx)(yield)
		}
	}
	if r.io.AudioOut == nil || sp.act.tts == nil {
		return r.write(sp, sp.shown(text))
	}
	u := &utterance{r: r, sp: sp, segment: newSegmentID(), ended: make(chan struct{}), written: make(chan struct{})}
	return u.play(text)
}

// shown is text as the agent's TranscriptNode wants it shown and remembered.
func (sp *speech) shown(text iter.Seq[string]) iter.Seq[string] {
	if f := sp.act.agent.TranscriptNode; f != nil {
		return orNothing(f(sp.ctx, text))
	}
	return text
}

// orNothing makes a node that returns nil one that yields nothing.
func orNothing(seq iter.Seq[string]) iter.Seq[string] {
	if seq == nil {
		return func(func(string) bool) {}
	}
	return seq
}

// orNothing2 is orNothing for nodes whose results may be errors.
func orNothing2[T any](seq iter.Seq2[T, error]) iter.Seq2[T, error] {
	if seq == nil {
		return func(func(T, error) bool) {}
	}
	return seq
}

// write shows a text to a user who reads.
func (r *run) write(sp *speech, text iter.Seq[string]) spoken {
	s := spoken{}
	id := newSegmentID()
	for t := range text {
		if s.started.IsZero() {
			s.started = now()
			r.ask(func() { r.onStarted(sp, s.started, time.Time{}) })
		}
		s.text += t
		r.show(id, t, false)
	}
	s.stopped = now()
	s.interrupted = sp.Interrupted()
	r.show(id, "", true)
	return s
}

func (r *run) show(segment, text string, final bool) {
	if r.io.Transcripts != nil && (text != "" || final) {
		r.io.Transcripts.WriteTranscript(Transcript{SegmentID: segment, Text: text, Final: final})
	}
}

// onStarted notes that sp is heard from t on. On the loop.
func (r *run) onStarted(sp *speech, t, audio time.Time) {
	if sp.Interrupted() {
		return
	}
	r.setAgentState(agent.Speaking)
	if sp.turn != nil {
		sp.turn.marks.audio = audio
		r.finishLatency(sp.turn, t)
	}
}

// utterance is a text that is spoken aloud while it is being written.
type utterance struct {
	r       *run
	sp      *speech
	segment string
	script  transcript
	said    spoken
	textAt  atomic.Int64  // Unix nanoseconds of the first text for the TTS; 0 before
	ended   chan struct{} // closed when the audio has ended
	written chan struct{} // closed when the script is complete
}

func (u *utterance) play(text iter.Seq[string]) spoken {
	u.r.ask(func() { u.r.reconcile(u.sp) })
	heardAt := make(chan time.Time, 1) // one start per segment; an output that tells more is not believed
	seg := u.r.mouth.open(func(t time.Time) {
		select {
		case heardAt <- t:
		default:
			return
		}
		audio := u.said.audioAt // was set before the output got its first audio
		u.r.post(func() { u.r.onStarted(u.sp, t, audio) })
	})
	u.r.goDo("transcript", u.follow)
	end, err := u.voice(seg, text)
	select {
	case u.said.started = <-heardAt:
	default:
	}
	u.said.stopped = end.At
	u.finish(end, err, seg.touched)
	return u.said
}

// voice plays the audio of text and tells what became of it. It ends the following of the words in
// any case, also when a node panics.
func (u *utterance) voice(seg *segment, text iter.Seq[string]) (end PlaybackEvent, err error) {
	defer close(u.ended)
	defer u.r.guard("TTS node", &err)
	end = PlaybackEvent{Finished: true, At: now(), Interrupted: true}
	clean := false
	defer func() {
		if !clean {
			end = seg.stop()
		}
	}()
	err = u.forward(seg, u.audio(text))
	u.script.endAudio()
	// The node of the transcript may lag behind the voice.
	select {
	case <-u.written:
	case <-u.sp.ctx.Done():
	}
	end = seg.finish(u.sp.ctx, err != nil)
	clean = true
	return end, err
}

// finish settles which words were heard. A synthesis that broke off was heard as far as it came, and
// one without any audio was not heard.
func (u *utterance) finish(end PlaybackEvent, err error, audible bool) {
	broken := err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, ErrCleared)
	u.said.interrupted = end.Interrupted || broken
	var last string
	switch {
	case u.said.interrupted:
		last = u.script.advance(end.Played)
	case audible:
		last = u.script.rest()
	}
	u.r.show(u.segment, last, true)
	u.said.text = u.script.heard()
	if n := u.textAt.Load(); n != 0 {
		u.said.textAt = time.Unix(0, n)
	}
	if broken {
		u.said.err = err
		u.r.log.Warn("the agent could not say everything", "err", err)
	}
}

// forward plays the audio as it comes.
func (u *utterance) forward(seg *segment, audio iter.Seq2[*tts.Audio, error]) error {
	for a, err := range audio {
		if err != nil {
			return err
		}
		if u.said.audioAt.IsZero() && len(a.Frame.Data) > 0 {
			u.said.audioAt = now()
		}
		u.script.addAudio(a)
		if err := seg.write(u.sp.ctx, a.Frame); err != nil {
			return err
		}
		if a.RequestID != "" && (len(u.said.ids) == 0 || u.said.ids[len(u.said.ids)-1] != a.RequestID) {
			u.said.ids = append(u.said.ids, a.RequestID)
		}
	}
	return nil
}

// audio turns text into speech, and keeps the text for the transcript.
func (u *utterance) audio(text iter.Seq[string]) iter.Seq2[*tts.Audio, error] {
	copies := newPipe[string]()
	u.r.goDo("transcript node", func() {
		defer close(u.written)
		defer u.script.endText()
		for t := range u.sp.shown(copies.all(u.sp.ctx)) {
			u.script.addText(t)
		}
	})
	noted := func(yield func(string) bool) {
		defer copies.close()
		for t := range text {
			copies.put(t)
			u.textAt.CompareAndSwap(0, now().UnixNano())
			if !yield(t) {
				return
			}
		}
	}
	node := func(ctx context.Context, text iter.Seq[string]) iter.Seq2[*tts.Audio, error] {
		return u.synthesize(ctx, text)
	}
	if f := u.sp.act.agent.TTSNode; f != nil {
		voice := orNothing2(f(u.sp.ctx, noted, node))
		return func(yield func(*tts.Audio, error) bool) {
			defer copies.close() // a node need not read all of the text
			voice(yield)
		}
	}
	return node(u.sp.ctx, noted)
}

// synthesize is the default TTS node.
func (u *utterance) synthesize(ctx context.Context, text iter.Seq[string]) iter.Seq2[*tts.Audio, error] {
	return func(yield func(*tts.Audio, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		s := u.sp.act.tts.Stream(ctx)
		fed := make(chan struct{})
		u.r.goDo("feeding the synthesiser", func() {
			defer close(fed)
			u.feed(s, text)
		})
		defer func() { cancel(); s.Close(); <-fed }()
		for {
			a, err := s.Next()
			if err != nil {
				if !errors.Is(err, io.EOF) {
					yield(nil, err)
				}
				return
			}
			if !yield(a, nil) {
				return
			}
		}
	}
}

// feed hands text to the synthesiser, without what cannot be spoken.
func (u *utterance) feed(s *tts.Stream, text iter.Seq[string]) {
	push := func(t string) bool { return t == "" || s.Push(t) == nil }
	if u.r.opt.RawText {
		for t := range text {
			if !push(t) {
				return
			}
		}
		_ = s.EndInput()
		return
	}
	var markdown tokenize.Markdown
	var emoji tokenize.Emoji
	for t := range text {
		if !push(emoji.Push(markdown.Push(t))) {
			return
		}
	}
	push(emoji.Push(markdown.Flush()) + emoji.Flush())
	_ = s.EndInput()
}

// follow shows the words as they are heard.
func (u *utterance) follow() {
	tick := time.NewTicker(transcriptTick)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			u.r.show(u.segment, u.script.advance(u.r.io.AudioOut.Played()), false)
		case <-u.ended:
			return
		}
	}
}

// fill writes the account of the speech into m.
func (s *spoken) fill(m *chat.TurnMetrics, t *userTurn) {
	m.StartedSpeakingAt, m.StoppedSpeakingAt = s.started, s.stopped
	if !s.audioAt.IsZero() && !s.textAt.IsZero() {
		ttfb := max(s.audioAt.Sub(s.textAt), 0)
		m.TTSNodeTTFB = &ttfb
		if !s.started.IsZero() {
			latency := max(s.started.Sub(s.audioAt), 0)
			m.PlaybackLatency = &latency
		}
	}
	if t != nil && t.delays && !s.started.IsZero() {
		e2e := s.started.Sub(t.stopped)
		m.E2ELatency = &e2e
	}
	m.ProviderRequestIDs = append(m.ProviderRequestIDs, s.ids...)
}
