package rules

import (
	"strings"
	"unicode"

	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/llm/driver"
)

// word is a word of a text with its place, so that what follows it can be quoted as it was said.
type word struct {
	norm  string // lower case, without apostrophes
	raw   string
	clean bool // nothing but space between it and the next word
}

// scan finds the words of a text.
func scan(text string) []word {
	var out []word
	start := -1
	end := func(i int) {
		if start >= 0 {
			raw := strings.Trim(text[start:i], "'’-")
			if raw != "" {
				out = append(out, word{norm: normal(raw), raw: raw, clean: true})
			}
			start = -1
		}
	}
	for i, r := range text {
		switch {
		case unicode.IsLetter(r) || unicode.IsDigit(r) || r == '\'' || r == '’' || r == '-':
			if start < 0 {
				start = i
			}
		default:
			end(i)
			if n := len(out); n > 0 && !unicode.IsSpace(r) {
				out[n-1].clean = false
			}
		}
	}
	end(len(text))
	return out
}

func normal(w string) string {
	return strings.ToLower(strings.Map(func(r rune) rune {
		if r == '\'' || r == '’' || r == '-' {
			return -1
		}
		return r
	}, w))
}

// parts splits an identifier: "lookup_weather", "lookupWeather" and "lookup-weather" alike.
func parts(name string) []string {
	var b strings.Builder
	var last rune
	for _, r := range name {
		if unicode.IsUpper(r) && unicode.IsLower(last) {
			b.WriteByte(' ')
		}
		if !unicode.IsLetter(r) && !unicode.IsDigit(r) {
			r = ' '
		}
		b.WriteRune(r)
		last = r
	}
	return strings.Fields(strings.ToLower(b.String()))
}

// alike reports whether two words are the same but for an ending or a slip of the recogniser.
func alike(a, b string) bool {
	if a == b || stem(a) == stem(b) {
		return true
	}
	n := min(len(a), len(b))
	if n < 5 || a[0] != b[0] {
		return false
	}
	d := distance(a, b)
	return d <= 1 || (d <= 2 && (n >= 8 || skeleton(a) == skeleton(b)))
}

func stem(w string) string {
	for _, end := range []string{"ing", "es", "s", "ed", "e"} {
		if base, ok := strings.CutSuffix(w, end); ok && len(base) >= 3 {
			return base
		}
	}
	return w
}

// skeleton keeps the consonants that are heard.
func skeleton(w string) string {
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune("aeiouyh", r) {
			return -1
		}
		return r
	}, w)
}

// distance is the number of letters to insert, delete or replace.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// has reports whether the words contain one of the phrases, word by word.
func has(words []word, phrases ...string) bool {
	for _, p := range phrases {
		if find(words, p) >= 0 {
			return true
		}
	}
	return false
}

// find is the place after the phrase, or -1.
func find(words []word, phrase string) int {
	want := strings.Fields(phrase)
	for i := 0; i+len(want) <= len(words); i++ {
		hit := true
		for j, w := range want {
			hit = hit && (words[i+j].norm == w || (len(w) > 5 && alike(words[i+j].norm, w)))
		}
		if hit {
			return i + len(want)
		}
	}
	return -1
}

// splitWords cuts a text before each space, as tokens of language models are.
func splitWords(text string) []string {
	var out []string
	for text != "" {
		i := strings.IndexByte(text[1:], ' ') + 1
		if i == 0 {
			i = len(text)
		}
		out = append(out, text[:i])
		text = text[i:]
	}
	return out
}

// tokens counts the words and signs of a text.
func tokens(text string) int64 {
	var n int64
	inWord := false
	for _, r := range text {
		letter := unicode.IsLetter(r) || unicode.IsDigit(r)
		if !unicode.IsSpace(r) && (!letter || !inWord) {
			n++
		}
		inWord = letter
	}
	return n
}

func promptTokens(r *driver.Request) int64 {
	var n int64
	for it := range r.Messages.All() {
		switch it := it.(type) {
		case *chat.Message:
			n += tokens(it.Text())
		case *chat.FunctionCall:
			n += tokens(it.Name) + tokens(it.Arguments)
		case *chat.FunctionCallOutput:
			n += tokens(it.Output)
		}
	}
	for _, t := range r.Tools {
		n += tokens(t.Name) + tokens(t.Description) + tokens(string(t.Parameters))
	}
	return n
}
