package tokenize

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

// split runs text through a tokenizer in one piece.
func split(o *SentenceOptions, text string) []string {
	s := NewSentences(o)
	return append(s.Push(text), s.Flush()...)
}

// TestSentenceTable writes the expected cuts as " | " into the text.
func TestSentenceTable(t *testing.T) {
	for _, want := range []string{
		"Hello there. | How are you today? | I am fine!",
		"hello there. | how are you? | fine",
		"I saw Dr. Smith and Mrs. Jones. | They were well.",
		"We meet Prof. Brown at 5 p.m. today. | Do not be late.",
		"We meet at 5 p.m. | Bring the papers.",
		"We meet at 9:30 a.m. Monday in the hall. | Fine.",
		"It is 5 p.m. EST right now. | Good.",
		"He lives in the U.S. Virgin Islands. | She does not.",
		"He lives in the U.S. | She does not.",
		"The U.S. economy grew. | So did others.",
		"Bring fruit, e.g. Apples or pears, i.e. Something fresh. | Thanks.",
		"Bring apples, pears, etc. and come. | Thanks.",
		"Bring apples, pears, etc. | Then we eat.",
		"Acme Inc. Holdings was sold. | The price is unknown.",
		"She works for Acme Inc. | The pay is good.",
		"J. R. R. Tolkien wrote it. | It was I. | Then he left.",
		"Choose plan B. | Then call us.",
		"Pi is 3.14159 or so. | The rest is 2.5 kg.",
		"It costs $3.50. | That is 1,000.75 in total. | Right.",
		"It is number 5. | The next is 6.",
		"See No. 5 and fig. 3 on pp. 7 and 8. | Done.",
		"I said no. | Five people left.",
		"Go to www.example.com/a.b?c=d.e! | Then mail bob@example.co.uk now. | Done.",
		"Version 1.26.8 is out. | Use it.",
		"Well... maybe not today. | Wait... | Then what?",
		"Well… maybe not today. | Wait… | Then what?",
		"\"Really?\" she asked. | \"Yes!\" | He left.",
		"He said \"Go home.\" | She did. | (It was late.) | They slept.",
		"“Is it?” he said. | ‘It is.’ | Fine.",
		"What?! | No way!!! | Yes.",
		"One line\n | Another line\nthat goes on\n\n | more",
		"This line was\nwrapped by hand.",
		"Buy:\n | - milk\n | - eggs",
		"1. Open the door. | 2. Walk in. | 3. Sit down.",
		"你好。 | 你叫什么名字？ | 我叫小明！ | 好的",
		"「元気ですか？」 | はい、元気です。 | そう",
		"I said OK. | 好的。 | Bye.",
		"नमस्ते। | आप कैसे हैं।",
		"كيف حالك؟ | أنا بخير.",
		"Say <break time=\"1.5 s. Yes\"/> it. | <emotion value=\"sad. Very\"/> Now.",
		"a < b. | Then b > a.",
		"St. Mary's is on Main St. | It is old.",
		"The vote was in Sept. 2024. | On Jan. 5 we left.",
		"She has a Ph.D. in maths. | He has none.",
	} {
		text := strings.ReplaceAll(want, " | ", " ")
		text = strings.NewReplacer("。 ", "。", "？ ", "？", "！ ", "！", "」 ", "」", "\n ", "\n").Replace(text)
		var pieces []string
		for _, p := range strings.Split(want, " | ") {
			pieces = append(pieces, strings.Join(strings.Fields(p), " "))
		}
		if got := split(&SentenceOptions{MinLen: -1}, text); !slices.Equal(got, pieces) {
			t.Errorf("%q\n got %q\nwant %q", text, got, pieces)
		}
	}
}

