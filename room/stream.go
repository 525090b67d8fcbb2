package room

import (
	"time"
	"unicode/utf8"

	"github.com/livekit/protocol/livekit"
	"github.com/livekit/protocol/utils/guid"
)

// The topics and attributes of text streams.
const (
	topicChat          = "lk.chat"
	topicTranscription = "lk.transcription"

	attrSegment    = "lk.segment_id"
	attrTrack      = "lk.transcribed_track_id"
	attrFinal      = "lk.transcription_final"
	attrAgentState = "lk.agent.state"
)

// maxChunk is the most bytes in one packet of a stream.
const maxChunk = 15_000

// packet is a data packet of ours in the form that the SDK sends. Streams go out as packets because
// the SDK's writers wait for the network after each chunk, some 200 ms, and can neither name another
// sender nor end with attributes.
type packet struct{ *livekit.DataPacket }

// ToProto implements lksdk.DataPacket.
func (p packet) ToProto() *livekit.DataPacket { return p.DataPacket }

// textStream makes the packets of one text stream.
type textStream struct {
	id     string
	sender string // identity that the text is from, "" for ourselves; LiveKit lets agents choose
	next   uint64 // index of the next chunk
}

func newTextStream(sender string) *textStream {
	return &textStream{id: guid.New("ST_"), sender: sender}
}

func (s *textStream) header(topic string, attributes map[string]string) packet {
	return s.packet(&livekit.DataPacket{Value: &livekit.DataPacket_StreamHeader{
		StreamHeader: &livekit.DataStream_Header{
			StreamId:      s.id,
			Timestamp:     time.Now().UnixMilli(),
			Topic:         topic,
			MimeType:      "text/plain",
			Attributes:    attributes,
			ContentHeader: &livekit.DataStream_Header_TextHeader{TextHeader: &livekit.DataStream_TextHeader{}},
		},
	}})
}

// chunks splits text, never inside of a character.
func (s *textStream) chunks(text string) []packet {
	var out []packet
	for len(text) > 0 {
		n := min(len(text), maxChunk)
		for n < len(text) && n > maxChunk-utf8.UTFMax && !utf8.RuneStart(text[n]) {
			n--
		}
		out = append(out, s.packet(&livekit.DataPacket{Value: &livekit.DataPacket_StreamChunk{
			StreamChunk: &livekit.DataStream_Chunk{StreamId: s.id, ChunkIndex: s.next, Content: []byte(text[:n])},
		}}))
		s.next++
		text = text[n:]
	}
	return out
}

func (s *textStream) trailer(attributes map[string]string) packet {
	return s.packet(&livekit.DataPacket{Value: &livekit.DataPacket_StreamTrailer{
		StreamTrailer: &livekit.DataStream_Trailer{StreamId: s.id, Attributes: attributes},
	}})
}

func (s *textStream) packet(p *livekit.DataPacket) packet {
	p.ParticipantIdentity = s.sender
	return packet{p}
}

// transcriptionPacket is the older form of a transcript, with the whole text of the segment.
func transcriptionPacket(identity, trackSID, segment, text string, final bool) packet {
	return packet{&livekit.DataPacket{Value: &livekit.DataPacket_Transcription{
		Transcription: &livekit.Transcription{
			TranscribedParticipantIdentity: identity,
			TrackId:                        trackSID,
			Segments:                       []*livekit.TranscriptionSegment{{Id: segment, Text: text, Final: final}},
		},
	}}}
}
