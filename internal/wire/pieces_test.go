package wire

import (
	"slices"
	"testing"

	"github.com/parley-go/parley/audio"
)

var speech = []int16{1, -1, 300, -32768, 32767, 12}

// marked is a WAV file with a chunk between the format and the audio.
func marked() []byte {
	file := WAV(audio.Frame{Data: speech, Rate: 8000, Channels: 1})
	mark := append([]byte("cue \x03\x00\x00\x00"), "abc\x00"...)
	return slices.Concat(file[:36], mark, file[36:])
}

func inPieces(b []byte, n int) (pcm []int16) {
	var p PCM
	for piece := range slices.Chunk(b, n) {
		pcm = append(pcm, p.Add(piece)...)
	}
	return pcm
}

func TestPCMJoinsPiecesOfAnyLength(t *testing.T) {
	for name, b := range map[string][]byte{
		"raw":            AppendPCM(nil, speech),
		"WAV":            WAV(audio.Frame{Data: speech, Rate: 8000, Channels: 1}),
		"WAV with marks": marked(),
	} {
		for n := 1; n <= len(b); n++ {
			if got := inPieces(b, n); !slices.Equal(got, speech) {
				t.Errorf("%s in pieces of %d bytes: %v, want %v", name, n, got, speech)
			}
		}
	}
}

func TestPCMKeepsAudioThatBeginsLikeAHeader(t *testing.T) {
	b := append([]byte("RIBBON"), 0, 0)
	if got := inPieces(b, 3); len(got) != 4 {
		t.Errorf("got %d samples, want 4", len(got))
	}
}

func FuzzPCM(f *testing.F) {
	f.Add(marked(), 5)
	f.Add([]byte("RIFF\xff\xff\xff\xffWAVEfmt \xff\xff\xff\xff"), 3)
	f.Fuzz(func(t *testing.T, b []byte, n int) {
		whole := inPieces(b, max(len(b), 1))
		if got := inPieces(b, max(n, 1)); !slices.Equal(got, whole) {
			t.Errorf("%d samples in pieces of %d bytes, %d as a whole", len(got), n, len(whole))
		}
	})
}
