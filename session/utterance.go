package session

import (
	"context"
	"errors"
	"io"
	"iter"
	"sync"
	"time"

	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/tokenize"
	"github.com/parley-go/parley/tts"
)

// utterance is one segment of text that is spoken aloud while it is being written. Its synthesis may
// run ahead of its turn to be heard.
type utterance struct {
	r    *run
	v    *voice
	sp   *speech
	ctx  context.Context
	line *line
	id   string        // of the transcript segment
	turn chan struct{} // closed when it may be heard
	seg  *segment      // set before turn is closed

	silent bool // it is written only, see voice.write

	synthesized func()        // the next utterance may be synthesised; more than one call does nothing
	voiced      chan struct{} // closed when all audio was handed to the output, or no more will come
	err         error         // of the voice; valid once voiced is closed
	lost        bool          // the output did not take it; likewise

	script  transcript
	said    spoken
	ended   chan struct{} // closed when the audio has ended
	written chan struct{} // closed when the script is complete

	mu     sync.Mutex
	stream *tts.Stream // the first that the voice used
	textAt time.Time   // first text for the voice
}

func newUtterance(v *voice, text *line) *utterance {
	return &utterance{r: v.r, v: v, sp: v.sp, ctx: v.ctx, line: text, id: newSegmentID(),
		silent: v.r.io.AudioOut == nil || v.tts == nil && text.audio == nil,
		turn:   make(chan struct{}), voiced: make(chan struct{}), ended: make(chan struct{}), written: make(chan struct{})}
}

// start begins the synthesis of text. synthesized is called when it is complete, whether it was
// heard by then or not.
func (u *utterance) start(text iter.Seq[string], synthesized func()) {
	u.synthesized = sync.OnceFunc(synthesized)
	end := u.trace()
	u.r.goDo("voice", func() {
		defer close(u.voiced)
		defer end()
		defer u.synthesized()
		defer u.r.guard("TTS node", &u.err)
		u.err = u.forward(u.audio(text))
	})
}

// forward plays the audio as it comes, from its turn on.
func (u *utterance) forward(audio iter.Seq2[*tts.Audio, error]) error {
	for a, err := range audio {
		if err != nil {
			return err
		}
		if !u.mayBeHeard() {
			return u.ctx.Err()
		}
		if u.said.audioAt.IsZero() && len(a.Frame.Data) > 0 {
			u.said.audioAt = u.firstAudio()
		}
		u.script.addAudio(a)
		if err := u.seg.write(u.ctx, a.Frame); err != nil {
			u.lost = true
			return err
		}
		if a.RequestID != "" && (len(u.said.ids) == 0 || u.said.ids[len(u.said.ids)-1] != a.RequestID) {
			u.said.ids = append(u.said.ids, a.RequestID)
		}
	}
	return nil
}

// mayBeHeard waits for the turn of the utterance; false when there will be none.
func (u *utterance) mayBeHeard() bool {
	select {
	case <-u.turn:
	case <-u.ctx.Done():
	}
	return isClosed(u.turn)
}

// play lets the utterance be heard and tells what became of it.
func (u *utterance) play() spoken {
	u.r.ask(func() { u.r.reconcile(u.sp) })
	heardAt := make(chan time.Time, 1) // one start per segment; an output that tells more is not believed
	u.seg = u.r.mouth.open(func(t time.Time) {
		select {
		case heardAt <- t:
		default:
			return
		}
		m := u.v.marks()
		m.sentence, m.audio = u.readyAt(), u.said.audioAt // was set before the output got its first audio
		u.r.post(func() { u.r.onStarted(u.sp, t, m) })
	})
	u.r.goDo("transcript", u.follow)
	close(u.turn)
	end, err := u.hear()
	u.r.post(func() { u.r.agentFellSilent(u.sp, end.At) })
	select {
	case u.said.started = <-heardAt:
	default:
	}
	u.said.stopped = end.At
	u.finish(end, err, u.seg.touched)
	return u.said
}

// hear waits until the utterance was heard, or stopped.
func (u *utterance) hear() (PlaybackEvent, error) {
	defer close(u.ended)
	<-u.voiced
	if u.err == nil {
		u.script.endAudio() // else there would have been more
	}
	// The node of the transcript may lag behind the voice.
	select {
	case <-u.written:
	case <-u.ctx.Done():
	}
	return u.seg.finish(u.ctx, u.lost), u.err // a voice that failed is heard as far as it came
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
	u.r.show(u.id, last, true)
	u.said.text, u.said.played = u.script.heard(), end.Played
	u.said.readyAt, u.said.by = u.readyAt(), u.spokenBy()
	if broken {
		u.said.err = err
		u.r.log.Warn("the agent could not say everything", "err", err)
	}
}

