package tokenize

import "strings"

// Thinking removes what a model writes between <think> and </think>, which is for itself. Tags may be
// split anywhere. The zero value is ready.
type Thinking struct {
	Tag string // default "think"

	inside bool
	held   string // could be the start of a tag
}

// Push adds text and returns what is decided now.
func (t *Thinking) Push(text string) string {
	text = t.held + text
	t.held = ""
	var out strings.Builder
	for {
		tag := t.tag()
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
	*t = Thinking{Tag: t.Tag}
	return rest
}

// tag is the one that is awaited.
func (t *Thinking) tag() string {
	name := t.Tag
	if name == "" {
		name = "think"
	}
	if t.inside {
		return "</" + name + ">"
	}
	return "<" + name + ">"
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
