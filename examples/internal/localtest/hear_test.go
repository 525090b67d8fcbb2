package localtest

import (
	"errors"
	"io"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/plugins/flite"
	"github.com/parley-go/parley/plugins/moonshine"
)

// words are the words of a text as they sound: lower case, without punctuation and hyphens.
func words(text string) []string {
	return strings.Fields(strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.IsSpace(r) {
			return unicode.ToLower(r)
		}
		return -1
	}, text))
}

// errorsIn is the least number of words to change, add and leave out that turns one text into the
// other.
func errorsIn(got, want []string) int {
	row := make([]int, len(want)+1)
	for i := range row {
		row[i] = i
	}
	for i, g := range got {
		diagonal := row[0]
		row[0] = i + 1
		for j, w := range want {
			change := diagonal
			if g != w {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(want)]
}

func TestWordErrors(t *testing.T) {
	for _, c := range []struct {
		got, want string
		n         int
	}{
		{"", "", 0}, {"a b", "", 2}, {"", "a b", 2}, {"A, b!", "a b", 0}, {"a c", "a b", 1},
		{"a x b", "a b", 1}, {"b", "a b", 1}, {"b a", "a b", 2}, {"to-morrow", "tomorrow", 0},
	} {
		if n := errorsIn(words(c.got), words(c.want)); n != c.n {
			t.Errorf("%q for %q has %d errors, want %d", c.got, c.want, n, c.n)
		}
	}
}

// speak is the speech of flite between half seconds of silence, as a room has it.
func speak(t *testing.T, text string) audio.Frame {
	t.Helper()
	pause := audio.Silence(time.Second/2, 16000, 1).Data
	all := append([]int16(nil), pause...)
	s := flite.New(nil).Synthesize(t.Context(), text)
	defer s.Close()
	for {
		a, err := s.Next()
		if errors.Is(err, io.EOF) {
			return audio.Frame{Data: append(all, pause...), Rate: 16000, Channels: 1}
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, a.Frame.Data...)
	}
}

// TestMoonshineUnderstandsFlite keeps the word error rate of five sentences at 15 % or less.
func TestMoonshineUnderstandsFlite(t *testing.T) {
	ear := moonshine.New(nil)
	wrong, said := 0, 0
	for _, text := range []string{
		"What is the weather like in Berlin today?",
		"Please book a table for two people on Friday evening.",
		"The train to the airport leaves every twenty minutes.",
		"I would like to speak to somebody about my last bill.",
		"Thank you very much, that is all I wanted to know.",
	} {
		r, err := ear.Recognize(t.Context(), speak(t, text), nil)
		if err != nil {
			t.Fatal(err)
		}
		n := errorsIn(words(r.Text), words(text))
		t.Logf("%d errors: %q", n, r.Text)
		wrong, said = wrong+n, said+len(words(text))
	}
	if rate := float64(wrong) / float64(said); rate > 0.15 {
		t.Errorf("%d of %d words are wrong, %.0f %%", wrong, said, 100*rate)
	}
}