func TestShortSentencesJoinTheNext(t *testing.T) {
	got := split(nil, "Yes. No. Maybe so, who knows. Ok. Bye.")
	want := []string{"Yes. No. Maybe so, who knows.", "Ok. Bye."}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestLoneTagJoinsTheTextAfterIt(t *testing.T) {
	got := split(nil, "This is the first sentence. <emotion value=\"very very happy\"/> Yes. That is the second.")
	want := []string{"This is the first sentence.", "<emotion value=\"very very happy\"/> Yes. That is the second."}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestSentenceIsReadyOnceTheNextWordBegins(t *testing.T) {
	s := NewSentences(nil)
	if got := s.Push("This is the first sentence. "); len(got) != 0 {
		t.Errorf("before the next word: %q", got)
	}
	if got := s.Push("A"); !slices.Equal(got, []string{"This is the first sentence."}) {
		t.Errorf("after it: %q", got)
	}
}

func TestFirstClause(t *testing.T) {
	for _, c := range []struct {
		text string
		want []string
	}{
		{"Sure, I can do that for you, no problem. And then, of course, we will see.",
			[]string{"Sure, I can do that for you,", "no problem. And then, of course, we will see."}},
		{"Well, yes: it is so.", []string{"Well, yes: it is so."}},
		{"Unbelievably extraordinary, is it not?", []string{"Unbelievably extraordinary,", "is it not?"}},
		{"I do not know — maybe it is fine.", []string{"I do not know —", "maybe it is fine."}},
		{"I do not know - maybe it is fine.", []string{"I do not know -", "maybe it is fine."}},
		{"The well-known price of this is 1,000,000 dollars.", []string{"The well-known price of this is 1,000,000 dollars."}},
		{"It is 10:30 here now. Good.", []string{"It is 10:30 here now.", "Good."}},
		{"My name is Kelly. How can I help?", []string{"My name is Kelly.", "How can I help?"}},
		{strings.Repeat("abcdefghi ", 9) + "end", []string{strings.TrimSpace(strings.Repeat("abcdefghi ", 9)), "end"}},
		{"今天天气很好，我们去公园吧。好的", []string{"今天天气很好，", "我们去公园吧。好的"}},
	} {
		if got := split(&SentenceOptions{FirstClause: true}, c.text); !slices.Equal(got, c.want) {
			t.Errorf("%q\n got %q\nwant %q", c.text, got, c.want)
		}
	}
}

func TestFirstClauseAppliesAgainAfterFlush(t *testing.T) {
	s := NewSentences(&SentenceOptions{FirstClause: true})
	for range 2 {
		got := append(s.Push("One two three four, five six seven eight, nine."), s.Flush()...)
		if want := []string{"One two three four,", "five six seven eight, nine."}; !slices.Equal(got, want) {
			t.Fatalf("got %q, want %q", got, want)
		}
	}
}

func TestLongSentencesAreCut(t *testing.T) {
	o := &SentenceOptions{MaxLen: 40}
	for _, c := range []struct {
		text string
		want []string
	}{
		{"one two three four five six, seven eight nine ten eleven", []string{"one two three four five six,", "seven eight nine ten eleven"}},
		{"one two three four five six seven eight nine ten", []string{"one two three four five six seven eight", "nine ten"}},
		{strings.Repeat("x", 100), []string{strings.Repeat("x", 40), strings.Repeat("x", 40), strings.Repeat("x", 20)}},
		{strings.Repeat("?", 50), []string{strings.Repeat("?", 40), strings.Repeat("?", 10)}},
	} {
		if got := split(o, c.text); !slices.Equal(got, c.want) {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}

func TestEmptyText(t *testing.T) {
	for _, text := range []string{"", " ", "\n\n", "\t \n"} {
		if got := split(nil, text); len(got) != 0 {
			t.Errorf("%q: %q", text, got)
		}
	}
}

// pieces draws text that is rich in what the package decides on, and random cuts of it.
func pieces(t *rapid.T) (text string, chunks []string) {
	word := rapid.SampledFrom([]string{
		"Dr.", "Mr. ", "p.m.", "U.S.", "e.g.", "No.", "5", "3.14", "The", "the", "John ", "Inc.", ". ", "... ", "…", "? ", "!",
		"\"", "”", "(", ")", "\n", "\n\n", " ", "  ", ",", ", ", ": ", "—", " - ", "--", "你", "好", "。", "，", "」", "<b>", "<", "</x y='. '>", ">",
		"hello", "World", "1. ", "- ", "**", "*", "_", "__", "`", "```", "```go\n", "# ", "> ", "[a](b)", "[", "](", "![x](y)", "~~", "~", "|", "---", "\\*",
		"😀", "👍🏽", "👨\u200d👩\u200d👧", "❤️", "🇩🇪", "1️⃣", "é", "\xff", "\xe4\xbd", "http://a.b/c?d=e",
	})
	text = strings.Join(rapid.SliceOfN(word, 0, 60).Draw(t, "words"), "")
	rest := text
	for len(rest) > 0 {
		n := rapid.IntRange(1, min(len(rest), 12)).Draw(t, "chunk")
		chunks, rest = append(chunks, rest[:n]), rest[n:]
	}
	return text, chunks
}

func TestSentencesDoNotDependOnChunks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text, chunks := pieces(t)
		o := &SentenceOptions{
			MinLen:       rapid.SampledFrom([]int{-1, 20}).Draw(t, "min"),
			MaxLen:       rapid.SampledFrom([]int{0, 30}).Draw(t, "max"),
			RetainFormat: rapid.Bool().Draw(t, "retain"),
			FirstClause:  rapid.Bool().Draw(t, "first"),
		}
		want := split(o, text)
		s := NewSentences(o)
		var got []string
		for _, c := range chunks {
			got = append(got, s.Push(c)...)
		}
		got = append(got, s.Flush()...)
		if !slices.Equal(got, want) {
			t.Fatalf("in chunks %q\n got %q\nwant %q", chunks, got, want)
		}
		checkPieces(t, o, text, got)
	})
}

type failer interface {
	Helper()
	Fatalf(format string, args ...any)
}

// checkPieces holds what must be true of every result: no text is lost or made up, no piece is
// empty, too short or too long.
func checkPieces(t failer, o *SentenceOptions, text string, got []string) {
	t.Helper()
	text = string([]rune(text))
	if o.RetainFormat {
		if joined := strings.Join(got, ""); joined != text {
			t.Fatalf("joined %q, want %q", joined, text)
		}
	} else if a, b := strings.Join(strings.Fields(strings.Join(got, "")), ""), strings.Join(strings.Fields(text), ""); a != b {
		t.Fatalf("joined %q, want %q", a, b)
	}
	full := NewSentences(o)
	for _, p := range got {
		if p == "" {
			t.Fatalf("empty piece in %q", got)
		}
		if n := utf8.RuneCountInString(p); n > full.o.MaxLen+maxTag {
			t.Fatalf("piece of %d characters: %q", n, p)
		}
	}
}

func FuzzSentences(f *testing.F) {
	f.Add("Dr. No said... \"5 p.m.?\" Then, 你好。<b", uint8(3), true)
	f.Add("\xff\xe4\xbd", uint8(1), false)
	f.Fuzz(func(t *testing.T, text string, n uint8, early bool) {
		o := &SentenceOptions{FirstClause: early, MaxLen: 50}
		want := split(o, text)
		s := NewSentences(o)
		var got []string
		for rest := text; rest != ""; {
			k := min(int(n)%7+1, len(rest))
			got = append(got, s.Push(rest[:k])...)
			rest = rest[k:]
		}
		got = append(got, s.Flush()...)
		if !slices.Equal(got, want) {
			t.Fatalf("got %q, want %q", got, want)
		}
		checkPieces(t, o, text, got)
	})
}

func BenchmarkSentences(b *testing.B) {
	text := strings.Repeat("Well, Dr. Smith said it costs $3.50 at 5 p.m. today. Then we left, of course. ", 10)
	chunks := slices.Collect(Words(text))
	s := NewSentences(&SentenceOptions{FirstClause: true})
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		for _, c := range chunks {
			s.Push(c)
		}
		s.Flush()
	}
}
