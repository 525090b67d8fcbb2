package roomtest

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/livekit/protocol/livekit"
	lksdk "github.com/livekit/server-sdk-go/v2"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"github.com/parley-go/parley/agent"
	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/background"
	"github.com/parley-go/parley/llm"
	"github.com/parley-go/parley/llm/driver"
	llmscripted "github.com/parley-go/parley/llm/scripted"
	"github.com/parley-go/parley/room"
	"github.com/parley-go/parley/session"
)

// backdrop is what somebody hears on the track with the sounds in the background.
type backdrop struct {
	mu     sync.Mutex
	last   []int16 // up to a fifth of a second
	source livekit.TrackSource
}

// hearBackdrop joins as a user who listens to the track.
func hearBackdrop(t *testing.T) *backdrop {
	t.Helper()
	b := &backdrop{}
	joinUser(t, "ann", &lksdk.RoomCallback{ParticipantCallback: lksdk.ParticipantCallback{
		OnTrackSubscribed: func(track *webrtc.TrackRemote, pub *lksdk.RemoteTrackPublication, _ *lksdk.RemoteParticipant) {
			if pub.Name() == "background_audio" {
				b.mu.Lock()
				b.source = pub.Source()
				b.mu.Unlock()
				go b.listen(t, track) // ends with the track
			}
		}}})
	return b
}

func (b *backdrop) listen(t *testing.T, track *webrtc.TrackRemote) {
	in, err := audio.NewReceiver(&audio.ReceiverOptions{SampleRate: rate})
	if err != nil {
		t.Error(err)
		return
	}
	defer func() { _ = in.Close() }()
	go func() { // ends with the receiver
		for {
			f, err := in.ReadFrame(context.Background())
			if err != nil {
				return
			}
			b.mu.Lock()
			b.last = append(b.last, f.Data...)
			b.last = b.last[max(0, len(b.last)-rate/5):]
			b.mu.Unlock()
		}
	}()
	var pkt rtp.Packet
	buf := make([]byte, 2048)
	for {
		n, _, err := track.Read(buf)
		if err != nil {
			return
		}
		if pkt.Unmarshal(buf[:n]) == nil {
			in.Push(&pkt, time.Now())
		}
	}
}

// hears says whether the frequency was in the last fifth of a second.
func (b *backdrop) hears(hz float64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.last) == rate/5 && strength(b.last, hz) > 0.1
}

func clipOf(t *testing.T, f audio.Frame) background.Source {
	t.Helper()
	src, err := background.Clip(f)
	if err != nil {
		t.Fatal(err)
	}
	return src
}

// thinker is an agent in the room who thinks until think is closed, with an ambient tone of 300 Hz and
// one of 1000 Hz for thinking.
func thinker(t *testing.T, r *room.Room, think <-chan struct{}) *session.Session {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	s := session.New(session.Options{
		LLM: llm.New(llmscripted.New(&llmscripted.Options{Respond: func(int, *driver.Request) llmscripted.Answer {
			<-think
			return llmscripted.Answer{Text: "Well."}
		}}), nil),
		Logger: log,
	})
	bg := background.New(background.Options{
		Ambient:  []background.Sound{{Source: clipOf(t, tone(300, time.Second)), Gain: -6}},
		Thinking: []background.Sound{{Source: clipOf(t, tone(1000, 100*time.Millisecond)), Gain: -6}},
		Logger:   log,
	})
	if err := bg.Start(t.Context(), s, r); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := bg.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	if err := s.Start(t.Context(), &agent.Agent{}, r); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestCallerHearsTheBackgroundAndThinking(t *testing.T) {
	r := joinAgent(t)
	think := make(chan struct{})
	s := thinker(t, r, think)
	ann := hearBackdrop(t)
	eventually(t, "the ambient sound is heard", func() bool { return ann.hears(300) })
	if ann.hears(1000) {
		t.Error("thinking is heard before the agent thinks")
	}
	ann.mu.Lock()
	if ann.source == livekit.TrackSource_MICROPHONE {
		t.Error("the track can be taken for the agent's voice")
	}
	ann.mu.Unlock()
	s.GenerateReply(agent.Reply{})
	eventually(t, "thinking is heard", func() bool { return ann.hears(1000) && ann.hears(300) })
	if s.AgentState() != agent.Thinking {
		t.Errorf("the agent is %s", s.AgentState())
	}
	close(think)
	eventually(t, "thinking is over", func() bool { return !ann.hears(1000) && ann.hears(300) })
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the track is gone", func() bool {
		for _, pub := range r.SDK().LocalParticipant.TrackPublications() {
			if pub.Name() == "background_audio" {
				return false
			}
		}
		return true
	})
}

func TestBackgroundSurvivesReconnect(t *testing.T) {
	r := joinAgent(t)
	think := make(chan struct{})
	close(think)
	thinker(t, r, think)
	ann := hearBackdrop(t)
	eventually(t, "the ambient sound is heard", func() bool { return ann.hears(300) })
	reconnected := make(chan struct{}, 1) // one reconnect
	defer room.On(r, func(room.Reconnected) { reconnected <- struct{}{} })()
	leave(r, livekit.LeaveRequest_RECONNECT)
	ctx, cancel := context.WithTimeout(t.Context(), repair)
	defer cancel()
	await(t, ctx, r, reconnected)
	ann.mu.Lock()
	ann.last = nil
	ann.mu.Unlock()
	eventually(t, "the ambient sound is heard again", func() bool { return ann.hears(300) })
}

func TestTrackEndsWithTheRoom(t *testing.T) {
	r := joinAgent(t)
	track, err := r.PublishTrack(t.Context(), room.TrackOptions{Name: "music"})
	if err != nil {
		t.Fatal(err)
	}
	wrote := make(chan error, 1)
	go func() { wrote <- track.Write(t.Context(), tone(440, time.Minute)) }()
	if err := r.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := next(t, wrote); err == nil {
		t.Error("a minute was written to a room that is over")
	}
	if err := track.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := r.PublishTrack(t.Context(), room.TrackOptions{Name: "more"}); err == nil {
		t.Error("published in a room that is over")
	}
	if _, err := r.PublishTrack(t.Context(), room.TrackOptions{}); err == nil {
		t.Error("published a track without a name")
	}
}
