package tokenize

import "strings"

// Thinking removes what a model writes between <think> and </think>, which is for itself. Tags may be
// split anywhere. The zero value is ready.
type Thinking struct {
	inside bool
	held   string // could be the start of a tag
}

const thinkOpen, thinkClose = "<think>", "</think>"

// Push adds text and returns what is decided now.
func (t *Thinking) Push(text string) string {
	text = t.held + text
	t.held = ""
	var out strings.Builder
	for {
		tag := thinkOpen
		if t.inside {
			tag = thinkClose
		}
		i := strings.Index(text, tag)
		if i < 0 {
			keep := overlap(text, tag)
			t.held = text[len(text)-keep:]
			if !t.inside {
				out.WriteString(text[:len(text)-keep])
			}
			return out.String()
		}
		if !t.inside {
			out.WriteString(text[:i])
		}
		text = text[i+len(tag):]
		t.inside = !t.inside
	}
}

// Flush ends the text and returns the rest.
func (t *Thinking) Flush() string {
	rest := t.held
	if t.inside {
		rest = ""
	}
	*t = Thinking{}
	return rest
}

// overlap is how much of the end of text is a beginning of tag.
func overlap(text, tag string) int {
	for n := min(len(tag)-1, len(text)); n > 0; n-- {
		if strings.HasSuffix(text, tag[:n]) {
			return n
		}
	}
	return 0
}
