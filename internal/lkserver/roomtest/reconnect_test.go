package roomtest

import (
	"context"
	"reflect"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/livekit/protocol/livekit"
	lksdk "github.com/livekit/server-sdk-go/v2"

	"github.com/parley-go/parley/agent"
	"github.com/parley-go/parley/internal/lkserver/caller"
	"github.com/parley-go/parley/room"
	"github.com/parley-go/parley/session"
)

// repair is how long a reconnect may take: when the media of a resumed connection does not come back,
// the SDK and the server notice that by their own timeouts and start anew.
const repair = 45 * time.Second

func await(t *testing.T, ctx context.Context, r *room.Room, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-r.Disconnected():
		t.Fatalf("the room ended: %s", r.DisconnectReason())
	case <-ctx.Done():
		t.Fatal("did not reconnect")
	}
}

func engineOf(r *lksdk.Room) *lksdk.RTCEngine {
	field := reflect.ValueOf(r).Elem().FieldByName("engine")
	return reflect.NewAt(field.Type(), unsafe.Pointer(field.UnsafeAddr())).Elem().Interface().(*lksdk.RTCEngine)
}

// leave makes the SDK believe that the server told it to connect anew.
func leave(r *room.Room, action livekit.LeaveRequest_Action) {
	engineOf(r.SDK()).OnLeave(&livekit.LeaveRequest{Action: action})
}

// answered has the server answer what the SDK says before it connects anew, which it otherwise does only
// when it is faster than the SDK's hanging up.
func answered(r *room.Room) {
	_ = engineOf(r.SDK()).SendLeaveWithReason(livekit.DisconnectReason_UNKNOWN_REASON) // or there is no reconnect
}

// TestSessionSurvivesReconnects loses the connection in all the ways that there are: the signalling
// alone, and everything, after which tracks have other SIDs.
func TestSessionSurvivesReconnects(t *testing.T) {
	tests := map[string]func(r *room.Room){
		"signal lost":  func(r *room.Room) { r.SDK().Simulate(lksdk.SimulateSignalReconnect) },
		"node failure": func(r *room.Room) { r.SDK().Simulate(lksdk.SimulateNodeFailure) },
		"resume":       func(r *room.Room) { leave(r, livekit.LeaveRequest_RESUME) },
		"restart":      func(r *room.Room) { leave(r, livekit.LeaveRequest_RECONNECT) },
		"answered":     answered,
	}
	for name, lose := range tests {
		t.Run(name, func(t *testing.T) {
			if raced && !strings.HasPrefix(name, "restart") {
				t.Skip("pion/ice races when it resumes")
			}
			r := joinAgent(t)
			h := newHost()
			opened := open(t, r.With(room.IOOptions{InputRate: rate, OutputRate: rate}), h)
			events := make(chan session.PlaybackEvent, 100) // more than the events of the test
			opened.AudioOut.Notify(func(e session.PlaybackEvent) { events <- e })
			var in, out ear
			reading, stopReading := context.WithCancel(t.Context())
			read := make(chan struct{}) // closed when the reader ended
			go func() {
				defer close(read)
				for {
					f, err := opened.AudioIn.ReadFrame(reading)
					if err != nil {
						return
					}
					in.hear(f, false)
				}
			}()
			defer func() { stopReading(); <-read }()
			transcripts := make(chan caller.Transcript, 10) // more than the updates of the test
			c := dial(t, "ann", &caller.Options{OnAudio: out.hear, OnTranscript: func(tr caller.Transcript) { transcripts <- tr }})
			h.expectAll(t, "linked ann", "ready")
			opened.AgentState(agent.Listening)
			if err := c.Say(t.Context(), tone(300, 200*time.Millisecond)); err != nil {
				t.Fatal(err)
			}

			reconnected := make(chan struct{}, 1) // one reconnect
			defer room.On(r, func(room.Reconnected) { reconnected <- struct{}{} })()
			lose(r)
			ctx, cancel := context.WithTimeout(t.Context(), repair)
			defer cancel()
			await(t, ctx, r, reconnected)
			for before := len(in.loud()); len(in.loud())-before < rate/5; { // she goes on until she is heard
				if err := c.Say(ctx, tone(440, 300*time.Millisecond)); err != nil {
					t.Fatal(err)
				}
			}
			for before := len(out.loud()); len(out.loud())-before < rate/5; {
				if err := opened.AudioOut.Write(ctx, tone(440, 300*time.Millisecond)); err != nil {
					t.Fatal(err)
				}
				opened.AudioOut.Flush()
				finished(t, events)
			}
			if err := c.Type(t.Context(), "still there?"); err != nil {
				t.Fatal(err)
			}
			h.expect(t, "text ann: still there?") // and no word of somebody leaving
			opened.Transcripts.WriteTranscript(session.Transcript{SegmentID: "SG_1", User: true, Text: "yes", Final: true})
			if tr := next(t, transcripts); tr.Speaker != "ann" || tr.Text != "yes" {
				t.Errorf("transcript %+v", tr)
			}
			eventually(t, "the state is known", func() bool {
				for _, p := range c.Room().Participants() {
					if p.Attributes["lk.agent.state"] == string(agent.Listening) {
						return true
					}
				}
				return false
			})
		})
	}
}

// TestMicrophoneDuringReconnect loses the connection before, and while, a microphone is published.
func TestMicrophoneDuringReconnect(t *testing.T) {
	resume := func(r *room.Room) { leave(r, livekit.LeaveRequest_RESUME) }
	restart := func(r *room.Room) { leave(r, livekit.LeaveRequest_RECONNECT) }
	lost := func(r *room.Room) { r.SDK().Simulate(lksdk.SimulateSignalReconnect) }
	nothing := func(*room.Room) {}
	tests := map[string]struct{ before, after func(r *room.Room) }{
		"resume before":      {resume, nothing},
		"restart before":     {restart, nothing},
		"signal lost before": {lost, nothing},
		"resume after":       {nothing, resume},
		"restart after":      {nothing, restart},
		"signal lost after":  {nothing, lost},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if raced && !strings.HasPrefix(name, "restart") {
				t.Skip("pion/ice races when it resumes")
			}
			r := joinAgent(t)
			h := newHost()
			open(t, r, h)
			reconnected := make(chan struct{}, 1) // one reconnect
			defer room.On(r, func(room.Reconnected) { reconnected <- struct{}{} })()
			tt.before(r)
			c := dial(t, "ann", nil)
			h.expectAll(t, "linked ann", "ready")
			tt.after(r)
			ctx, cancel := context.WithTimeout(t.Context(), repair)
			defer cancel()
			await(t, ctx, r, reconnected)
			if err := c.Say(ctx, tone(440, 100*time.Millisecond)); err != nil {
				t.Fatal(err)
			}
		})
	}
}
