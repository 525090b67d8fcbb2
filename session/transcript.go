package session

import (
	"strings"
	"sync"
	"time"

	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/tokenize"
	"github.com/parley-go/parley/tts"
)

func newSegmentID() string { return metrics.NewID("SG_") }

// transcript knows which words of a speech were heard at a position in its audio. Text and audio
// arrive independently. They are tied by weight: the letters that were spoken. Word times of the
// TTS, or the ends of the pieces that it speaks, say how many letters lie before a point in time;
// between such points speech is taken to be even, and after the last one to have a usual rate.
type transcript struct {
	mu       sync.Mutex
	text     string
	complete bool // no more text will come
	ended    bool // no more audio will come
	audio    time.Duration
	knots    []knot
	spoken   float64 // weight of all words and pieces that audio was announced for
	piece    float64 // weight of the piece whose end is not known yet; 0 for none
	timed    bool    // the TTS gives word times

	shown  int     // bytes of text that were handed out by advance
	weight float64 // of text[:shown]
}

type knot struct {
	at     time.Duration
	weight float64
}

// usualRate is the weight spoken per second when nothing else is known: 3.83 syllables of three letters.
const usualRate = 3.83 * 3

// timingGap is how long a pause between two words may be. After that the TTS is taken to have stopped
// giving times.
const timingGap = 500 * time.Millisecond

func (t *transcript) addText(s string) {
	t.mu.Lock()
	t.text += s
	t.mu.Unlock()
}

func (t *transcript) endText() {
	t.mu.Lock()
	t.complete = true
	t.mu.Unlock()
}

func (t *transcript) addAudio(a *tts.Audio) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if a.Text != "" {
		t.endPiece(t.audio)
		t.knots = append(t.knots, knot{t.audio, t.spoken})
		t.piece = weigh(a.Text)
	}
	for _, w := range a.Words {
		t.piece, t.timed = 0, true
		t.knots = append(t.knots, knot{w.Start, t.spoken})
		t.spoken += weigh(w.Text)
		t.knots = append(t.knots, knot{max(w.Start, w.End), t.spoken})
	}
	t.audio += a.Frame.Duration()
	if a.PieceEnd {
		t.endPiece(t.audio)
	}
}

func (t *transcript) endPiece(at time.Duration) {
	if t.piece > 0 {
		t.spoken += t.piece
		t.piece = 0
		t.knots = append(t.knots, knot{at, t.spoken})
	}
}

func (t *transcript) endAudio() {
	t.mu.Lock()
	t.ended = true
	t.endPiece(t.audio)
	t.mu.Unlock()
}

// weightAt is the weight of what was spoken up to position pos.
func (t *transcript) weightAt(pos time.Duration) float64 {
	if len(t.knots) == 0 {
		if t.ended && t.complete && t.audio > 0 {
			return weigh(t.text) * pos.Seconds() / t.audio.Seconds()
		}
		return pos.Seconds() * usualRate
	}
	var before knot
	for _, k := range t.knots {
		if k.at > pos {
			share := (pos - before.at).Seconds() / (k.at - before.at).Seconds()
			return before.weight + share*(k.weight-before.weight)
		}
		before = k
	}
	since := pos - before.at
	switch left := weigh(t.text) - before.weight; {
	case !t.timed:
		return before.weight + min(since.Seconds()*usualRate, t.piece)
	case !t.ended || !t.complete: // the times do not reach as far as the audio
		return before.weight + max(since-timingGap, 0).Seconds()*usualRate
	case left > 0 && t.audio > before.at:
		return before.weight + left*since.Seconds()/(t.audio-before.at).Seconds()
	}
	return before.weight
}

// advance returns the words that were heard since the last call, when pos has been played. A word
// counts from its middle on.
func (t *transcript) advance(pos time.Duration) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if pos <= 0 {
		return ""
	}
	target := t.weightAt(pos)
	from, end := t.shown, t.shown
	var words tokenize.WordStream // which holds back a last word that may still grow
	ready := words.Push(t.text[from:])
	if t.complete {
		ready = append(ready, words.Flush()...)
	}
	for _, word := range ready {
		end += len(word)
		weight := weigh(word)
		if t.weight+weight/2 > target {
			break
		}
		t.weight += weight
		if t.weight > 0 { // marks before the first word come with it
			t.shown = end
		}
	}
	return t.text[from:t.shown]
}

// rest returns what was not handed out yet: the speech was heard to its end.
func (t *transcript) rest() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.text[t.shown:]
	t.shown = len(t.text)
	return s
}

// heard is all that was handed out.
func (t *transcript) heard() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(t.text[:t.shown])
}
