package tokenize

import (
	"strings"
	"unicode"
)

// Markdown removes Markdown marks from text: headings, quotes, bullets, rules, tables, code fences
// and code marks, emphasis, struck-out text, and the addresses of links and pictures. The words
// stay, also those of code. Marks are judged by the characters beside them, so that little text is
// held back; "2 * 3" and "snake_case" stay. The zero value is ready.
type Markdown struct {
	feed   runeFeed
	buf    []rune
	before rune // the last character before buf, 0 at the start of the text
	state  lineState
	fenced bool // inside a fenced code block
	out    strings.Builder
}

// lineState says where in its line the filter is.
type lineState int

const (
	lineStart lineState = iota // only space and block marks so far
	inText
	inTable // in a line that began with a bar
	skipped // the rest of the line is dropped
)

const (
	maxLinkText = 300  // characters of a link's text; a longer one is not a link
	maxAddress  = 2000 // characters of a link's address
	maxStruck   = 300  // characters of struck-out text
	maxRule     = 200  // characters of a rule or of the line under a table's head
)

// Push adds text and returns what is decided now.
func (m *Markdown) Push(text string) string {
	m.buf = m.feed.add(m.buf, text)
	return m.scan(false)
}

// Flush ends the text and returns the rest.
func (m *Markdown) Flush() string {
	m.buf = m.feed.drain(m.buf, true)
	out := m.scan(true)
	*m = Markdown{}
	return out
}

func (m *Markdown) scan(final bool) string {
	m.out.Reset()
	for len(m.buf) > 0 && m.step(final) {
	}
	return m.out.String()
}

// step judges the start of buf; false means that more text is needed.
func (m *Markdown) step(final bool) bool {
	r := m.buf[0]
	switch {
	case r == '\n':
		m.keep(1)
		m.state = lineStart
		return true
	case m.state == skipped:
		m.drop(1)
		return true
	case m.state == lineStart:
		return m.block(final)
	case m.fenced:
		m.keep(1)
		return true
	}
	return m.inline(r, final)
}

// keep passes the first n characters on.
func (m *Markdown) keep(n int) {
	for _, r := range m.buf[:n] {
		m.out.WriteRune(r)
	}
	m.drop(n)
}

// drop removes the first n characters; those after them still know what was before.
func (m *Markdown) drop(n int) {
	m.before = m.buf[n-1]
	m.buf = m.buf[n:]
}

// run counts how often the first character repeats, up to limit; ok is false if the run may go on.
func (m *Markdown) run(limit int, final bool) (n int, ok bool) {
	for n < len(m.buf) && n < limit && m.buf[n] == m.buf[0] {
		n++
	}
	return n, n < len(m.buf) || n == limit || final
}

// at returns the character at i, 0 after the end of the text.
func (m *Markdown) at(i int) rune {
	if i < len(m.buf) {
		return m.buf[i]
	}
	return 0
}

func isBlank(r rune) bool { return r == 0 || unicode.IsSpace(r) }

// block judges a mark at the start of a line.
func (m *Markdown) block(final bool) bool {
	r := m.buf[0]
	if unicode.IsSpace(r) {
		m.keep(1)
		return true
	}
	if r == '`' || r == '~' {
		n, ok := m.run(16, final)
		if !ok {
			return false
		}
		if n >= 3 {
			m.drop(n)
			m.fenced, m.state = !m.fenced, skipped
			return true
		}
	}
	if m.fenced {
		m.state = inText
		return true
	}
	if strings.ContainsRune("-*_=|:", r) {
		isRule, ok := m.rule(final)
		if !ok {
			return false
		}
		if isRule {
			m.state = skipped
			return true
		}
	}
	switch r {
	case '#':
		return m.marker(6, final)
	case '-', '+', '*':
		return m.marker(1, final)
	case '>':
		m.drop(1)
		return true
	case '|':
		m.drop(1)
		m.state = inTable
		return true
	}
	m.state = inText
	return true
}

// marker drops a run of up to limit marks that a space follows.
func (m *Markdown) marker(limit int, final bool) bool {
	n, ok := m.run(limit, final)
	if !ok || n == len(m.buf) && !final {
		return false
	}
	m.state = inText
	if !isBlank(m.at(n)) {
		return true
	}
	m.drop(n)
	if len(m.buf) > 0 && m.buf[0] != '\n' {
		m.drop(1)
	}
	return true
}

