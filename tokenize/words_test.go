package tokenize

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestWords(t *testing.T) {
	for _, want := range [][]string{
		{"Hello, ", "world! ", "It's ", "well-known."},
		{"  Leading ", "space\n", "here "},
		{"(maybe) ", "\"so\" ", "... ", "ok"},
		{"Hello", "你", "好，", "世", "界。", "OK"},
		{"は", "い、", "<b>"},
		{"<emotion value=\"a b\"/> ", "Hi ", "<b>", "you", "</b> "},
		{"3.14 ", "$5 ", "a@b.c"},
	} {
		text := strings.Join(want, "")
		if got := slices.Collect(Words(text)); !slices.Equal(got, want) {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

func TestWordsCanStopEarly(t *testing.T) {
	for w := range Words("one two three") {
		if w != "one " {
			t.Fatalf("first word %q", w)
		}
		break
	}
}

func TestCountWords(t *testing.T) {
	for text, want := range map[string]int{
		"": 0, "...": 0, "one": 1, "one two, three - four": 4, "你好，world": 3, "<b x='y z'>hi</b>": 1, "it's 5 p.m.": 3,
	} {
		if got := CountWords(text); got != want {
			t.Errorf("%q: %d, want %d", text, got, want)
		}
	}
}

func TestWordStreamDoesNotDependOnChunks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text, chunks := pieces(t)
		want := slices.Collect(Words(text))
		var w WordStream
		var got []string
		for _, c := range chunks {
			got = append(got, w.Push(c)...)
		}
		got = append(got, w.Flush()...)
		if !slices.Equal(got, want) {
			t.Fatalf("in chunks %q\n got %q\nwant %q", chunks, got, want)
		}
		if joined := strings.Join(got, ""); joined != string([]rune(text)) {
			t.Fatalf("joined %q, want %q", joined, text)
		}
	})
}

func TestSyllables(t *testing.T) {
	for word, want := range map[string]int{
		"": 0, "...": 0, "<b>": 0, "a": 1, "the": 1, "hello": 2, "time": 1, "table": 2, "little": 2, "played": 1, "wanted": 2,
		"times": 1, "boxes": 2, "wishes": 2, "beautiful": 3, "information": 4, "video": 3, "radio": 3, "question": 2,
		"well-known": 2, "tomorrow, ": 3, "weather?": 2, "你": 1, "привет": 2, "café": 2, "5": 1, "hmm": 1, "Piano": 3,
	} {
		if got := Syllables(word); got != want {
			t.Errorf("%q: %d, want %d", word, got, want)
		}
	}
}

func FuzzWords(f *testing.F) {
	f.Add("Hello 你好, <b>x")
	f.Fuzz(func(t *testing.T, text string) {
		var joined strings.Builder
		for w := range Words(text) {
			if w == "" {
				t.Fatal("empty word")
			}
			if Syllables(w) < 0 || Syllables(w) > 0 != isSpoken(w) {
				t.Fatalf("%q has %d syllables", w, Syllables(w))
			}
			joined.WriteString(w)
		}
		if joined.String() != string([]rune(text)) {
			t.Fatalf("joined %q, want %q", joined.String(), text)
		}
	})
}

func TestWithoutTags(t *testing.T) {
	for text, want := range map[string]string{
		"":                               "",
		"plain":                          "plain",
		`<emotion value="sad"/>Oh</em>!`: "Oh!",
		"3 < 4 and 4 <b":                 "3 < 4 and 4 <b",
		"é<a>日</a>":                      "é日",
	} {
		if got := WithoutTags(text); got != want {
			t.Errorf("%q without tags is %q, want %q", text, got, want)
		}
	}
}
