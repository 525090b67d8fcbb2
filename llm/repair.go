package llm

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	// maxDepth bounds nesting of repaired JSON.
	maxDepth = 100
	// maxEncoded bounds how often arguments may be JSON in a JSON string.
	maxEncoded = 3
)

var (
	errNoObject = errors.New("arguments are not a JSON object")
	errDeep     = errors.New("arguments are nested too deeply")
	errCut      = errors.New("arguments end in the middle of a value")

	// templateTokens are the marks of chat templates that leak into what some models write.
	templateTokens = regexp.MustCompile(`<\|[^|<>]{0,64}\|>|<｜[^｜<>]{0,64}｜>|</?(?:tool_call|tool_calls|function_call|function|tool|s)(?:=[\w.-]{0,64})?>|\[/?(?:TOOL_CALLS|TOOL_CALL|INST|TOOL_REQUEST|END_TOOL_REQUEST)\]|` + "```(?:json)?")
)

// parseArgs reads the arguments a model wrote. Numbers stay json.Number.
func parseArgs(args string) (map[string]any, error) {
	for range maxEncoded {
		v, err := parseLoose(args)
		if err != nil {
			return nil, err
		}
		switch v := v.(type) {
		case map[string]any:
			return v, nil
		case nil:
			return map[string]any{}, nil
		case string:
			args = v
		default:
			return nil, fmt.Errorf("%w but of type %s", errNoObject, typeOf(v))
		}
	}
	return nil, errNoObject
}

func parseLoose(text string) (any, error) {
	text = strings.TrimSpace(strings.ToValidUTF8(text, "\uFFFD"))
	if text == "" {
		return nil, nil
	}
	v, err := decodeJSON(text)
	if err == nil {
		return v, nil
	}
	text = strings.TrimSpace(templateTokens.ReplaceAllString(text, ""))
	if text == "" {
		return nil, nil
	}
	if v, err := decodeJSON(text); err == nil {
		return v, nil
	}
	return repair(text)
}

func decodeJSON(text string) (any, error) {
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("text after the value")
	}
	return v, nil
}

// repair reads an object that is nearly JSON: single or curly quotes, bare keys, missing or
// trailing commas, missing closing braces, Python's constants, comments, raw line breaks in
// strings, words around it. What was cut off in the middle of a value stays an error: half a
// phone number is worse than none.
func repair(text string) (any, error) {
	i := strings.IndexByte(text, '{')
	if i < 0 {
		return nil, errNoObject
	}
	p := &repairer{text: text, pos: i}
	v, err := p.object(0)
	if err != nil {
		return nil, err
	}
	if strings.ContainsAny(p.text[p.pos:], "{[") {
		return nil, fmt.Errorf("%w but more than one value", errNoObject)
	}
	return v, nil
}

type repairer struct {
	text string
	pos  int
}

func (p *repairer) peek() rune {
	r, _ := utf8.DecodeRuneInString(p.text[p.pos:])
	if p.pos >= len(p.text) {
		return -1
	}
	return r
}

func (p *repairer) next() rune {
	r, n := utf8.DecodeRuneInString(p.text[p.pos:])
	p.pos += n
	return r
}

// skip goes over space, comments and the given separators.
func (p *repairer) skip(separators string) {
	for p.pos < len(p.text) {
		rest := p.text[p.pos:]
		switch r := p.peek(); {
		case unicode.IsSpace(r) || strings.ContainsRune(separators, r):
			p.next()
		case strings.HasPrefix(rest, "//"):
			p.pos += lengthTo(rest, "\n")
		case strings.HasPrefix(rest, "/*"):
			p.pos += lengthTo(rest, "*/")
		default:
			return
		}
	}
}

func lengthTo(s, end string) int {
	if i := strings.Index(s, end); i >= 0 {
		return i + len(end)
	}
	return len(s)
}

func (p *repairer) object(depth int) (map[string]any, error) {
	if depth > maxDepth {
		return nil, errDeep
	}
	p.next()
	out := map[string]any{}
	for {
		p.skip(",;")
		switch r := p.peek(); r {
		case -1:
			return out, nil
		case '}':
			p.next()
			return out, nil
		case ']', '[', '{':
			return nil, fmt.Errorf("arguments have %q where a key belongs", r)
		}
		key, err := p.key()
		if err != nil {
			return nil, err
		}
		p.skip("")
		if p.peek() != ':' && p.peek() != '=' {
			return nil, fmt.Errorf("arguments have no value for %q", key)
		}
		p.next()
		v, ok, err := p.value(depth + 1)
		if err != nil {
			return nil, err
		}
		if ok {
			out[key] = v
		}
	}
}

