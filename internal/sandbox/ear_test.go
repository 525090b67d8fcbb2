package sandbox

import (
	"testing"
	"time"

	"github.com/parley-go/parley/internal/wire"
)

func TestEarHearsAnUtteranceHoweverTheAudioIsCut(t *testing.T) {
	pcm := wire.AppendPCM(nil, EarSpeech(16000).Data)
	for _, cut := range []int{2, 641, 3200, len(pcm)} {
		e := Ear{Rate: 16000}
		var kinds []HeardKind
		var last Heard
		for at := 0; at < len(pcm); at += cut {
			for _, h := range e.Hear(pcm[at:min(at+cut, len(pcm))]) {
				kinds, last = append(kinds, h.Kind), h
			}
		}
		if len(kinds) != 6 || kinds[0] != Began || kinds[5] != Ended {
			t.Errorf("cut by %d: heard %v, want a beginning, 4 times more, and the end", cut, kinds)
		}
		if last.Transcript() != EarText || last.Start != 0 || last.End != 800*time.Millisecond || e.At() != 1600*time.Millisecond {
			t.Errorf("cut by %d: heard %q from %v to %v, at %v", cut, last.Transcript(), last.Start, last.End, e.At())
		}
		if len(e.Finish()) != 0 {
			t.Errorf("cut by %d: an utterance ended twice", cut)
		}
	}
}

func TestEarFinishesWhatIsSaid(t *testing.T) {
	e := Ear{Rate: 16000, Text: "one two three"}
	e.Hear(wire.AppendPCM(nil, EarSpeech(16000).Data[:3200])) // 0.2 s
	if h := e.Finish(); len(h) != 1 || h[0].Kind != Ended || h[0].Transcript() != "one two three" || h[0].Words[2].End != 200*time.Millisecond {
		t.Errorf("heard %+v", h)
	}
}
