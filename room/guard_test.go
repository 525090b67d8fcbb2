package room

import (
	"errors"
	"reflect"
	"testing"

	"github.com/livekit/protocol/livekit"
	lksdk "github.com/livekit/server-sdk-go/v2"
)

// crash is a stream that ends the process: no attributes in its header, some in its trailer.
func crash(topic, id string) (*livekit.DataStream_Header, *livekit.DataStream_Trailer) {
	return &livekit.DataStream_Header{StreamId: id, Topic: topic,
			ContentHeader: &livekit.DataStream_Header_TextHeader{TextHeader: &livekit.DataStream_TextHeader{}}},
		&livekit.DataStream_Trailer{StreamId: id, Attributes: map[string]string{"k": "v"}}
}

// engineHandler is whom the engine of a room calls, in the parts that the test needs.
type engineHandler interface {
	OnStreamHeader(h *livekit.DataStream_Header, sender string)
	OnStreamChunk(c *livekit.DataStream_Chunk)
	OnStreamTrailer(t *livekit.DataStream_Trailer)
}

func handlerOf(t *testing.T, room *lksdk.Room) engineHandler {
	t.Helper()
	engine, err := engineOf(room)
	if err != nil {
		t.Fatal(err)
	}
	return settable(reflect.ValueOf(engine).Elem().FieldByName("engineHandler")).Interface().(engineHandler)
}

// TestSDKStillCrashes fails when the SDK is mended: then the guard's comment wants an update.
func TestSDKStillCrashes(t *testing.T) {
	room := lksdk.NewRoom(nil)
	if err := room.RegisterTextStreamHandler("topic", func(*lksdk.TextStreamReader, string) {}); err != nil {
		t.Fatal(err)
	}
	h, tr := crash("topic", "1")
	engine := handlerOf(t, room)
	engine.OnStreamHeader(h, "eve")
	defer func() {
		if recover() == nil {
			t.Error("the SDK survived a trailer with attributes")
		}
	}()
	engine.OnStreamTrailer(tr)
}

func TestGuardSurvivesTheCrash(t *testing.T) {
	r := newTestRoom(t)
	read := make(chan string, 2) // one for each stream
	err := r.SDK().RegisterTextStreamHandler("topic", func(s *lksdk.TextStreamReader, _ string) { read <- s.ReadAll() })
	if err != nil {
		t.Fatal(err)
	}
	engine := handlerOf(t, r.SDK())
	for _, topic := range []string{"topic", topicChat} {
		h, tr := crash(topic, "1"+topic)
		engine.OnStreamHeader(h, "eve")
		engine.OnStreamTrailer(tr)
	}
	if got := <-read; got != "" {
		t.Errorf("the handler read %q of an empty stream", got)
	}
	h, tr := crash("topic", "2")
	h.Attributes = map[string]string{"header": "stays"}
	engine.OnStreamHeader(h, "ann")
	engine.OnStreamChunk(&livekit.DataStream_Chunk{StreamId: "2", Content: []byte("later")})
	engine.OnStreamTrailer(tr)
	if got := <-read; got != "later" {
		t.Errorf("the handler read %q, want %q", got, "later")
	}
	if len(h.Attributes) != 1 || len(tr.Attributes) != 1 {
		t.Errorf("the SDK wrote into what was received: %v, %v", h.Attributes, tr.Attributes)
	}
}

func TestGuardSurvivesPanicsOfUsers(t *testing.T) {
	r := newTestRoom(t)
	called := make(chan string, 1) // filled once
	g := &guard{Room: r.SDK(), streams: r.texts, panicked: func(where string, v any) { called <- where }}
	func() {
		defer g.recover("somewhere")
		panic("x")
	}()
	if where := <-called; where != "somewhere" {
		t.Errorf("panic reported at %q", where)
	}
}

func TestGuardWantsTheRoomItKnows(t *testing.T) {
	r := newTestRoom(t)
	_, err := installGuard(&guard{Room: r.SDK(), streams: r.texts}) // the handler is a guard already
	if !errors.Is(err, errNoGuard) {
		t.Errorf("error %v, want errNoGuard", err)
	}
}