// audio turns text into speech, and keeps the text for the transcript.
func (u *utterance) audio(text iter.Seq[string]) iter.Seq2[*tts.Audio, error] {
	copies := newPipe[string]()
	u.r.goDo("transcript node", func() {
		defer close(u.written)
		defer u.script.endText()
		for t := range u.sp.shown(copies.all(u.ctx)) {
			u.script.addText(t)
		}
	})
	noted := func(yield func(string) bool) {
		defer copies.close()
		for t := range text {
			copies.put(t)
			u.noteText()
			if !yield(t) {
				return
			}
		}
	}
	node := u.synthesize
	switch f := u.sp.act.agent.TTSNode; {
	case u.line.audio != nil:
		return u.playCanned(noted)
	case f != nil:
		voice := orNothing2(f(u.ctx, noted, node))
		return func(yield func(*tts.Audio, error) bool) {
			defer copies.close() // a node need not read all of the text
			voice(yield)
		}
	}
	return node(u.ctx, noted)
}

// playCanned is audio that was given; text says what it says.
func (u *utterance) playCanned(text iter.Seq[string]) iter.Seq2[*tts.Audio, error] {
	return func(yield func(*tts.Audio, error) bool) {
		u.r.goDo("text of given audio", func() {
			for range text {
			}
		})
		if !u.mayBeHeard() {
			return
		}
		for f, err := range u.line.audio {
			if !yield(&tts.Audio{Frame: f}, err) {
				return
			}
		}
	}
}

// synthesize is the default TTS node. The stream has a context of its own, so that one that is never
// heard can be told to be discarded rather than interrupted.
func (u *utterance) synthesize(ctx context.Context, text iter.Seq[string]) iter.Seq2[*tts.Audio, error] {
	return func(yield func(*tts.Audio, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		s := u.v.tts.Stream(context.WithoutCancel(ctx))
		u.noteStream(s)
		end := func() {
			if isClosed(u.turn) {
				s.Close()
			} else {
				s.Discard()
			}
		}
		stop := context.AfterFunc(ctx, end)
		fed := make(chan struct{})
		u.r.goDo("feeding the synthesiser", func() {
			defer close(fed)
			u.feed(s, text)
			select {
			case <-s.Done():
				if u.sp.act.agent.TTSNode == nil { // a node may ask for more
					u.synthesized()
				}
			case <-ctx.Done():
			}
		})
		defer func() { stop(); cancel(); end(); <-fed }()
		if !u.mayBeHeard() {
			return // not even looked at: what is not taken from the stream can be discarded
		}
		for {
			a, err := s.Next()
			if err != nil {
				if ctx.Err() != nil {
					err = ctx.Err()
				}
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

func (u *utterance) noteStream(s *tts.Stream) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.stream == nil {
		u.stream = s
	}
}

func (u *utterance) noteText() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.textAt.IsZero() {
		u.textAt = now()
	}
}

// readyAt is when the synthesiser had text enough to speak; the first text for a node that has another
// one.
func (u *utterance) readyAt() time.Time {
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case u.line.audio != nil:
		return time.Time{}
	case u.stream != nil:
		return u.stream.Ready()
	}
	return u.textAt
}

// spokenBy is who spoke.
func (u *utterance) spokenBy() model.Info {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.stream == nil {
		return model.Info{}
	}
	return u.stream.Info()
}

// firstAudio is when the first audio came, which is being played now.
func (u *utterance) firstAudio() time.Time {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.stream != nil && !u.stream.FirstAudio().IsZero() {
		return u.stream.FirstAudio()
	}
	return now()
}

// feed hands text to the synthesiser, without what cannot be spoken.
func (u *utterance) feed(s *tts.Stream, text iter.Seq[string]) {
	push := func(t string) bool { return t == "" || s.Push(t) == nil }
	var filters []tokenize.Filter
	for _, transform := range u.r.opt.TextTransforms.Default(defaultTransforms) {
		filters = append(filters, transform())
	}
	f := tokenize.Chain(filters...)
	for t := range text {
		if !push(f.Push(t)) {
			return
		}
	}
	push(f.Flush())
	_ = s.EndInput()
}

// follow shows the words as they are heard.
func (u *utterance) follow() {
	tick := time.NewTicker(transcriptTick)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			u.r.show(u.id, u.script.advance(u.r.io.AudioOut.Played()), false)
		case <-u.ended:
			return
		}
	}
}
