package roomtest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/livekit/protocol/livekit"
	lksdk "github.com/livekit/server-sdk-go/v2"

	"github.com/parley-go/parley/agent"
	"github.com/parley-go/parley/room"
	"github.com/parley-go/parley/session"
)

func textHeader(topic, id string, attributes map[string]string) *livekit.DataPacket {
	return &livekit.DataPacket{Value: &livekit.DataPacket_StreamHeader{StreamHeader: &livekit.DataStream_Header{
		StreamId: id, Topic: topic, Attributes: attributes,
		ContentHeader: &livekit.DataStream_Header_TextHeader{TextHeader: &livekit.DataStream_TextHeader{}}}}}
}

func textChunk(id string, index uint64, text string) *livekit.DataPacket {
	return &livekit.DataPacket{Value: &livekit.DataPacket_StreamChunk{StreamChunk: &livekit.DataStream_Chunk{
		StreamId: id, ChunkIndex: index, Content: []byte(text)}}}
}

func textTrailer(id string, attributes map[string]string) *livekit.DataPacket {
	return &livekit.DataPacket{Value: &livekit.DataPacket_StreamTrailer{StreamTrailer: &livekit.DataStream_Trailer{
		StreamId: id, Attributes: attributes}}}
}

// TestPeerCannotCrashTheProcess sends the stream on which the SDK panics, to our topic and to one
// that the user of SDK() handles. When the guard fails, the test process dies.
func TestPeerCannotCrashTheProcess(t *testing.T) {
	r := joinAgent(t)
	h := newHost()
	open(t, r.With(textOnly), h)
	mine := make(chan string, 3) // one for each stream on the topic
	if err := r.SDK().RegisterTextStreamHandler("mine", func(s *lksdk.TextStreamReader, _ string) { mine <- s.ReadAll() }); err != nil {
		t.Fatal(err)
	}
	bytes := make(chan []byte, 1) // one stream on the topic
	if err := r.SDK().RegisterByteStreamHandler("bytes", func(s *lksdk.ByteStreamReader, _ string) { bytes <- s.ReadAll() }); err != nil {
		t.Fatal(err)
	}
	eve := joinUser(t, "eve", nil)
	h.expect(t, "linked eve")
	bad := map[string]string{"k": "v"}
	for _, topic := range []string{"lk.chat", "mine"} {
		sendRaw(t, eve, textHeader(topic, "a"+topic, nil), textTrailer("a"+topic, bad))
		sendRaw(t, eve, textHeader(topic, "b"+topic, nil), textChunk("b"+topic, 0, "after "+topic), textTrailer("b"+topic, bad))
	}
	sendRaw(t, eve, &livekit.DataPacket{Value: &livekit.DataPacket_StreamHeader{StreamHeader: &livekit.DataStream_Header{
		StreamId: "c", Topic: "bytes", ContentHeader: &livekit.DataStream_Header_ByteHeader{ByteHeader: &livekit.DataStream_ByteHeader{}}}}},
		textChunk("c", 0, "raw"), textTrailer("c", bad))
	h.expect(t, "text eve: after lk.chat")
	got := []string{next(t, mine), next(t, mine)}
	slices.Sort(got) // the SDK starts handlers in any order
	if want := []string{"", "after mine"}; !slices.Equal(got, want) {
		t.Errorf("the handler read %q, want %q", got, want)
	}
	if got := string(next(t, bytes)); got != "raw" {
		t.Errorf("the handler of bytes read %q", got)
	}
	eve.LocalParticipant.SendText("and later", lksdk.StreamTextOptions{Topic: "lk.chat"})
	h.expect(t, "text eve: and later")
}

func TestTextsArriveInOrder(t *testing.T) {
	r := joinAgent(t)
	h := newHost()
	open(t, r.With(textOnly), h)
	ann, err := room.Join(t.Context(), room.Options{URL: server.URL(), Token: token(t, "ann")})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ann.Leave(t.Context()) }()
	h.expect(t, "linked ann")
	const n = 200
	for i := range n {
		if err := ann.SendText(t.Context(), "lk.chat", fmt.Sprint("message ", i), "agent"); err != nil {
			t.Fatal(err)
		}
	}
	for i := range n {
		h.expect(t, fmt.Sprint("text ann: message ", i))
	}
	long := strings.Repeat("long €", room.MaxText/len("long €"))
	if err := ann.SendText(t.Context(), "lk.chat", long); err != nil {
		t.Fatal(err)
	}
	h.expect(t, "text ann: "+long)
}

