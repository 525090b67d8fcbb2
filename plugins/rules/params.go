package rules

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"unicode"

	"github.com/parley-go/parley/llm/driver"
)

// param is a parameter of a tool, as far as the rules can fill it.
type param struct {
	name     string
	typ      string
	desc     string
	enum     []string
	required bool
}

var (
	prepositions = set("in for about at of from to on named called")
	// times are the words after which a place or a name is over.
	times = set(`today tomorrow tonight now please currently yesterday next this right again monday tuesday wednesday thursday friday
		saturday sunday morning afternoon evening weekend week later soon thanks thank and or but with on at by for is like going`)
	places = set("location city place town region country area address destination origin")
)

// params reads the properties of a schema in the order in which they stand.
func params(schema json.RawMessage) []param {
	var s struct {
		Properties json.RawMessage `json:"properties"`
		Required   []string        `json:"required"`
	}
	if json.Unmarshal(schema, &s) != nil || len(s.Properties) == 0 {
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(s.Properties))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil
	}
	var out []param
	for d.More() {
		key, err := d.Token()
		name, ok := key.(string)
		var raw json.RawMessage
		if err != nil || !ok || d.Decode(&raw) != nil {
			return out
		}
		p := param{name: name, required: slices.Contains(s.Required, name)}
		p.read(raw)
		out = append(out, p)
	}
	return out
}

func (p *param) read(raw json.RawMessage) {
	var s struct {
		Type        json.RawMessage `json:"type"`
		Description string          `json:"description"`
		Enum        []any           `json:"enum"`
	}
	if json.Unmarshal(raw, &s) != nil {
		return
	}
	p.desc = s.Description
	var types []string
	if json.Unmarshal(s.Type, &p.typ) != nil && json.Unmarshal(s.Type, &types) == nil {
		for _, t := range types {
			if t != "null" {
				p.typ = t
			}
		}
	}
	for _, e := range s.Enum {
		if text, ok := e.(string); ok {
			p.enum = append(p.enum, text)
		}
	}
}

// spoken is the parameter's name for a question.
func (p *param) spoken() string { return strings.Join(parts(p.name), " ") }

// fill finds the value of the parameter among the words.
func (p *param) fill(t *driver.ToolSpec, words []word) (any, bool) {
	switch p.typ {
	case "string":
		return p.text(t, words)
	case "integer", "number":
		n, ok := number(words)
		return n, ok
	case "boolean":
		for _, w := range parts(p.name) {
			if !dull[w] && has(words, w) {
				return !has(words, "not", "without", "no"), true
			}
		}
	case "array":
		if v, ok := p.text(t, words); ok {
			return []any{v}, true
		}
	}
	return nil, false
}

func (p *param) text(t *driver.ToolSpec, words []word) (string, bool) {
	if len(p.enum) > 0 {
		for _, e := range p.enum {
			if has(words, strings.Join(parts(e), " ")) {
				return e, true
			}
		}
		return "", false
	}
	name := p.spoken()
	if has(scan(name), "date", "day", "when", "time") {
		return timePhrase(words)
	}
	if !p.required && !places[name] && name != "name" {
		return "", false // better the tool's default than a guess
	}
	if wordy[name] {
		return phraseAfter(words, "about", "for", "that"), true
	}
	preps := []string{"in", "for", "about", "at", "of", "to", "from", "on"}
	switch {
	case strings.Contains(name, "origin") || strings.Contains(name, "from"):
		preps = []string{"from"}
	case strings.Contains(name, "destination"):
		preps = []string{"to", "for", "in"}
	case strings.Contains(name, "name"):
		for _, s := range []string{"my name is", "name is", "i am", "im", "this is"} {
			if i := find(words, s); i >= 0 && i < len(words) {
				return p.value(words[i:])
			}
		}
	}
	for _, prep := range preps {
		for i := len(words) - 2; i >= 0; i-- { // the last one is the most specific
			if words[i].norm == prep && words[i].clean {
				if v, ok := p.value(words[i+1:]); ok {
					return v, true
				}
			}
		}
	}
	return p.leftover(t, words)
}

// value takes the words up to the next one that begins something else.
func (p *param) value(words []word) (string, bool) {
	var out []string
	for i, w := range words {
		if i == 0 && (w.norm == "the" || w.norm == "a") {
			continue
		}
		if times[w.norm] || (prepositions[w.norm] && w.norm != "of") {
			break
		}
		out = append(out, owner(w.raw))
		if !w.clean {
			break
		}
	}
	v := strings.Join(out, " ")
	if v == "" || set("me you it that this us them myself")[strings.ToLower(v)] {
		return "", false
	}
	if places[p.spoken()] || p.spoken() == "name" {
		v = titled(v)
	}
	return v, true
}

// owner is a name without the 's of possession.
func owner(w string) string { return strings.TrimSuffix(strings.TrimSuffix(w, "'s"), "’s") }

// leftover takes proper names that are in no other use, as in "Paris weather, please".
func (p *param) leftover(t *driver.ToolSpec, words []word) (string, bool) {
	known := slices.Concat(parts(t.Name), parts(t.Description))
	var out []string
	for _, w := range words {
		free := !dull[w.norm] && !times[w.norm] && !prepositions[w.norm] && !casual[w.norm] && unicode.IsUpper([]rune(w.raw)[0]) &&
			!slices.ContainsFunc(known, func(k string) bool { return alike(k, w.norm) })
		if free {
			out = append(out, owner(w.raw))
		} else if len(out) > 0 {
			break
		}
	}
	return strings.Join(out, " "), len(out) > 0
}

var casual = set("hello hi hey okay ok well oh um uh so thanks yes no im id ill whats hows is are show check")

// wordy are parameters that take whatever was said.
var wordy = set("query question text message request note content input summary reason topic")

// phraseAfter is what follows the first of the words, or all of it.
func phraseAfter(words []word, after ...string) string {
	for _, a := range after {
		if i := find(words, a); i >= 0 && i < len(words) {
			return phrase(words[i:])
		}
	}
	var all []string
	for _, w := range words {
		all = append(all, w.raw)
	}
	return strings.Join(all, " ")
}

// anything is the value when a call is insisted on.
func (p *param) anything(text string) any {
	switch p.typ {
	case "integer", "number":
		return 0
	case "boolean":
		return true
	case "array":
		return []any{}
	case "object":
		return map[string]any{}
	}
	if len(p.enum) > 0 {
		return p.enum[0]
	}
	return strings.TrimSpace(text)
}

// timePhrase finds "tomorrow", "next friday" and the like.
func timePhrase(words []word) (string, bool) {
	days := set("today tomorrow tonight yesterday monday tuesday wednesday thursday friday saturday sunday weekend week")
	for i, w := range words {
		if days[w.norm] {
			if i > 0 && (words[i-1].norm == "next" || words[i-1].norm == "this") {
				return words[i-1].norm + " " + w.norm, true
			}
			return w.norm, true
		}
	}
	return "", false
}

// titled gives words that came without capitals from a recogniser one each.
func titled(text string) string {
	if text != strings.ToLower(text) {
		return text
	}
	words := strings.Fields(text)
	for i, w := range words {
		r := []rune(w)
		r[0] = unicode.ToUpper(r[0])
		words[i] = string(r)
	}
	return strings.Join(words, " ")
}
