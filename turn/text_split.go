package turn

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxText bounds what is looked at of a long message, in bytes from its end.
const maxText = 600

// sentence is the last sentence of a text.
type sentence struct {
	words   []string // lower case, without punctuation at their edges
	mark    string   // what it ends with: "", ".", "?", "!", ",", "..." or "-"
	styled  bool     // the recogniser writes capitals, and so punctuation
	commaIn bool     // there is a comma inside
}

// lastSentence takes the last sentence out of a text.
func lastSentence(text string) sentence {
	text = tail(text)
	text = strings.ReplaceAll(text, "’", "'")
	text = strings.ReplaceAll(text, "…", "...")
	text = strings.TrimSpace(text)
	body := strings.TrimRight(text, ".?!,;:-–— \t\n\"')")
	s := sentence{mark: mark(text[len(body):])}
	if i := lastStop(body); i >= 0 {
		s.styled = true
		body = body[i:]
	}
	s.commaIn = strings.ContainsRune(body, ',')
	if r, n := utf8.DecodeRuneInString(body); unicode.IsUpper(r) {
		next, _ := utf8.DecodeRuneInString(body[n:])
		s.styled = s.styled || r != 'I' || !(next == ' ' || next == '\'')
	}
	for w := range strings.FieldsSeq(strings.ToLower(body)) {
		if w = strings.TrimFunc(w, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }); w != "" {
			s.words = append(s.words, w)
		}
	}
	return s
}

// tail cuts a long text to its end.
func tail(text string) string {
	if len(text) <= maxText {
		return text
	}
	text = text[len(text)-maxText:]
	for text != "" && !utf8.RuneStart(text[0]) {
		text = text[1:]
	}
	return text
}

// mark is the one that a row of closing punctuation amounts to.
func mark(end string) string {
	end = strings.Trim(end, " \t\n\"')")
	switch {
	case end == "":
		return ""
	case strings.Contains(end, ".."):
		return "..."
	case strings.ContainsAny(end, "-–—"):
		return "-"
	case strings.ContainsAny(end, ",;:"):
		return ","
	case strings.Contains(end, "?"):
		return "?"
	}
	return end[:1]
}

// lastStop is where the last sentence of body begins if it is not the first, else -1.
func lastStop(body string) int {
	for i := len(body) - 2; i > 0; i-- {
		if strings.IndexByte(".?!", body[i]) >= 0 && body[i+1] == ' ' {
			return i + 2
		}
	}
	return -1
}

func (s *sentence) n() int { return len(s.words) }

// last is the i-th word from the end, from 0; "" if there is none.
func (s *sentence) last(i int) string {
	if i >= len(s.words) {
		return ""
	}
	return s.words[len(s.words)-1-i]
}

func (s *sentence) lastIs(i int, c class) bool { return classes[s.last(i)]&c != 0 }

func (s *sentence) first(i int) string {
	if i >= len(s.words) {
		return ""
	}
	return s.words[i]
}

func (s *sentence) firstIs(i int, c class) bool { return classes[s.first(i)]&c != 0 }

// count counts the words of a class.
func (s *sentence) count(c class) (n int) {
	for _, w := range s.words {
		if classes[w]&c != 0 {
			n++
		}
	}
	return n
}

// isWhole reports whether the words are one of the given utterances, as they are or behind a
// filler, "but" or a yes or no.
func (s *sentence) isWhole(of map[string]bool) bool {
	w := s.words
	for len(w) > 0 && len(w) <= 6 {
		if of[strings.Join(w, " ")] {
			return true
		}
		if w[0] != "but" && w[0] != "oh" && classes[w[0]]&(filler|affirmation) == 0 {
			return false
		}
		w = w[1:]
	}
	return false
}

// endsWith reports whether the words end with one of the given phrases of up to four words.
func (s *sentence) endsWith(of map[string]bool) bool {
	for n := 1; n <= min(4, len(s.words)); n++ {
		if of[strings.Join(s.words[len(s.words)-n:], " ")] {
			return true
		}
	}
	return false
}
