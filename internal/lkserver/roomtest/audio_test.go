package roomtest

import (
	"context"
	"errors"
	"io"
	"math"
	"sync"
	"testing"
	"time"

	lksdk "github.com/livekit/server-sdk-go/v2"
	"github.com/pion/webrtc/v4"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/internal/lkserver/caller"
	"github.com/parley-go/parley/room"
	"github.com/parley-go/parley/session"
)

const rate = 24_000

// tone is a sine of the given frequency at half of full scale.
func tone(hz float64, d time.Duration) audio.Frame {
	f := audio.Silence(d, rate, 1)
	for i := range f.Data {
		f.Data[i] = int16(16384 * math.Sin(2*math.Pi*hz*float64(i)/rate))
	}
	return f
}

// strength is how much of the frequency there is in pcm, as a fraction of a tone of half of full
// scale: 1 is all of it (Goertzel).
func strength(pcm []int16, hz float64) float64 {
	w := 2 * math.Pi * hz / rate
	var a, b float64
	for _, s := range pcm {
		a, b = float64(s)+2*math.Cos(w)*a-b, a
	}
	power := a*a + b*b - 2*math.Cos(w)*a*b
	return 2 * math.Sqrt(max(power, 0)) / float64(len(pcm)) / 16384
}

// ear keeps what a call hears.
type ear struct {
	mu  sync.Mutex
	pcm []int16
}

func (e *ear) hear(f audio.Frame, _ bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.pcm = append(e.pcm, f.Data...)
}

// loud returns the pieces of 20 ms in which something is heard.
func (e *ear) loud() []int16 {
	e.mu.Lock()
	defer e.mu.Unlock()
	const n = rate / 50
	var out []int16
	for i := 0; i+n <= len(e.pcm); i += n {
		if audio.RMS(e.pcm[i:i+n]) > 0.1 {
			out = append(out, e.pcm[i:i+n]...)
		}
	}
	return out
}

