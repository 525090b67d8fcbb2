package tokenize

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestFilterMarkdown(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"Hello **world**, this is *fine* and ***good***.", "Hello world, this is fine and good."},
		{"__bold__ and _it_; snake_case stays, a__b too.", "bold and it; snake_case stays, a__b too."},
		{"2 * 3 is 6, 2*3 too, 2**3 too.", "2 * 3 is 6, 2*3 too, 23 too."},
		{"un**believ**able", "unbelievable"},
		{"# Title\n## Sub #1\n####### seven", "Title\nSub #1\n####### seven"},
		{"#hashtag and C# stay", "#hashtag and C# stay"},
		{"- one\n* two\n+ three\n  - four\n-5 degrees", "one\ntwo\nthree\n  four\n-5 degrees"},
		{"1. one\n2. two", "1. one\n2. two"},
		{"> quoted\n>> twice", " quoted\n twice"},
		{"above\n---\n***\n_ _ _\n====\nbelow", "above\n\n\n\n\nbelow"},
		{"a - b -- c", "a - b -- c"},
		{"Use `fmt.Println` or ``x``.", "Use fmt.Println or x."},
		{"```go\nx := a * b // # no\n```\ndone", "\nx := a * b // # no\n\ndone"},
		{"See [the **docs**](http://x.y/z_(w)?q=*) now.", "See the docs now."},
		{"![a cat](cat.png) [x] [y] (z) ![", "a cat [x] [y] (z) !["},
		{"[![alt](i.png)](http://x)", "alt"},
		{"[open (never\nclosed)", "[open (never\nclosed)"},
		{"It is ~~ten~~ nine, ~5 or ~~ both.", "It is  nine, ~5 or ~~ both."},
		{"| Name | Age |\n|------|:---:|\n| Bob | 5 |", " Name , Age \n\n Bob , 5 "},
		{"a | b", "a | b"},
		{"\\*not bold\\* and \\n", "*not bold* and \\n"},
		{"Wow! Really!", "Wow! Really!"},
		{"**", "**"},
		{"a*", "a"},
	} {
		if got := FilterMarkdown(c.text); got != c.want {
			t.Errorf("%q\n got %q\nwant %q", c.text, got, c.want)
		}
	}
}

func TestMarkdownHoldsBackLittle(t *testing.T) {
	var m Markdown
	if got := m.Push("Hello **bold te"); got != "Hello bold te" {
		t.Errorf("got %q", got)
	}
	if got := m.Push("xt** and [a"); got != "xt and " {
		t.Errorf("got %q", got)
	}
	if got := m.Flush(); got != "[a" {
		t.Errorf("got %q", got)
	}
}

func TestFilterEmoji(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"Hello 😀 world", "Hello world"},
		{"Great👍🏽!", "Great!"},
		{"A family 👨\u200d👩\u200d👧 and ❤️ here", "A family and here"},
		{"Flag 🇩🇪🇫🇷, 🏴\U000E0067\U000E0062\U000E007F.", "Flag , ."},
		{"Press 1️⃣ now", "Press 1 now"},
		{"😀 Hi", "Hi"},
		{"Acme™ © 5 → 6 √ ½ №", "Acme™ © 5 → 6 √ ½ №"},
		{"क्\u200dष", "क्\u200dष"},
		{"你好😀。", "你好。"},
	} {
		if got := FilterEmoji(c.text); got != c.want {
			t.Errorf("%q\n got %q\nwant %q", c.text, got, c.want)
		}
	}
}

func TestReplacer(t *testing.T) {
	table := map[string]string{"API": "A P I", "API key": "secret", "a": "b", "b": "c", "": "x", "straße": "street"}
	for _, c := range []struct {
		text, want string
		sensitive  bool
	}{
		{"The API key and the API.", "The secret bnd the A P I.", true},
		{"the api KEY, ApI ke", "the secret, A P I ke", false},
		{"ab", "bc", true},
		{"Straße STRAßE", "street street", false},
		{"Straße", "Strbße", true},
		{"", "", true},
	} {
		if got := apply(NewReplacer(table, c.sensitive), c.text); got != c.want {
			t.Errorf("%q: got %q, want %q", c.text, got, c.want)
		}
	}
}

func TestReplacerHoldsBackOnlyAStartOfAKey(t *testing.T) {
	r := NewReplacer(map[string]string{"hello world": "hi"}, false)
	for _, c := range []struct{ push, want string }{{"say hel", "say "}, {"p hello ", "help "}, {"wor", ""}, {"ld!", "hi!"}} {
		if got := r.Push(c.push); got != c.want {
			t.Errorf("%q: got %q, want %q", c.push, got, c.want)
		}
	}
	if got := r.Push("hello") + r.Flush(); got != "hello" {
		t.Errorf("got %q", got)
	}
}

func TestChainPassesTheRestOn(t *testing.T) {
	f := Chain(new(Markdown), new(Emoji), NewReplacer(map[string]string{"cat": "dog"}, false))
	for range 2 {
		if got := apply(f, "**A cat** 😀 and a ca"); got != "A dog and a ca" {
			t.Errorf("got %q", got)
		}
	}
}

// TestC125FiltersDoNotDependOnChunks: text deltas split anywhere give the same as unsplit.
func TestC125FiltersDoNotDependOnChunks(t *testing.T) {
	filters := map[string]func() Filter{
		"markdown": func() Filter { return new(Markdown) },
		"emoji":    func() Filter { return new(Emoji) },
		"replace":  Replace(map[string]string{"hello": "hi", "helloWorld": "hey", "the John": "x", "你": "ni", "**": "star"}),
		"chain":    func() Filter { return Chain(StripMarkdown(), StripEmoji()) },
	}
	for name, make := range filters {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				text, chunks := pieces(t)
				want := apply(make(), text)
				f := make()
				var got strings.Builder
				for _, c := range chunks {
					got.WriteString(f.Push(c))
				}
				got.WriteString(f.Flush())
				if got.String() != want {
					t.Fatalf("in chunks %q\n got %q\nwant %q", chunks, got.String(), want)
				}
			})
		})
	}
}

func FuzzFilters(f *testing.F) {
	f.Add("# A **b** [c](d) ~~e~~\n```\nx\n```\n| a | b |\n|---|---|", uint8(2))
	f.Add("👨\u200d👩 \xff*", uint8(0))
	f.Fuzz(func(t *testing.T, text string, n uint8) {
		for _, pair := range [][2]Filter{{new(Markdown), new(Markdown)}, {new(Emoji), new(Emoji)}} {
			want := apply(pair[0], text)
			got := ""
			for rest := text; rest != ""; {
				k := min(int(n)%7+1, len(rest))
				got += pair[1].Push(rest[:k])
				rest = rest[k:]
			}
			if got += pair[1].Flush(); got != want {
				t.Fatalf("%T: got %q, want %q", pair[1], got, want)
			}
			if len([]rune(got)) > len([]rune(text)) {
				t.Fatalf("%T: %q grew to %q", pair[1], text, got)
			}
		}
	})
}

func BenchmarkFilters(b *testing.B) {
	f := Chain(new(Markdown), new(Emoji))
	text := strings.Repeat("Well, **Dr. Smith** said [it](http://x.y/z) costs $3.50 😀 today. ", 10)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		for i := 0; i < len(text); i += 5 {
			f.Push(text[i:min(i+5, len(text))])
		}
		f.Flush()
	}
}
