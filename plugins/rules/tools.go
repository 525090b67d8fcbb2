package rules

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/llm/driver"
)

// What a word of the user is worth when it comes up in a tool. A tool is used from minScore on.
const (
	nameScore  = 3.0
	descScore  = 1.5
	paramScore = 1.0
	minScore   = 2.5
)

// dull words say nothing about what a tool is for.
var dull = set(`a an the and or of for to in on at by with from about into is are was be do does did can could would should will
	i me my you your it its he she we they them this that these those what which who whose whom where when why how
	get set look lookup find fetch make do run call tool function use used using call called calls user users caller names name named ask asks asked wants want
	need needs give given tell say please like know let if any some one no not yes there here all out up so just also right now
	information info data value result string number list return returns current currently given whenever`)

func set(words string) map[string]bool {
	m := map[string]bool{}
	for w := range strings.FieldsSeq(words) {
		m[w] = true
	}
	return m
}

func (m *mind) mayCall() bool { return m.r.ToolChoice.Mode != driver.ToolNone }

func (m *mind) tool(name string) *driver.ToolSpec {
	for i, t := range m.r.Tools {
		if t.Name == name {
			return &m.r.Tools[i]
		}
	}
	return nil
}

// match finds the tool that the words are about.
func (m *mind) match(words []word) *driver.ToolSpec {
	var best *driver.ToolSpec
	bestScore := minScore
	for i := range m.r.Tools {
		t := &m.r.Tools[i]
		if t.Name == endCall { // only a goodbye ends the call
			continue
		}
		if s := score(t, words); s > bestScore || (s == bestScore && best == nil) {
			best, bestScore = t, s
		}
	}
	return best
}

func score(t *driver.ToolSpec, words []word) float64 {
	worth := map[string]float64{}
	put := func(list []string, n float64) {
		for _, w := range list {
			if !dull[w] && len(w) > 2 {
				worth[w] = max(worth[w], n)
			}
		}
	}
	for _, p := range params(t.Parameters) {
		put(parts(p.name), paramScore)
	}
	put(parts(t.Description), descScore)
	put(parts(t.Name), nameScore)
	total := 0.0
	for _, known := range slices.Sorted(maps.Keys(worth)) {
		if slices.ContainsFunc(words, func(w word) bool { return !dull[w.norm] && alike(w.norm, known) }) {
			total += worth[known]
		}
	}
	return total
}

// forced calls the tool that the request insists on.
func (m *mind) forced(text string, words []word) (answer, bool) {
	switch m.r.ToolChoice.Mode {
	case driver.ToolFunction:
		if t := m.tool(m.r.ToolChoice.Function); t != nil {
			return m.call(t, text, words), true
		}
	case driver.ToolRequired:
		if t := m.match(words); t != nil {
			return m.call(t, text, words), true
		}
		if len(m.r.Tools) > 0 {
			return m.call(&m.r.Tools[0], text, words), true
		}
	}
	return answer{}, false
}

// use calls a tool, or asks for what is missing to call it.
func (m *mind) use(t *driver.ToolSpec, text string, words []word) answer {
	for _, p := range params(t.Parameters) {
		if _, ok := p.fill(t, words); !ok && p.required {
			return say("%s%s, please?", askFor, p.spoken())
		}
	}
	return m.call(t, text, words)
}

// askFor begins the question for a missing argument; resume knows it again.
const askFor = "Could you tell me the "

// resume takes what the user said as the answer to our question for an argument.
func (m *mind) resume(text string) (answer, bool) {
	var user, assistant string
	msgs := slices.Collect(m.r.Messages.Messages())
	for _, msg := range msgs[:max(len(msgs)-1, 0)] {
		switch msg.Role {
		case chat.User:
			user, assistant = msg.Text(), ""
		case chat.Assistant:
			assistant = msg.Text()
		}
	}
	if !strings.HasPrefix(assistant, askFor) || !m.mayCall() {
		return answer{}, false
	}
	t := m.match(scan(user))
	if t == nil || len(scan(text)) > 8 {
		return answer{}, false
	}
	words := scan(text)
	for _, opening := range []string{"it is", "its", "i mean", "i meant", "my name is", "i am", "im", "i live in"} {
		if i := find(words, opening); i == len(strings.Fields(opening)) && i < len(words) {
			words = words[i:]
		}
	}
	if len(words) == 0 || (len(words) == 1 && set("in for about at from of")[words[0].norm]) {
		return answer{}, false
	}
	if !prepositions[words[0].norm] {
		words = append([]word{{norm: "for", raw: "for", clean: true}}, words...)
	}
	words = append(scan(user), words...)
	return m.call(t, text, words), true
}

// call fills the arguments as well as it can.
func (m *mind) call(t *driver.ToolSpec, text string, words []word) answer {
	args := map[string]any{}
	for _, p := range params(t.Parameters) {
		v, ok := p.fill(t, words)
		if !ok && p.required {
			v, ok = p.anything(text), true
		}
		if ok {
			args[p.name] = v
		}
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(args); err != nil {
		return say("Sorry, I do not know how to use %s.", t.Name)
	}
	return answer{calls: []driver.ToolCall{{Name: t.Name, Arguments: strings.TrimSpace(b.String())}}}
}

// tell says what tools returned.
func (m *mind) tell(outs []*chat.FunctionCallOutput) answer {
	var said []string
	for _, o := range outs {
		text := strings.TrimSpace(o.Output)
		switch {
		case o.IsError:
			said = append(said, "Sorry, that did not work. "+sentence(text))
		case text == "" && o.Name == endCall:
			said = append(said, "Goodbye!")
		case text == "":
			said = append(said, "That is done.")
		case isOrder(text):
			said = append(said, m.follow(text).text)
		default:
			said = append(said, report(text))
		}
	}
	if len(said) == 0 {
		return say("That is done.")
	}
	return say("%s", strings.Join(said, " "))
}

// report makes a sentence of an output.
func report(text string) string {
	var v any
	if json.Unmarshal([]byte(text), &v) == nil {
		text = inWords(v)
	}
	if text != "" && strings.ContainsRune(".!?", rune(text[len(text)-1])) && strings.ToUpper(text[:1]) == text[:1] {
		return text
	}
	return sentence("Here is what I found: " + text)
}

// inWords reads JSON aloud.
func inWords(v any) string {
	switch v := v.(type) {
	case nil:
		return "nothing"
	case bool:
		if v {
			return "yes"
		}
		return "no"
	case []any:
		var all []string
		for _, e := range v {
			all = append(all, inWords(e))
		}
		return enumerate(all)
	case map[string]any:
		var all []string
		for _, k := range slices.Sorted(maps.Keys(v)) {
			all = append(all, strings.Join(parts(k), " ")+" is "+inWords(v[k]))
		}
		return enumerate(all)
	default:
		return fmt.Sprint(v)
	}
}

func enumerate(list []string) string {
	switch n := len(list); n {
	case 0:
		return "nothing"
	case 1:
		return list[0]
	default:
		return strings.Join(list[:n-1], ", ") + " and " + list[n-1]
	}
}
