package session

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/stt"
	"github.com/parley-go/parley/vad"
)

// ears carry the user's voice to the VAD and the STT, and what these find to the loop. They stay
// when the agent changes but the models do not.
type ears struct {
	r   *run
	gen int // ears that were replaced are not listened to any more
	vad *vad.Model
	stt *stt.Model
	rt  bool // a realtime model hears, too

	tags   metrics.LiveTags
	ctx    context.Context // of the streams
	cancel context.CancelFunc
	input  context.Context // of reading audio
	mute   context.CancelFunc
	wg     sync.WaitGroup
	quiet  chan struct{} // closed when the audio input is not read any more
	deaf   atomic.Bool   // the STT hears silence: what arrives must not become words
	cut    atomic.Int32  // how often the VAD was told to forget the speech it is in; counted on the loop

	mu     sync.Mutex // guards stream, which is replaced when it fails, and how far it got
	stream *stt.Stream
	fed    time.Duration // audio that the stream got
	fedAt  time.Time     // when it got the last of it
	void   *stt.Stream   // what it still has to tell is not wanted; on the loop
	ended  chan struct{} // closed when the STT has ended for good
}

// listenFor makes the ears that set needs. When it fails, the old ones stay. On the loop.
func (r *run) listenFor(tags metrics.Tags, set setup) error {
	old := r.ears
	if old != nil && old.vad == set.vad && old.stt == set.stt && old.rt == (set.rt != nil) {
		return nil
	}
	if r.io.AudioIn == nil || set.vad == nil && set.stt == nil && set.rt == nil {
		r.ears = nil
		if old != nil {
			r.retire(old)
		}
		return nil
	}
	before := r.lastEars
	e := &ears{r: r, vad: set.vad, stt: set.stt, rt: set.rt != nil, ended: make(chan struct{}), quiet: make(chan struct{})}
	tags.TurnID = r.heard.turnID
	e.tags.Set(tags)
	e.ctx, e.cancel = context.WithCancel(metrics.WithLiveTags(r.ctx, &e.tags))
	e.input, e.mute = context.WithCancel(e.ctx)
	var vs *vad.Stream
	if e.vad != nil {
		var err error
		if vs, err = e.vad.NewStream(e.ctx); err != nil {
			e.cancel()
			return err
		}
	}
	if before != nil {
		e.gen = before.gen + 1
	}
	r.ears, r.lastEars = e, e
	if old != nil {
		r.retire(old)
	}
	if e.stt != nil {
		e.goDo(func() { e.runSTT() })
	} else {
		close(e.ended)
	}
	e.goDo(func() {
		defer close(e.quiet)
		if before != nil {
			<-before.quiet // one reader at a time; those before were told to stop
		}
		e.hear(vs)
		r.post(func() { r.earsEnded(e) })
	})
	return nil
}

// retire ends ears that are replaced. The words that they still find are taken.
func (r *run) retire(e *ears) {
	r.endVoice()
	r.retired[e] = struct{}{}
	// Closing waits for the streams; the loop does not.
	r.goDo("closing ears", func() {
		e.stop()
		e.endSTT(defaultCloseWait)
		e.close()
		r.post(func() { delete(r.retired, e) })
	})
}

// earsEnded is called when the audio input has ended. The user is silent from then on.
func (r *run) earsEnded(e *ears) {
	if r.ears != e {
		return
	}
	r.endVoice()
	if s := e.current(); s != nil && e.input.Err() == nil {
		_ = s.EndInput() // the last words become final
	}
}

func (e *ears) goDo(f func()) {
	e.wg.Add(1)
	e.r.goDo("ears", func() { defer e.wg.Done(); f() })
}

// hear reads the audio input until it ends.
func (e *ears) hear(vs *vad.Stream) {
	if vs != nil {
		defer vs.Close()
	}
	var silence []int16
	var cut int32
	emit := func(ev *vad.Event) {
		x := *ev
		x.Audio = audio.Frame{} // borrowed, and the loop does not need it
		e.r.mail.post(message{vad: x, gen: e.gen, cut: cut})
	}
	warned := false
	for {
		f, err := e.r.io.AudioIn.ReadFrame(e.input)
		if err != nil {
			if !errors.Is(err, io.EOF) && !errors.Is(err, context.Canceled) {
				e.r.post(func() { e.r.inputFailed(err) })
			}
			return
		}
		if j := e.r.judge.Load(); j != nil {
			j.hear(f)
		}
		if vs != nil {
			if n := e.cut.Load(); n != cut {
				cut = n
				vs.Flush()
			}
			if err := vs.Process(f, emit); err != nil && !warned && e.input.Err() == nil {
				warned = true
				e.r.log.Error("voice activity detection failed", "err", err)
			}
		}
		if e.deaf.Load() {
			for len(silence) < len(f.Data) {
				silence = append(silence, 0)
			}
			f.Data = silence[:len(f.Data)]
		}
		if s := e.feed(f.Duration()); s != nil {
			_ = s.Push(f) // a stream that failed says so to its reader
		}
		if c := e.r.conv.Load(); c != nil && e.rt {
			_ = c.s.Push(f) // likewise
		}
	}
}