func (p *repairer) key() (string, error) {
	if q := closing(p.peek()); q != 0 {
		return p.quoted(q, true)
	}
	start := p.pos
	for p.pos < len(p.text) && !strings.ContainsRune(":=,{}[] \t\r\n", p.peek()) {
		p.next()
	}
	if start == p.pos {
		return "", fmt.Errorf("arguments have %q where a key belongs", p.peek())
	}
	return p.text[start:p.pos], nil
}

// value reads a value; ok is false if there is none.
func (p *repairer) value(depth int) (v any, ok bool, err error) {
	p.skip("")
	r := p.peek()
	switch {
	case r == -1:
		return nil, false, errCut
	case r == ',' || r == '}' || r == ']':
		return nil, false, nil
	case r == '{':
		v, err = p.object(depth)
		return v, true, err
	case r == '[':
		v, err = p.array(depth)
		return v, true, err
	case closing(r) != 0:
		v, err = p.quoted(closing(r), false)
		return v, true, err
	}
	start := p.pos
	for p.pos < len(p.text) && !strings.ContainsRune(",}]\n", p.peek()) {
		p.next()
	}
	if p.pos == len(p.text) {
		return nil, false, errCut
	}
	return bare(strings.TrimSpace(p.text[start:p.pos])), true, nil
}

func (p *repairer) array(depth int) ([]any, error) {
	if depth > maxDepth {
		return nil, errDeep
	}
	p.next()
	out := []any{}
	for {
		p.skip(",")
		switch p.peek() {
		case -1:
			return nil, errCut
		case '}':
			return out, nil
		case ']':
			p.next()
			return out, nil
		}
		v, ok, err := p.value(depth + 1)
		if err != nil {
			return nil, err
		}
		if ok {
			out = append(out, v)
		}
	}
}

// bare reads a word without quotes: a number, a constant of JSON, JavaScript or Python, or text.
func bare(word string) any {
	switch word {
	case "true", "True", "TRUE":
		return true
	case "false", "False", "FALSE":
		return false
	case "null", "None", "nil", "undefined", "NaN", "":
		return nil
	}
	if v, err := decodeJSON(word); err == nil {
		return v
	}
	return word
}

// closing is the quote that ends a string begun with r, or 0.
func closing(r rune) rune {
	switch r {
	case '"', '\'', '`':
		return r
	case '“', '”':
		return '”'
	case '‘', '’':
		return '’'
	}
	return 0
}

// quoted reads a string. A quote inside that is not escaped ends it only if what follows can
// follow a string.
func (p *repairer) quoted(end rune, key bool) (string, error) {
	p.next()
	var b strings.Builder
	for p.pos < len(p.text) {
		r := p.next()
		switch {
		case r == '\\':
			p.escape(&b)
		case r == end && p.endsHere(key):
			return b.String(), nil
		default:
			b.WriteRune(r)
		}
	}
	return "", errCut
}

func (p *repairer) endsHere(key bool) bool {
	rest := strings.TrimLeftFunc(p.text[p.pos:], unicode.IsSpace)
	if rest == "" {
		return true
	}
	if key {
		return rest[0] == ':' || rest[0] == '='
	}
	switch rest[0] {
	case '}', ']', ',':
		return true
	case '/':
		return strings.HasPrefix(rest, "//") || strings.HasPrefix(rest, "/*")
	}
	// A missing comma: the next key begins on a line of its own.
	r, _ := utf8.DecodeRuneInString(rest)
	return closing(r) != 0 && strings.Contains(p.text[p.pos:len(p.text)-len(rest)], "\n")
}

func (p *repairer) escape(b *strings.Builder) {
	if p.pos >= len(p.text) {
		return
	}
	switch r := p.next(); r {
	case 'n':
		b.WriteByte('\n')
	case 't':
		b.WriteByte('\t')
	case 'r':
		b.WriteByte('\r')
	case 'b', 'f':
		b.WriteByte(' ')
	case 'u':
		if len(p.text)-p.pos >= 4 {
			if n, err := strconv.ParseUint(p.text[p.pos:p.pos+4], 16, 16); err == nil {
				b.WriteRune(rune(n)) // a half surrogate becomes U+FFFD
				p.pos += 4
				return
			}
		}
		b.WriteByte('u')
	default:
		b.WriteRune(r)
	}
}