// rule reports whether the line is only marks: a horizontal rule, an underline or the line under a
// table's head. ok is false if more text is needed.
func (m *Markdown) rule(final bool) (isRule, ok bool) {
	marks := 0
	for i, r := range m.buf {
		switch {
		case r == '\n':
			return marks >= 3, true
		case i == maxRule:
			return false, true
		case strings.ContainsRune("-*_=|:", r):
			marks++
		case r != ' ' && r != '\t' && r != '\r':
			return false, true
		}
	}
	return marks >= 3, final
}

// inline judges a mark inside a line.
func (m *Markdown) inline(r rune, final bool) bool {
	switch r {
	case '*', '_':
		return m.emphasis(final)
	case '`':
		m.drop(1)
		return true
	case '~':
		return m.struck(final)
	case '[':
		return m.link(0, final)
	case '!':
		if len(m.buf) == 1 && !final {
			return false
		}
		if m.at(1) == '[' {
			return m.link(1, final)
		}
	case '\\':
		if len(m.buf) == 1 && !final {
			return false
		}
		if next := m.at(1); next > ' ' && next < 0x7F && (unicode.IsPunct(next) || unicode.IsSymbol(next)) {
			m.drop(1)
		}
	case '|':
		if m.state == inTable {
			return m.bar(final)
		}
	}
	m.keep(1)
	return true
}

// emphasis drops a run of stars or underscores that opens or closes a phrase.
func (m *Markdown) emphasis(final bool) bool {
	r := m.buf[0]
	n, ok := m.run(16, final)
	if !ok || n == len(m.buf) && !final {
		return false
	}
	next := m.at(n)
	word := func(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }
	switch {
	case isBlank(m.before) && isBlank(next),
		word(m.before) && word(next) && (r == '_' || n == 1 && (unicode.IsDigit(m.before) || unicode.IsDigit(next))):
		m.keep(n)
	default:
		before := m.before
		m.drop(n)
		m.before = before
	}
	return true
}

// struck drops text between double tildes on one line.
func (m *Markdown) struck(final bool) bool {
	n, ok := m.run(2, final)
	if !ok {
		return false
	}
	if n < 2 {
		m.keep(n)
		return true
	}
	for i := 2; i < len(m.buf) && i < maxStruck && m.buf[i] != '\n'; i++ {
		if m.buf[i] == '~' && m.at(i+1) == '~' && i > 2 {
			m.drop(i + 2)
			return true
		}
		if m.buf[i] == '~' && i+1 == len(m.buf) && !final {
			return false
		}
		if i+1 == len(m.buf) && i+1 < maxStruck && !final {
			return false
		}
	}
	if len(m.buf) == 2 && !final {
		return false
	}
	m.keep(2)
	return true
}

// link replaces a link or picture, whose bracket is at buf[i], by its text.
func (m *Markdown) link(i int, final bool) bool {
	end, ok := m.find(i+1, ']', maxLinkText, final)
	if !ok || end > 0 && end+1 == len(m.buf) && !final {
		return false
	}
	if end == 0 || m.at(end+1) != '(' {
		m.keep(i + 1)
		return true
	}
	after, ok := m.find(end+2, ')', maxAddress, final)
	if !ok {
		return false
	}
	if after == 0 {
		m.keep(i + 1)
		return true
	}
	text := m.buf[i+1 : end]
	copy(m.buf[after+1-len(text):], text)
	m.buf = m.buf[after+1-len(text):]
	return true
}

// find returns the index of the first unnested mark from i on within limit characters and the
// line, 0 if there is none. ok is false if more text is needed.
func (m *Markdown) find(i int, mark rune, limit int, final bool) (end int, ok bool) {
	depth := 0
	for j := i; j < i+limit; j++ {
		switch r := m.at(j); {
		case j >= len(m.buf):
			return 0, final
		case r == '\n':
			return 0, true
		case r == '(' && mark == ')':
			depth++
		case r == mark && depth > 0:
			depth--
		case r == mark:
			return j, true
		}
	}
	return 0, true
}

// bar turns the bar between two cells of a table into a comma and drops the last one.
func (m *Markdown) bar(final bool) bool {
	i := 1
	for i < len(m.buf) && i < maxRule && (m.buf[i] == ' ' || m.buf[i] == '\t') {
		i++
	}
	if i == len(m.buf) && !final {
		return false
	}
	if i < len(m.buf) && m.buf[i] != '\n' && m.buf[i] != '|' && m.buf[i] != '\r' {
		m.out.WriteByte(',')
	}
	m.drop(1)
	return true
}
