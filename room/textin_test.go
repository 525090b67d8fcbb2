package room

import (
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/livekit/protocol/livekit"
)

type textsTaken struct {
	*textReader
	got []string
	now time.Time
}

func newTexts() *textsTaken {
	tt := &textsTaken{now: time.Unix(1000, 0)}
	tt.textReader = newTextReader(topicChat, slog.New(slog.DiscardHandler), func(sender, text string) {
		tt.got = append(tt.got, sender+": "+text)
	})
	tt.textReader.now = func() time.Time { return tt.now }
	return tt
}

func (tt *textsTaken) begin(id, sender string) {
	tt.header(&livekit.DataStream_Header{StreamId: id, Topic: topicChat,
		ContentHeader: &livekit.DataStream_Header_TextHeader{TextHeader: &livekit.DataStream_TextHeader{}}}, sender)
}

func (tt *textsTaken) add(id string, index uint64, text string) {
	tt.chunk(&livekit.DataStream_Chunk{StreamId: id, ChunkIndex: index, Content: []byte(text)})
}

func (tt *textsTaken) end(id string) { tt.trailer(&livekit.DataStream_Trailer{StreamId: id}) }

func (tt *textsTaken) want(t *testing.T, want ...string) {
	t.Helper()
	if !slices.Equal(tt.got, want) {
		t.Errorf("took %q, want %q", tt.got, want)
	}
}

func TestTextsComeInTheOrderInWhichTheyEnd(t *testing.T) {
	tt := newTexts()
	tt.begin("1", "ann")
	tt.begin("2", "bob")
	tt.add("2", 0, "second")
	tt.add("1", 0, "fir")
	tt.add("1", 1, "st")
	tt.end("1")
	tt.end("2")
	tt.want(t, "ann: first", "bob: second")
}

func TestTextInOnePacketIsTaken(t *testing.T) {
	tt := newTexts()
	tt.header(&livekit.DataStream_Header{StreamId: "1", Topic: topicChat, InlineContent: []byte("short"),
		ContentHeader: &livekit.DataStream_Header_TextHeader{TextHeader: &livekit.DataStream_TextHeader{}}}, "ann")
	tt.want(t, "ann: short")
}

func TestBadTextsAreDroppedAndHarmNoOthers(t *testing.T) {
	half := strings.Repeat("x", MaxText/2+1)
	tests := map[string]func(*textsTaken){
		"too long":          func(tt *textsTaken) { tt.begin("b", "eve"); tt.add("b", 0, half); tt.add("b", 1, half); tt.end("b") },
		"chunk left out":    func(tt *textsTaken) { tt.begin("b", "eve"); tt.add("b", 0, "x"); tt.add("b", 2, "x"); tt.end("b") },
		"chunk sent twice":  func(tt *textsTaken) { tt.begin("b", "eve"); tt.add("b", 0, "x"); tt.add("b", 0, "x"); tt.end("b") },
		"header sent twice": func(tt *textsTaken) { tt.begin("b", "eve"); tt.begin("b", "eve"); tt.add("b", 0, "x"); tt.end("b") },
		"not UTF-8":         func(tt *textsTaken) { tt.begin("b", "eve"); tt.add("b", 0, "\xff\xfe"); tt.end("b") },
		"empty":             func(tt *textsTaken) { tt.begin("b", "eve"); tt.end("b") },
		"no header":         func(tt *textsTaken) { tt.add("b", 0, "x"); tt.end("b") },
		"sender left":       func(tt *textsTaken) { tt.begin("b", "eve"); tt.add("b", 0, "x"); tt.left("eve"); tt.end("b") },
		"too slow": func(tt *textsTaken) {
			tt.begin("b", "eve")
			tt.add("b", 0, "x")
			tt.now = tt.now.Add(textTimeout + 1)
			tt.end("b")
		},
		"broken off": func(tt *textsTaken) {
			tt.begin("b", "eve")
			tt.add("b", 0, "x")
			tt.trailer(&livekit.DataStream_Trailer{StreamId: "b", Reason: "error"})
		},
		"announced too long": func(tt *textsTaken) {
			n := uint64(MaxText + 1)
			tt.header(&livekit.DataStream_Header{StreamId: "b", Topic: topicChat, TotalLength: &n,
				ContentHeader: &livekit.DataStream_Header_TextHeader{TextHeader: &livekit.DataStream_TextHeader{}}}, "eve")
			tt.add("b", 0, "x")
			tt.end("b")
		},
		"other topic": func(tt *textsTaken) {
			tt.header(&livekit.DataStream_Header{StreamId: "b", Topic: "other",
				ContentHeader: &livekit.DataStream_Header_TextHeader{TextHeader: &livekit.DataStream_TextHeader{}}}, "eve")
			tt.add("b", 0, "x")
			tt.end("b")
		},
		"bytes": func(tt *textsTaken) {
			tt.header(&livekit.DataStream_Header{StreamId: "b", Topic: topicChat,
				ContentHeader: &livekit.DataStream_Header_ByteHeader{ByteHeader: &livekit.DataStream_ByteHeader{}}}, "eve")
			tt.add("b", 0, "x")
			tt.end("b")
		},
	}
	for name, bad := range tests {
		t.Run(name, func(t *testing.T) {
			tt := newTexts()
			tt.begin("g", "ann")
			tt.add("g", 0, "go")
			bad(tt)
			tt.begin("h", "eve")
			tt.add("h", 0, "later")
			if tt.now.After(time.Unix(1000, 0)) { // time went on: the good one is late as well
				tt.end("h")
				tt.want(t, "eve: later")
				return
			}
			tt.add("g", 1, "od")
			tt.end("g")
			tt.end("h")
			tt.want(t, "ann: good", "eve: later")
		})
	}
}

