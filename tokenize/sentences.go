package tokenize

import (
	"strings"
	"unicode"
)

// SentenceOptions tune a sentence tokenizer; the zero value and nil mean the defaults. Lengths
// are in characters (Unicode code points) and do not count markup tags unless stated.
type SentenceOptions struct {
	// MinLen is the shortest piece: default 20, -1 for none. Shorter sentences are joined with the
	// next one; only the last piece of a text may be shorter.
	MinLen int
	// ContextLen is how many characters after a possible end may be awaited to judge it: default
	// 10. Clear cases need one or two.
	ContextLen int
	// MaxLen is the longest piece, white space and markup included: default 1000, or 200 with
	// FirstClause. Longer sentences are cut at a comma or a space. A single tag may exceed it.
	MaxLen int
	// RetainFormat keeps white space as it came, so that the pieces joined are the text again.
	// Without it a piece has single spaces and none around it.
	RetainFormat bool
	// FirstClause lets the first piece end early, for early audio: at a comma, semicolon, colon,
	// dash or sentence end once it has 4 words or MinLen characters, and at any space past 80.
	FirstClause bool
}

const (
	earlyWords = 4  // words after which the first piece may end at a clause
	earlySpace = 80 // characters after which it may end at any space
)

// Sentences cuts text into sentences while it is written. It knows abbreviations, initials,
// decimals, addresses, ellipses, quotes, list numbers, line breaks, CJK marks and markup tags:
// a tag is never cut and a lone tag stays with the text after it.
type Sentences struct {
	o        SentenceOptions
	feed     runeFeed
	buf      []rune // from the start of the piece
	pos      int    // buf up to here was judged
	sentence int    // where the current sentence starts in buf; a piece may hold several
	early    bool   // this piece may end early
}

// NewSentences returns a sentence tokenizer; o may be nil.
func NewSentences(o *SentenceOptions) *Sentences {
	s := &Sentences{}
	if o != nil {
		s.o = *o
	}
	if s.o.MinLen == 0 {
		s.o.MinLen = 20
	}
	if s.o.ContextLen <= 0 {
		s.o.ContextLen = 10
	}
	if s.o.MaxLen <= 0 {
		s.o.MaxLen = 1000
		if s.o.FirstClause {
			s.o.MaxLen = 200
		}
	}
	s.early = s.o.FirstClause
	return s
}

// Push adds text and returns the pieces that are complete now, if any.
func (s *Sentences) Push(text string) []string {
	s.buf = s.feed.add(s.buf, text)
	return s.scan(nil, false)
}

// Flush ends the text and returns the rest of its pieces. The next Push starts a new text.
func (s *Sentences) Flush() []string {
	s.buf = s.feed.drain(s.buf, true)
	out := s.scan(nil, true)
	out = s.emit(out, len(s.buf))
	*s = Sentences{o: s.o, early: s.o.FirstClause}
	return out
}

// scan judges the text up to where more is needed and appends complete pieces to out.
func (s *Sentences) scan(out []string, final bool) []string {
	for {
		s.skipSpace()
		if s.pos >= len(s.buf) {
			return out
		}
		if s.pos >= s.o.MaxLen {
			out = s.emit(out, s.forcedCut())
			continue
		}
		end, more := tagEnd(s.buf, s.pos, final)
		if more {
			return out
		}
		if end > 0 {
			s.pos = end
			continue
		}
		v, end := s.boundary(final)
		switch {
		case v == wait:
			return out
		case v != noCut && s.enough(end):
			out = s.emit(out, end)
		default:
			s.pos = max(end, s.pos+1)
			if v == cut {
				s.sentence = end
			}
		}
	}
}

// skipSpace drops the space in front of a piece unless it is to be kept.
func (s *Sentences) skipSpace() {
	if s.pos > 0 || s.o.RetainFormat {
		return
	}
	for len(s.buf) > 0 && unicode.IsSpace(s.buf[0]) {
		s.buf = s.buf[1:]
	}
}

// enough reports whether buf[:end] is long enough to be a piece.
func (s *Sentences) enough(end int) bool {
	n := visibleLen(s.buf[:end])
	if n == 0 {
		return false
	}
	return n >= s.o.MinLen || s.early && CountWords(string(s.buf[:end])) >= earlyWords
}

// forcedCut finds the best place to cut a piece that is too long: after the last clause, else at
// the last space, else at the limit. It never cuts a tag that was recognised.
func (s *Sentences) forcedCut() int {
	limit := s.o.MaxLen
	best, space := 0, 0
	for i := 0; i < limit; i++ {
		if end, _ := tagEnd(s.buf[:s.pos], i, true); end > 0 {
			if end > limit && i > 0 {
				limit = i
			} else if end > limit {
				limit = end
			}
			i = end - 1
			continue
		}
		if i+1 >= len(s.buf) || !unicode.IsSpace(s.buf[i+1]) {
			continue
		}
		if strings.ContainsRune(",;:.!?—–", s.buf[i]) && i >= s.o.MinLen {
			best = i + 1
		}
		if !unicode.IsSpace(s.buf[i]) {
			space = i + 1
		}
	}
	if best > 0 {
		return best
	}
	if space > 0 {
		return space
	}
	return limit
}

// emit appends the piece buf[:end] to out and starts the next one.
func (s *Sentences) emit(out []string, end int) []string {
	piece := string(s.buf[:end])
	s.buf, s.pos, s.sentence = s.buf[end:], 0, 0
	if !s.o.RetainFormat {
		piece = strings.Join(strings.Fields(piece), " ")
	}
	if piece == "" {
		return out
	}
	s.early = false
	return append(out, piece)
}