func dial(t testing.TB, identity string, opts *caller.Options) *caller.Call {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, err := caller.Dial(ctx, server.URL(), token(t, identity), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Hangup(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// play writes audio to the agent's output and waits for the end of the segment.
func play(t *testing.T, out session.AudioOutput, events <-chan session.PlaybackEvent, f audio.Frame) session.PlaybackEvent {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := out.Write(ctx, f); err != nil {
		t.Fatal(err)
	}
	out.Flush()
	return finished(t, events)
}

func finished(t *testing.T, events <-chan session.PlaybackEvent) session.PlaybackEvent {
	t.Helper()
	for {
		if e := next(t, events); e.Finished {
			return e
		}
	}
}

func TestUserIsHeardBySession(t *testing.T) {
	r := joinAgent(t)
	h := newHost()
	in := open(t, r.With(room.IOOptions{NoAudioOutput: true, InputRate: rate}), h).AudioIn
	var e ear
	stop := make(chan struct{})
	read := make(chan struct{}) // closed when the reader ended
	go func() {
		defer close(read)
		for {
			f, err := in.ReadFrame(t.Context())
			if err != nil {
				return
			}
			if f.Rate != rate || f.Channels != 1 || f.Duration() != 20*time.Millisecond {
				t.Errorf("frame of %v at %d Hz, %d channels", f.Duration(), f.Rate, f.Channels)
			}
			e.hear(f, false)
			select {
			case <-stop:
				return
			default:
			}
		}
	}()
	ann := dial(t, "ann", nil)
	h.expect(t, "linked ann")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := ann.Say(ctx, tone(440, time.Second)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the tone is heard", func() bool { return len(e.loud()) > rate*8/10 })
	close(stop)
	<-read
	pcm := e.loud()
	if s := strength(pcm, 440); s < 0.8 || s > 1.2 {
		t.Errorf("440 Hz are heard at %.2f of what was said", s)
	}
	if s := strength(pcm, 1000); s > 0.05 {
		t.Errorf("1000 Hz are heard at %.2f, but were not said", s)
	}
}

func TestSessionIsHeardByUser(t *testing.T) {
	r := joinAgent(t)
	h := newHost()
	out := open(t, r.With(room.IOOptions{NoAudioInput: true, OutputRate: rate}), h).AudioOut
	events := make(chan session.PlaybackEvent, 100) // more than the events of the test
	out.Notify(func(e session.PlaybackEvent) { events <- e })
	speakers := make(chan struct{}, 1) // one is enough
	joinUser(t, "watcher", &lksdk.RoomCallback{OnActiveSpeakersChanged: func(ps []lksdk.Participant) {
		for _, p := range ps {
			if p.Identity() == "agent" {
				select {
				case speakers <- struct{}{}:
				default:
				}
			}
		}
	}})
	var e ear
	dial(t, "ann", &caller.Options{OnAudio: e.hear})
	end := play(t, out, events, tone(440, time.Second))
	if end.Interrupted || end.Played != time.Second {
		t.Errorf("playback ended with %+v, want 1s played", end)
	}
	eventually(t, "the tone is heard", func() bool { return len(e.loud()) > rate*7/10 })
	if s := strength(e.loud(), 440); s < 0.8 || s > 1.2 {
		t.Errorf("440 Hz are heard at %.2f of what was said", s)
	}
	next(t, speakers)
}

func TestNothingIsPlayedBeforeSomebodyListens(t *testing.T) {
	r := joinAgent(t)
	h := newHost()
	out := open(t, r.With(room.IOOptions{NoAudioInput: true}), h).AudioOut
	events := make(chan session.PlaybackEvent, 100) // more than the events of the test
	out.Notify(func(e session.PlaybackEvent) { events <- e })
	if err := out.Write(t.Context(), tone(440, 100*time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	out.Flush()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := out.Write(ctx, tone(440, time.Second)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v, want the end of the context", err)
	}
	if n := len(events); n != 0 {
		t.Errorf("%d playback events before anybody listens", n)
	}
	dial(t, "ann", nil)
	h.expectAll(t, "linked ann", "ready")
	if end := finished(t, events); end.Interrupted || end.Played != 100*time.Millisecond {
		t.Errorf("playback ended with %+v, want 100ms played", end)
	}
}

// packets counts the packets of the agent's track.
type packets struct {
	mu   sync.Mutex
	n    int
	last time.Time
}

func (p *packets) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.n
}

func TestNoPacketsInPausesAndAfterClear(t *testing.T) {
	r := joinAgent(t)
	h := newHost()
	out := open(t, r.With(room.IOOptions{NoAudioInput: true}), h).AudioOut
	events := make(chan session.PlaybackEvent, 100) // more than the events of the test
	out.Notify(func(e session.PlaybackEvent) { events <- e })
	var got packets
	joinUser(t, "ann", &lksdk.RoomCallback{ParticipantCallback: lksdk.ParticipantCallback{
		OnTrackSubscribed: func(track *webrtc.TrackRemote, _ *lksdk.RemoteTrackPublication, _ *lksdk.RemoteParticipant) {
			go func() { // ends with the track
				for {
					if _, _, err := track.ReadRTP(); err != nil {
						return
					}
					got.mu.Lock()
					got.n++
					got.last = time.Now()
					got.mu.Unlock()
				}
			}()
		}}})
	wrote := make(chan error, 1)
	go func() { wrote <- out.Write(t.Context(), tone(440, time.Minute)) }()
	// The server begins a track with packets of its own.
	eventually(t, "packets arrive", func() bool { return got.count() > 5 && out.Played() > 0 })
	out.Pause()
	settle(t, &got)
	played := out.Played()
	paused := got.count()
	time.Sleep(100 * time.Millisecond)
	if n := got.count(); n != paused {
		t.Errorf("%d packets came in the pause", n-paused)
	}
	out.Resume()
	eventually(t, "packets arrive again", func() bool { return got.count() > paused+5 })
	out.Clear()
	if end := finished(t, events); !end.Interrupted || end.Played < played || end.Played > time.Minute/2 {
		t.Errorf("playback ended with %+v after %v", end, played)
	}
	if err := next(t, wrote); !errors.Is(err, session.ErrCleared) {
		t.Errorf("error %v, want ErrCleared", err)
	}
	settle(t, &got)
	cleared := got.count()
	time.Sleep(100 * time.Millisecond)
	if n := got.count(); n != cleared {
		t.Errorf("%d packets came after the clear", n-cleared)
	}
}

// settle waits until packets that were under way have come.
func settle(t *testing.T, p *packets) {
	t.Helper()
	eventually(t, "no more packets come", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return time.Since(p.last) > 100*time.Millisecond
	})
}

func TestInputGoesOnThroughTracksAndPeople(t *testing.T) {
	r := joinAgent(t)
	h := newHost()
	tr := r.With(room.IOOptions{NoAudioOutput: true, KeepOpen: true, InputRate: rate})
	opened, err := tr.Open(t.Context(), h)
	if err != nil {
		t.Fatal(err)
	}
	var e ear
	ended := make(chan error, 1)
	go func() {
		for {
			f, err := opened.AudioIn.ReadFrame(t.Context())
			if err != nil {
				ended <- err
				return
			}
			e.hear(f, false)
		}
	}()
	for _, name := range []string{"ann", "bob"} {
		c := dial(t, name, nil)
		h.expect(t, "linked "+name)
		before := len(e.loud())
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		if err := c.Say(ctx, tone(440, 500*time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		eventually(t, name+" is heard", func() bool { return len(e.loud())-before > rate*3/10 })
		if err := c.Hangup(); err != nil {
			t.Fatal(err)
		}
		h.expect(t, "left "+name+" CLIENT_INITIATED")
	}
	if err := tr.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := next(t, ended); err != io.EOF {
		t.Errorf("input ended with %v, want io.EOF", err)
	}
}

func TestCallerHearsRepliesAndTranscripts(t *testing.T) {
	r := joinAgent(t)
	h := newHost()
	opened := open(t, r, h)
	out := opened.AudioOut
	events := make(chan session.PlaybackEvent, 100) // more than the events of the test
	out.Notify(func(e session.PlaybackEvent) { events <- e })
	transcripts := make(chan caller.Transcript, 10) // more than the updates of the test
	c := dial(t, "ann", &caller.Options{OnTranscript: func(tr caller.Transcript) {
		if tr.Final {
			transcripts <- tr
		}
	}})
	if err := c.WaitAgent(t.Context()); err != nil {
		t.Fatal(err)
	}
	opened.Transcripts.WriteTranscript(session.Transcript{SegmentID: "SG_1", Text: "Hello, "})
	opened.Transcripts.WriteTranscript(session.Transcript{SegmentID: "SG_1", Text: "Ann.", Final: true})
	replied := make(chan error, 1)
	go func() { replied <- c.WaitReply(t.Context(), 200*time.Millisecond) }()
	play(t, out, events, tone(300, 400*time.Millisecond))
	if err := next(t, replied); err != nil {
		t.Error(err)
	}
	want := caller.Transcript{Speaker: "agent", Segment: "SG_1", Text: "Hello, Ann.", Final: true}
	if got := next(t, transcripts); got != want {
		t.Errorf("transcript %+v, want %+v", got, want)
	}
	eventually(t, "the linked participant is there", func() bool { return len(h.said) >= 2 })
	if err := c.Type(t.Context(), "hello"); err != nil {
		t.Fatal(err)
	}
	for {
		if said := next(t, h.said); said == "text ann: hello" {
			break
		}
	}
	if err := c.Hangup(); err != nil {
		t.Error(err)
	}
	if err := c.Say(t.Context(), tone(440, 50*time.Millisecond)); err == nil {
		t.Error("spoke after hanging up")
	}
}
