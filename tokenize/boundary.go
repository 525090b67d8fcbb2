package tokenize

import (
	"slices"
	"strings"
	"unicode"
)

// verdict is the answer to "may the text be cut here?".
type verdict int

const (
	noCut  verdict = iota
	cut            // here a sentence ends
	clause         // here a part of a sentence ends
	wait           // more text is needed to tell
)

// boundary judges the character at s.pos. end is where to cut or to go on.
func (s *Sentences) boundary(final bool) (v verdict, end int) {
	i := s.pos
	switch r := s.buf[i]; {
	case r == '\n':
		return s.newline(i, final)
	case strings.ContainsRune(".!?…。！？｡।؟", r):
		return s.terminator(i, final)
	case s.early && strings.ContainsRune(",;:，；：—–-", r):
		return s.clauseMark(i, final)
	case s.early && i >= earlySpace && unicode.IsSpace(r):
		return clause, i
	}
	return noCut, i + 1
}

// newline judges a line break: a blank line, a list item and a new line that does not go on in
// lower case begin a sentence.
func (s *Sentences) newline(i int, final bool) (verdict, int) {
	window, whole := s.window(i+1, final)
	breaks := 1
	for _, r := range window {
		switch {
		case r == '\n':
			breaks++
		case unicode.IsSpace(r):
		case breaks == 1 && unicode.IsLower(r):
			return noCut, i + 1
		default:
			return cut, i
		}
		if breaks > 1 {
			return cut, i
		}
	}
	if !whole {
		return wait, i
	}
	return cut, i
}

// terminator judges a run of marks that end sentences, with the quotes and brackets after it.
func (s *Sentences) terminator(i int, final bool) (verdict, int) {
	end, closers := i, 0
	for ; end < len(s.buf) && end < s.o.MaxLen; end++ {
		r := s.buf[end]
		if isCloser(r) {
			closers++
		} else if closers > 0 || !strings.ContainsRune(".!?…。！？｡।؟", r) {
			break
		}
	}
	if end == len(s.buf) && !final {
		return wait, i
	}
	run := s.buf[i : end-closers]
	next := s.lookahead(end, final)
	if slices.ContainsFunc(run, func(r rune) bool { return strings.ContainsRune("。！？｡।؟", r) }) {
		return cut, end
	}
	switch {
	case next.wait:
		return wait, i
	case !next.gap && !next.end && !isCJK(next.first):
		return noCut, end // 3.14, example.com, wait...what
	case next.end || isCJK(next.first):
		return cut, end
	case unicode.IsLower(next.first) && (closers > 0 || run[len(run)-1] == '…' || len(run) > 1 && run[len(run)-1] == '.'):
		return noCut, end // "Really?" she said; well... maybe
	case len(run) == 1 && run[0] == '.':
		return s.period(i, end, next)
	}
	return cut, end
}

// period judges a single period by the words around it.
func (s *Sentences) period(i, end int, next lookahead) (verdict, int) {
	start := i
	for start > 0 && !unicode.IsSpace(s.buf[start-1]) && !isOpener(s.buf[start-1]) && s.buf[start-1] != '-' && s.buf[start-1] != '>' {
		start--
	}
	word := string(s.buf[start:i])
	isUpper, isDigit := unicode.IsUpper(next.first), unicode.IsDigit(next.first)
	class := classify(word)
	switch {
	case class == never,
		class == numeric && isDigit,
		class == unitLike && !isUpper,
		s.isListNumber(start, i):
		return noCut, end
	case class == nameLike || class == unitLike && isUpper:
		if next.word == "" && !isUpper && !isDigit && !unicode.IsLower(next.first) {
			return cut, end // neither a word nor a number: nothing to go by
		}
		if !next.wordDone {
			return wait, i
		}
		if class == nameLike && !starters[next.word] || class == unitLike && afterTime[next.word] {
			return noCut, end
		}
	}
	return cut, end
}

// isListNumber reports whether buf[start:i] is a number at the start of a sentence or line.
func (s *Sentences) isListNumber(start, i int) bool {
	if start == i || i-start > 3 {
		return false
	}
	for _, r := range s.buf[start:i] {
		if !unicode.IsDigit(r) {
			return false
		}
	}
	for start > s.sentence && s.buf[start-1] != '\n' {
		if start--; !unicode.IsSpace(s.buf[start]) {
			return false
		}
	}
	return true
}

// clauseMark judges a comma, semicolon, colon or dash.
func (s *Sentences) clauseMark(i int, final bool) (verdict, int) {
	r := s.buf[i]
	end := i + 1
	dash := strings.ContainsRune("—–-", r)
	for end < len(s.buf) && end < s.o.MaxLen && (dash && s.buf[end] == r || !dash && isCloser(s.buf[end])) {
		end++
	}
	if end == len(s.buf) {
		if final {
			return noCut, end
		}
		return wait, i
	}
	spaced := unicode.IsSpace(s.buf[end])
	switch {
	case r == '—' || strings.ContainsRune("，；：", r):
		return clause, end
	case dash && (i == 0 || end == i+1 && !unicode.IsSpace(s.buf[i-1])):
		return noCut, end // well-known, -5
	case spaced:
		return clause, end
	}
	return noCut, end // 1,000, 10:30
}

// lookahead is what follows a mark that may end a sentence.
type lookahead struct {
	wait     bool   // too little text to tell
	end      bool   // nothing that matters follows
	gap      bool   // there is white space in front
	first    rune   // of the next word
	word     string // the next word, if it is made of letters
	wordDone bool   // the whole word was seen
}

func (s *Sentences) lookahead(i int, final bool) lookahead {
	window, whole := s.window(i, final)
	var l lookahead
	j := 0
	for j < len(window) && unicode.IsSpace(window[j]) {
		l.gap = true
		j++
	}
	for l.gap && j < len(window) && isOpener(window[j]) {
		j++
	}
	if j == len(window) {
		return lookahead{end: whole, wait: !whole}
	}
	l.first = window[j]
	k := j
	for k < len(window) && (unicode.IsLetter(window[k]) || window[k] == '\'' || window[k] == '’') {
		k++
	}
	l.word = strings.ReplaceAll(string(window[j:k]), "’", "'")
	l.wordDone = k < len(window) || whole
	return l
}

// window returns the text from i on that a decision may look at, and whether it is all of it.
func (s *Sentences) window(i int, final bool) (text []rune, whole bool) {
	end := i + s.o.ContextLen
	if end <= len(s.buf) {
		return s.buf[i:end], true
	}
	return s.buf[min(i, len(s.buf)):], final
}