func TestOnlyTheLinkedParticipantIsHeard(t *testing.T) {
	r := joinAgent(t)
	h := newHost()
	open(t, r.With(room.IOOptions{NoAudioInput: true, NoAudioOutput: true, Participant: "ann"}), h)
	bob := joinQuiet(t, "bob", nil)          // his text comes before he does
	heard := make(chan room.TextReceived, 2) // one for each text
	defer room.On(r, func(e room.TextReceived) { heard <- e })()
	bob.LocalParticipant.SendText("psst", lksdk.StreamTextOptions{Topic: "lk.chat"})
	if e := next(t, heard); e.Participant.Identity != "bob" || e.Text != "psst" {
		t.Errorf("heard %+v", e)
	}
	ann := joinUser(t, "ann", nil)
	h.expect(t, "linked ann")
	ann.LocalParticipant.SendText("hello", lksdk.StreamTextOptions{Topic: "lk.chat"})
	h.expect(t, "text ann: hello")
}

func TestTranscriptsCarrySenderAndFinal(t *testing.T) {
	r := joinAgent(t)
	h := newHost()
	io := open(t, r.With(textOnly), h)
	old := make(chan []*lksdk.TranscriptionSegment, 10) // more than the updates of the test
	cb := &lksdk.RoomCallback{ParticipantCallback: lksdk.ParticipantCallback{
		OnTranscriptionReceived: func(s []*lksdk.TranscriptionSegment, _ lksdk.Participant, _ lksdk.TrackPublication) { old <- s }}}
	ann := joinUser(t, "ann", cb)
	got := collect(t, ann, "lk.transcription")
	h.expect(t, "linked ann")
	w := io.Transcripts
	w.WriteTranscript(session.Transcript{SegmentID: "SG_u", User: true, Text: "What time is it?", Final: true})
	eventually(t, "the transcript of the user arrives", func() bool { return len(got.all()) == 1 })
	for _, text := range []string{"It is ", "noon", "."} {
		w.WriteTranscript(session.Transcript{SegmentID: "SG_a", Text: text})
	}
	w.WriteTranscript(session.Transcript{SegmentID: "SG_a", Final: true})
	eventually(t, "the transcript of the agent arrives", func() bool { return len(got.all()) == 2 })
	want := []textStream{
		{sender: "ann", text: "What time is it?", segment: "SG_u", final: "true"},
		{sender: "agent", text: "It is noon.", segment: "SG_a", final: "true"},
	}
	if all := got.all(); !slices.Equal(all, want) {
		t.Errorf("streams\n got %+v\nwant %+v", all, want)
	}
	if s := next(t, old)[0]; s.ID != "SG_u" || s.Text != "What time is it?" || !s.Final {
		t.Errorf("older packet: %+v", s)
	}
}

func TestAgentStateIsMirrored(t *testing.T) {
	r := joinAgent(t)
	states := make(chan string, 10) // more than the states of the test
	cb := &lksdk.RoomCallback{ParticipantCallback: lksdk.ParticipantCallback{
		OnAttributesChanged: func(changed map[string]string, p lksdk.Participant) {
			if s, ok := changed["lk.agent.state"]; ok && p.Identity() == "agent" {
				states <- s
			}
		}}}
	joinUser(t, "ann", cb)
	io := open(t, r.With(textOnly), newHost())
	for _, s := range []agent.State{agent.Listening, agent.Thinking} {
		io.AgentState(s)
		if got := next(t, states); got != string(s) {
			t.Errorf("state is %q, want %q", got, s)
		}
	}
}

func TestDigitsAndDataAreHeard(t *testing.T) {
	r := joinAgent(t)
	digits, data := make(chan room.DigitReceived, 1), make(chan room.DataReceived, 1) // one each
	defer room.On(r, func(e room.DigitReceived) { digits <- e })()
	defer room.On(r, func(e room.DataReceived) { data <- e })()
	ann := joinUser(t, "ann", nil)
	err := ann.LocalParticipant.PublishDataPacket(&livekit.SipDTMF{Code: 10, Digit: "*"}, lksdk.WithDataPublishReliable(true))
	if err != nil {
		t.Fatal(err)
	}
	if e := next(t, digits); e.Sender != "ann" || e.Code != 10 || e.Digit != "*" {
		t.Errorf("heard %+v", e)
	}
	if err := ann.LocalParticipant.PublishDataPacket(lksdk.UserData([]byte("x")), lksdk.WithDataPublishTopic("top"), lksdk.WithDataPublishReliable(true)); err != nil {
		t.Fatal(err)
	}
	if e := next(t, data); e.Sender != "ann" || e.Topic != "top" || string(e.Payload) != "x" {
		t.Errorf("heard %+v", e)
	}
}