func (e *ears) current() *stt.Stream {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.stream
}

func (e *ears) setCurrent(s *stt.Stream) {
	e.mu.Lock()
	e.stream, e.fed = s, 0
	e.mu.Unlock()
}

// feed is current, for a stream that is about to get audio of length d.
func (e *ears) feed(d time.Duration) *stt.Stream {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.fed, e.fedAt = e.fed+d, now()
	return e.stream
}

// when is when the user said what is at pos of the current stream; zero for 0, which is unknown. It
// counts back from the latest audio, so that a microphone that was off for a while does no harm.
func (e *ears) when(pos time.Duration) time.Time {
	e.mu.Lock()
	defer e.mu.Unlock()
	if pos <= 0 || e.fed == 0 {
		return time.Time{}
	}
	return e.fedAt.Add(min(pos-e.fed, 0))
}

// forget has the VAD forget the speech that it is in: the next sound is a new one. On the loop.
func (e *ears) forget() { e.cut.Add(1) }

// listenAnew replaces the recogniser's stream, and what the old one still had to tell is not wanted.
// On the loop.
func (e *ears) listenAnew() {
	if s := e.current(); s != nil {
		e.void = s
		e.goDo(func() { s.Close() }) // which waits until its usage is booked
	}
}

// hearing reports whether there is still audio to come.
func (e *ears) hearing() bool { return e.input.Err() == nil && !isClosed(e.quiet) }

// runSTT reads the recogniser's events. A stream that ends for whatever reason, while there is audio to
// come, is replaced: the user is not deaf to the session for long, and never without an error event.
// After an error it takes a moment, so as not to hammer a provider that refuses us. What cannot be
// mended by that, such as a wrong key, fails again and again until Options.MaxUnrecoverableErrors
// closes the session, which is what ends a session that cannot hear.
func (e *ears) runSTT() {
	defer close(e.ended)
	for e.hearing() {
		s, err := e.stt.Stream(e.ctx, nil)
		if err == nil {
			e.setCurrent(s)
			if !e.hearing() { // whoever ended the input did so before
				_ = s.EndInput()
			}
			err = e.readSTT(s)
			e.setCurrent(nil)
			s.Close()
		}
		if !e.hearing() {
			return
		}
		if errors.Is(err, stt.ErrClosed) {
			continue // by listenAnew
		}
		e.r.post(func() { e.r.sttLost(e) })
		e.r.log.Warn("speech recognition stopped, starting it again", "err", err)
		select {
		case <-time.After(sttRestartWait):
		case <-e.input.Done():
		case <-e.quiet:
		}
	}
}

func (e *ears) readSTT(s *stt.Stream) error {
	for {
		ev, err := s.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		at := e.spoken(ev)
		e.r.post(func() {
			if s != e.void {
				e.r.onSTT(e, ev, at)
			}
		})
	}
}

// spoken is when the user said what ev tells.
func (e *ears) spoken(ev *stt.Event) span {
	if ev.Kind == stt.StartOfSpeech {
		return span{from: e.when(ev.SpeechStart)}
	}
	if len(ev.Alternatives) == 0 {
		return span{}
	}
	return span{from: e.when(ev.Alternatives[0].Start), to: e.when(ev.Alternatives[0].End)}
}

// span is a stretch of time. What is not known of it is zero.
type span struct{ from, to time.Time }

// stop ends the reading of audio.
func (e *ears) stop() { e.mute() }

// endSTT tells the recogniser that the user has finished, and waits for its last words.
func (e *ears) endSTT(limit time.Duration) {
	if s := e.current(); s != nil {
		_ = s.EndInput()
	}
	t := time.NewTimer(limit)
	defer t.Stop()
	select {
	case <-e.ended:
	case <-t.C:
	}
}

// close ends the streams and waits until what they used is booked.
func (e *ears) close() {
	if s := e.current(); s != nil {
		s.Close()
	}
	e.cancel()
	waitFor(&e.wg, closeWait, func() { e.r.log.Error("the ears do not close") })
}