func TestOneSenderCannotTakeTheRoomOfOthers(t *testing.T) {
	tt := newTexts()
	for i := range 4 * maxOpenTexts {
		tt.begin("e"+string(rune('a'+i)), "eve")
	}
	if n := len(tt.open); n != maxOpenTexts1 {
		t.Errorf("eve has %d streams open, want %d", n, maxOpenTexts1)
	}
	tt.begin("1", "ann")
	tt.add("1", 0, "hello")
	tt.end("1")
	tt.want(t, "ann: hello")
	tt.now = tt.now.Add(textTimeout + 1)
	tt.begin("2", "ann")
	if n := len(tt.open); n != 1 {
		t.Errorf("%d streams are open, want 1: the unfinished ones are too old", n)
	}
}

// FuzzTextReader feeds packets made of the input: one byte says what and to which stream.
func FuzzTextReader(f *testing.F) {
	f.Add([]byte("h1c1ahellot1"))
	f.Add([]byte("h1h2c1axc2ayt2t1t1c1"))
	f.Add([]byte{'h', 0, 'c', 0, 3, 0xff, 'i', 0, 0xff, 't', 0})
	f.Fuzz(func(t *testing.T, in []byte) {
		tt := newTexts()
		total := 0
		for len(in) >= 3 {
			op, id, arg := in[0], string(in[1:2]), in[2]
			in = in[2:]
			switch op {
			case 'h':
				tt.begin(id, "s"+string(arg%4))
			case 'i':
				tt.header(&livekit.DataStream_Header{StreamId: id, Topic: topicChat, InlineContent: in[:1],
					ContentHeader: &livekit.DataStream_Header_TextHeader{TextHeader: &livekit.DataStream_TextHeader{}}}, "s")
				total++
			case 'c':
				n := min(int(arg), len(in))
				tt.add(id, uint64(arg%3), string(in[:n]))
				total += n
			case 't':
				tt.end(id)
			case 'l':
				tt.left("s" + string(arg%4))
			}
		}
		taken := 0
		for _, g := range tt.got {
			_, text, _ := strings.Cut(g, ": ")
			taken += len(text)
		}
		if taken > total {
			t.Fatalf("took %d bytes out of %d", taken, total)
		}
		if len(tt.open) > maxOpenTexts {
			t.Fatalf("%d streams are open", len(tt.open))
		}
	})
}
