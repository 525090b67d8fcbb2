package room

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/livekit/protocol/livekit"

	"github.com/parley-go/parley/agent"
	"github.com/parley-go/parley/session"
)

// wire writes down what an outbox sends. While held, sending blocks.
type wire struct {
	mu   sync.Mutex
	held chan struct{} // nil lets everything pass
	got  []packet
	attr []string
	fail error
}

func (w *wire) send(ctx context.Context, packets ...packet) error {
	if w.held != nil {
		select {
		case <-w.held:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.fail != nil {
		return w.fail
	}
	w.got = append(w.got, packets...)
	return nil
}

func (w *wire) setAttribute(key, value string) {
	if w.held != nil {
		<-w.held
	}
	w.attr = append(w.attr, key+"="+value)
}

// lines describes the streams that were sent, and the older packets.
func (w *wire) lines() (streams, old []string) {
	for _, p := range w.got {
		switch v := p.Value.(type) {
		case *livekit.DataPacket_StreamHeader:
			a := v.StreamHeader.Attributes
			streams = append(streams, fmt.Sprintf("begin %s %s/%s final=%s", p.ParticipantIdentity, a[attrSegment], a[attrTrack], a[attrFinal]))
		case *livekit.DataPacket_StreamChunk:
			streams = append(streams, fmt.Sprintf("%d %s", v.StreamChunk.ChunkIndex, v.StreamChunk.Content))
		case *livekit.DataPacket_StreamTrailer:
			streams = append(streams, "end final="+v.StreamTrailer.Attributes[attrFinal])
		case *livekit.DataPacket_Transcription:
			s := v.Transcription.Segments[0]
			old = append(old, fmt.Sprintf("%s %s/%s %q %v", v.Transcription.TranscribedParticipantIdentity, s.Id, v.Transcription.TrackId, s.Text, s.Final))
		}
	}
	return streams, old
}

func runOutbox(t *testing.T, f func(o *outbox, w *wire)) {
	synctest.Test(t, func(t *testing.T) {
		w := &wire{}
		o := newOutbox(t.Context(), w, slog.New(slog.DiscardHandler))
		f(o, w)
		o.close(t.Context())
		<-o.done
	})
}

func equal(t *testing.T, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s:\n got %q\nwant %q", what, got, want)
	}
}

var (
	me  = voice{"agent", "TR_a"}
	ann = voice{"ann", "TR_u"}
)

func TestAgentSpeechIsOneStreamPerSegment(t *testing.T) {
	runOutbox(t, func(o *outbox, w *wire) {
		for _, text := range []string{"Hello ", "there."} {
			o.write(session.Transcript{SegmentID: "SG_1", Text: text}, me)
			synctest.Wait()
		}
		o.write(session.Transcript{SegmentID: "SG_1", Final: true}, me)
		synctest.Wait()
		streams, old := w.lines()
		equal(t, "streams", streams, []string{"begin agent SG_1/TR_a final=false", "0 Hello ", "1 there.", "end final=true"})
		equal(t, "older packets", old, []string{
			`agent SG_1/TR_a "Hello " false`, `agent SG_1/TR_a "Hello there." false`, `agent SG_1/TR_a "Hello there." true`})
	})
}

func TestUserSpeechIsAStreamPerUpdate(t *testing.T) {
	runOutbox(t, func(o *outbox, w *wire) {
		o.write(session.Transcript{SegmentID: "SG_1", User: true, Text: "What"}, ann)
		synctest.Wait()
		o.write(session.Transcript{SegmentID: "SG_1", User: true, Text: "What time", Final: true}, ann)
		synctest.Wait()
		streams, old := w.lines()
		equal(t, "streams", streams, []string{
			"begin ann SG_1/TR_u final=false", "0 What", "end final=",
			"begin ann SG_1/TR_u final=true", "0 What time", "end final="})
		equal(t, "older packets", old, []string{`ann SG_1/TR_u "What" false`, `ann SG_1/TR_u "What time" true`})
	})
}

func TestWaitingUpdatesMeltTogether(t *testing.T) {
	runOutbox(t, func(o *outbox, w *wire) {
		w.held = make(chan struct{})
		o.write(session.Transcript{SegmentID: "SG_0", User: true, Text: "first"}, ann)
		synctest.Wait() // the writer is stuck with it
		for i := range 1000 {
			o.write(session.Transcript{SegmentID: "SG_1", Text: fmt.Sprint(i, " ")}, me)
			o.write(session.Transcript{SegmentID: "SG_2", User: true, Text: fmt.Sprint(i)}, ann)
		}
		o.write(session.Transcript{SegmentID: "SG_1", Final: true}, me)
		if n := len(o.queue); n != 2 {
			t.Errorf("%d updates wait, want 2", n)
		}
		close(w.held)
		synctest.Wait()
		streams, _ := w.lines()
		var all strings.Builder
		for i := range 1000 {
			fmt.Fprint(&all, i, " ")
		}
		equal(t, "streams", streams, []string{
			"begin ann SG_0/TR_u final=false", "0 first", "end final=",
			"begin agent SG_1/TR_a final=false", "0 " + all.String(), "end final=true",
			"begin ann SG_2/TR_u final=false", "0 999", "end final="})
	})
}

func TestFullQueueDropsWhatIsNotFinal(t *testing.T) {
	runOutbox(t, func(o *outbox, w *wire) {
		w.held = make(chan struct{})
		o.write(session.Transcript{SegmentID: "stuck", User: true, Text: "x"}, ann)
		synctest.Wait()
		for i := range maxTranscripts + 10 {
			o.write(session.Transcript{SegmentID: fmt.Sprint("SG_", i), User: true, Text: "x"}, ann)
		}
		o.write(session.Transcript{SegmentID: "last", User: true, Text: "kept", Final: true}, ann)
		if n := len(o.queue); n != maxTranscripts {
			t.Errorf("%d updates wait, want %d", n, maxTranscripts)
		}
		close(w.held)
		synctest.Wait()
		streams, _ := w.lines()
		equal(t, "end", streams[len(streams)-3:], []string{"begin ann last/TR_u final=true", "0 kept", "end final="})
		if slices.Contains(streams, "begin ann SG_0/TR_u final=false") {
			t.Error("the oldest update that was not final is still there")
		}
	})
}

func TestLatestStateWins(t *testing.T) {
	runOutbox(t, func(o *outbox, w *wire) {
		w.held = make(chan struct{})
		o.setState(agent.Initializing)
		synctest.Wait()
		o.setState(agent.Listening)
		o.setState(agent.Thinking)
		o.setState(agent.Speaking)
		close(w.held)
		synctest.Wait()
		o.repeatState() // as after a reconnect
		synctest.Wait()
		equal(t, "attributes", w.attr, []string{"lk.agent.state=initializing", "lk.agent.state=speaking", "lk.agent.state=speaking"})
	})
}

func TestCloseEndsOpenStreamsAndTakesNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wire{}
		o := newOutbox(t.Context(), w, slog.New(slog.DiscardHandler))
		o.write(session.Transcript{SegmentID: "SG_1", Text: "cut"}, me)
		o.close(t.Context())
		o.write(session.Transcript{SegmentID: "SG_2", Text: "late"}, me)
		streams, _ := w.lines()
		equal(t, "streams", streams, []string{"begin agent SG_1/TR_a final=false", "0 cut", "end final=true"})
	})
}

func TestCloseGivesUpWhenItsContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wire{held: make(chan struct{})}
		o := newOutbox(t.Context(), w, slog.New(slog.DiscardHandler))
		o.write(session.Transcript{SegmentID: "SG_1", Text: "x", Final: true}, me)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		o.close(ctx)
		select {
		case <-o.done:
			t.Error("the writer ended although its packet is stuck")
		default:
		}
		close(w.held)
		<-o.done
	})
}

func TestLostConnectionLosesNoLaterTranscript(t *testing.T) {
	runOutbox(t, func(o *outbox, w *wire) {
		w.fail = errors.New("gone")
		o.write(session.Transcript{SegmentID: "SG_1", User: true, Text: "lost", Final: true}, ann)
		synctest.Wait()
		w.fail = nil
		o.write(session.Transcript{SegmentID: "SG_2", User: true, Text: "kept", Final: true}, ann)
		synctest.Wait()
		streams, _ := w.lines()
		equal(t, "streams", streams, []string{"begin ann SG_2/TR_u final=true", "0 kept", "end final="})
	})
}

func TestChunksSplitBetweenCharacters(t *testing.T) {
	text := strings.Repeat("a", maxChunk-1) + strings.Repeat("€", maxChunk)
	var got strings.Builder
	for _, p := range newTextStream("").chunks(text) {
		c := p.GetStreamChunk().Content
		if len(c) > maxChunk || len(c) == 0 {
			t.Fatalf("chunk of %d bytes", len(c))
		}
		if strings.ToValidUTF8(string(c), "") != string(c) {
			t.Fatal("a character is cut in two")
		}
		got.Write(c)
	}
	if got.String() != text {
		t.Error("the chunks are not the text")
	}
}

func BenchmarkTranscriptPackets(b *testing.B) {
	b.ReportAllocs()
	o := &outbox{}
	for b.Loop() {
		o.packets(update{session.Transcript{SegmentID: "SG_1", User: true, Text: "What time is it?", Final: true}, ann})
	}
}
