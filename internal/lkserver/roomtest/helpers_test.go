package roomtest

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/livekit/protocol/livekit"
	lksdk "github.com/livekit/server-sdk-go/v2"
	"github.com/pion/webrtc/v4"

	"github.com/parley-go/parley/internal/lkserver"
	"github.com/parley-go/parley/room"
	"github.com/parley-go/parley/session"
)

// patience is how long a test waits for what must happen.
const patience = 10 * time.Second

// host is a session that writes down what its transport says.
type host struct {
	said chan string // what the transport said, in order
}

// newHost has room for everything a test makes a transport say.
func newHost() *host { return &host{said: make(chan string, 1000)} }

func (h *host) ReceiveText(t session.TextInput) {
	h.said <- "text " + t.Participant.Identity + ": " + t.Text
}
func (h *host) ParticipantLinked(p session.Participant) { h.said <- "linked " + p.Identity }
func (h *host) ParticipantLeft(p session.Participant, reason string, closes bool) {
	s := "left " + p.Identity + " " + reason
	if closes {
		s += " closes"
	}
	h.said <- s
}
func (h *host) OutputReady()               { h.said <- "ready" }
func (h *host) Disconnected(reason string) { h.said <- "disconnected " + reason }

// expect waits for the next thing that the transport says.
func (h *host) expect(t *testing.T, want string) {
	t.Helper()
	if got := next(t, h.said); got != want {
		t.Fatalf("the transport says %q, want %q", got, want)
	}
}

// expectAll waits until the transport has said these things, in any order.
func (h *host) expectAll(t *testing.T, want ...string) {
	t.Helper()
	var got []string
	for end := time.After(patience); len(got) < len(want); {
		select {
		case s := <-h.said:
			got = append(got, s)
		case <-end:
			t.Fatalf("the transport says only %q, want %q", got, want)
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Fatalf("the transport says %q, want %q", got, want)
	}
}

// next waits for a value.
func next[T any](t testing.TB, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatal("waited in vain")
		panic("unreachable")
	}
}

// eventually waits until f holds.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !f(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never happened: %s", what)
		}
	}
}

func roomName(t testing.TB) string { return strings.ReplaceAll(t.Name(), "/", "-") }

func token(t testing.TB, identity string, grants ...lkserver.Grant) string {
	t.Helper()
	tok, err := server.Token(identity, roomName(t), grants...)
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

// joinAgent joins the room of the test as agent. subscribe is at most one.
func joinAgent(t testing.TB, subscribe ...room.Subscribe) *room.Room {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	opts := room.Options{URL: server.URL(), Token: token(t, "agent", lkserver.Agent()), Logger: slog.New(slog.DiscardHandler)}
	if len(subscribe) > 0 {
		opts.Subscribe = subscribe[0]
	}
	r, err := room.Join(ctx, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := r.Leave(ctx); err != nil {
			t.Error(err)
		}
	})
	return r
}

// open opens a transport and closes it at the end of the test.
func open(t testing.TB, tr session.Transport, h session.Host) session.IO {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	io, err := tr.Open(ctx, h)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := tr.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return io
}

// textOnly is a transport without audio.
var textOnly = room.IOOptions{NoAudioInput: true, NoAudioOutput: true}

// joinUser joins the room of the test with nothing but the SDK, and publishes a microphone: LiveKit
// takes up to 3 seconds to tell others of somebody who does not.
func joinUser(t *testing.T, identity string, cb *lksdk.RoomCallback, grants ...lkserver.Grant) *lksdk.Room {
	t.Helper()
	r := joinQuiet(t, identity, cb, grants...)
	track, err := lksdk.NewLocalTrack(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus, ClockRate: 48000, Channels: 2})
	if err != nil {
		t.Fatal(err)
	}
	_, err = r.LocalParticipant.PublishTrack(track, &lksdk.TrackPublicationOptions{Name: "mic", Source: livekit.TrackSource_MICROPHONE})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// joinQuiet is joinUser without a microphone. Without callbacks, somebody gets no tracks of others: when
// one leaves while the server offers his track, it makes who gets it connect anew, with STATE_MISMATCH.
// Who leaves hangs up a little later, as the server may lose the word with the line.
func joinQuiet(t *testing.T, identity string, cb *lksdk.RoomCallback, grants ...lkserver.Grant) *lksdk.Room {
	t.Helper()
	r := lksdk.NewRoom(cb)
	engineOf(r).OnClose(func() { time.Sleep(200 * time.Millisecond) })
	if err := r.JoinWithToken(server.URL(), token(t, identity, grants...), lksdk.WithAutoSubscribe(cb != nil)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Disconnect)
	return r
}

func api() *lksdk.RoomServiceClient {
	return lksdk.NewRoomServiceClient(strings.Replace(server.URL(), "ws", "http", 1), server.APIKey(), server.APISecret())
}

// raw is a data packet as a peer with bad manners sends it.
type raw struct{ *livekit.DataPacket }

func (r raw) ToProto() *livekit.DataPacket { return r.DataPacket }

func sendRaw(t *testing.T, from *lksdk.Room, packets ...*livekit.DataPacket) {
	t.Helper()
	for _, p := range packets {
		if err := from.LocalParticipant.PublishDataPacket(raw{p}, lksdk.WithDataPublishReliable(true)); err != nil {
			t.Fatal(err)
		}
	}
}

// textStreams collects the text streams that arrive on a topic.
type textStreams struct {
	mu  sync.Mutex
	got []textStream
}

type textStream struct {
	sender, text   string
	segment, track string
	final          string
}

func collect(t *testing.T, r *lksdk.Room, topic string) *textStreams {
	t.Helper()
	c := &textStreams{}
	err := r.RegisterTextStreamHandler(topic, func(s *lksdk.TextStreamReader, sender string) {
		text := s.ReadAll()
		a := s.Info.Attributes // complete once the stream has ended
		c.mu.Lock()
		defer c.mu.Unlock()
		c.got = append(c.got, textStream{sender, text, a["lk.segment_id"], a["lk.transcribed_track_id"], a["lk.transcription_final"]})
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *textStreams) all() []textStream {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]textStream(nil), c.got...)
}
