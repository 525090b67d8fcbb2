package session

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/tts"
)

func frame(d time.Duration) audio.Frame { return audio.Silence(d, 16000, 1) }

func TestTranscriptFollowsWordTimes(t *testing.T) {
	var x transcript
	x.addText("Hello big ")
	x.addText("world.")
	x.endText()
	x.addAudio(&tts.Audio{Frame: frame(3 * time.Second), Words: []tts.Word{
		{Text: "Hello", Start: 0, End: time.Second},
		{Text: "big", Start: 2 * time.Second, End: 2200 * time.Millisecond},
		{Text: "world.", Start: 2200 * time.Millisecond, End: 3 * time.Second},
	}})
	for _, step := range []struct {
		at   time.Duration
		want string
	}{
		{0, ""}, {400 * time.Millisecond, ""}, {600 * time.Millisecond, "Hello"}, {1900 * time.Millisecond, "Hello"},
		{2150 * time.Millisecond, "Hello big"}, {2500 * time.Millisecond, "Hello big"}, {2700 * time.Millisecond, "Hello big world."},
	} {
		x.advance(step.at)
		if got := x.heard(); got != step.want {
			t.Errorf("after %v: %q, want %q", step.at, got, step.want)
		}
	}
}

func TestTranscriptFollowsPieces(t *testing.T) {
	var x transcript
	x.addText("One two three four. Five six.")
	x.endText()
	x.addAudio(&tts.Audio{Text: "One two three four.", Frame: frame(2 * time.Second)})
	x.addAudio(&tts.Audio{PieceEnd: true})
	x.addAudio(&tts.Audio{Text: "Five six.", Frame: frame(time.Second)})
	x.advance(1900 * time.Millisecond)
	if got := x.heard(); got != "One two three four." {
		t.Errorf("at 1.9 s: %q", got)
	}
	// The end of the second piece is not known yet: it is taken to have the usual rate.
	x.advance(2 * time.Second)
	if got := x.heard(); got != "One two three four." {
		t.Errorf("at the start of the second piece: %q", got)
	}
	x.endAudio()
	x.advance(3 * time.Second)
	if got := x.heard(); got != "One two three four. Five six." {
		t.Errorf("at the end: %q", got)
	}
}

func TestTranscriptWithoutTimes(t *testing.T) {
	var x transcript
	x.addText("aaaa bbbb cccc dddd")
	x.addAudio(&tts.Audio{Frame: frame(4 * time.Second)})
	x.endAudio()
	x.endText()
	x.advance(2 * time.Second)
	if got := x.heard(); got != "aaaa bbbb" {
		t.Errorf("half way: %q", got)
	}
}

func TestTranscriptHoldsBackAnUnfinishedWord(t *testing.T) {
	var x transcript
	x.addText("Good mor")
	x.advance(10 * time.Second)
	if got := x.heard(); got != "Good" {
		t.Errorf("heard %q while a word is being written", got)
	}
	x.addText("ning")
	x.endText()
	x.advance(10 * time.Second)
	if got := x.heard(); got != "Good morning" {
		t.Errorf("heard %q", got)
	}
}

// Whatever arrives in whatever order: what is heard is a prefix of the text that ends at a word, it
// only grows, and what advance returned adds up to it.
func TestTranscriptIsAGrowingPrefix(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var x transcript
		text := rapid.StringMatching(`([a-zA-Z0-9é日本。,.!?*-]{1,8}[ \n]{0,2}){0,12}`).Draw(t, "text")
		left, shown := text, ""
		var pos time.Duration
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			switch rapid.IntRange(0, 3).Draw(t, "what") {
			case 0:
				n := rapid.IntRange(0, len(left)).Draw(t, "n")
				for n < len(left) && left[n]&0xC0 == 0x80 {
					n++
				}
				x.addText(left[:n])
				left = left[n:]
			case 1:
				x.addAudio(&tts.Audio{Text: rapid.SampledFrom([]string{"", "some words"}).Draw(t, "piece"), Frame: frame(200 * time.Millisecond),
					PieceEnd: rapid.Bool().Draw(t, "end")})
			case 2:
				at := time.Duration(rapid.IntRange(0, 2000).Draw(t, "at")) * time.Millisecond
				x.addAudio(&tts.Audio{Words: []tts.Word{{Text: "word", Start: at, End: at + 100*time.Millisecond}}})
			case 3:
				pos += time.Duration(rapid.IntRange(0, 1000).Draw(t, "d")) * time.Millisecond
				shown += x.advance(pos)
			}
			if !strings.HasPrefix(text, shown) || strings.TrimSpace(shown) != x.heard() {
				t.Fatalf("shown %q, heard %q of %q", shown, x.heard(), text)
			}
		}
		x.addText(left)
		x.endText()
		shown += x.rest()
		if shown != text {
			t.Fatalf("in the end %q was shown of %q", shown, text)
		}
	})
}
