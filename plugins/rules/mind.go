package rules

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/llm/driver"
)

// endCall is the tool that a goodbye calls.
const endCall = "end_call"

// answer is what is said and called.
type answer struct {
	text  string
	calls []driver.ToolCall
}

func say(format string, args ...any) answer { return answer{text: fmt.Sprintf(format, args...)} }

// mind holds what the rules look at while they find one answer.
type mind struct {
	r   *driver.Request
	now func() time.Time
}

func (m *mind) answer() answer {
	items := m.r.Messages.Items()
	items = slices.DeleteFunc(items, func(it chat.Item) bool {
		switch it.(type) {
		case *chat.Handoff, *chat.ConfigUpdate:
			return true
		}
		return false
	})
	last := len(items) - 1
	if last < 0 {
		return m.greet()
	}
	switch it := items[last].(type) {
	case *chat.FunctionCallOutput:
		return m.tell(trailingOutputs(items))
	case *chat.Message:
		switch it.Role {
		case chat.System, chat.Developer:
			if outs := trailingOutputs(items[:last]); len(outs) > 0 && !has(scan(it.Text()), "goodbye", "good bye", "greet") {
				return m.tell(outs)
			}
			return m.follow(it.Text())
		case chat.User:
			return m.reply(it.Text())
		}
	}
	return say("Is there anything else I can do for you?")
}

func trailingOutputs(items []chat.Item) []*chat.FunctionCallOutput {
	var outs []*chat.FunctionCallOutput
	for _, it := range slices.Backward(items) {
		switch it := it.(type) {
		case *chat.FunctionCallOutput:
			outs = append(outs, it)
			continue
		case *chat.FunctionCall:
			continue
		}
		break
	}
	slices.Reverse(outs)
	return outs
}

// reply answers what the user said.
func (m *mind) reply(text string) answer {
	words := scan(text)
	if len(words) == 0 {
		return say("Sorry, I did not hear anything.")
	}
	if a, ok := m.forced(text, words); ok {
		return a
	}
	if isGoodbye(words) {
		if m.tool(endCall) != nil && m.mayCall() {
			return answer{calls: []driver.ToolCall{{Name: endCall, Arguments: "{}"}}}
		}
		return say("Goodbye! Have a nice day.")
	}
	if a, ok := m.resume(text); ok {
		return a
	}
	if m.mayCall() {
		if t := m.match(words); t != nil {
			return m.use(t, text, words)
		}
	}
	if a, ok := m.smallTalk(words); ok {
		return a
	}
	return say("I heard you say: %s. I answer by a few fixed rules, so I do not know what to say to that.", strings.TrimRight(strings.TrimSpace(text), ".!?"))
}

func isGoodbye(words []word) bool {
	if has(words, "goodbye", "good bye", "bye bye", "hang up", "end the call", "end this call", "see you later", "talk to you later", "that is all for today", "thats all for today") {
		return true
	}
	return len(words) <= 5 && has(words, "bye", "see you", "farewell", "cheerio")
}

func (m *mind) smallTalk(words []word) (answer, bool) {
	now := m.now()
	switch {
	case has(words, "what time", "the time", "current time", "time is it", "whats the time"):
		return say("It is %s.", now.Format("3:04 PM")), true
	case has(words, "what day", "what date", "the date", "todays date", "which day", "date is it"):
		return say("Today is %s.", now.Format("Monday, January 2, 2006")), true
	case has(words, "how are you", "how do you do", "how is it going", "hows it going"):
		return say("I am fine, thank you. How can I help you?"), true
	case has(words, "your name", "who are you", "who is this", "who am i talking to"):
		return say("%s I am not a language model, I answer by a few fixed rules.", m.introduction()), true
	case has(words, "what can you do", "help me", "can you help", "how can you help"):
		return m.abilities(), true
	case has(words, "say that again", "repeat that", "come again", "repeat please", "pardon", "can you repeat"):
		return m.again(), true
	}
	if a, ok := count(words); ok {
		return a, true
	}
	if a, ok := talk(words); ok {
		return a, true
	}
	switch {
	case has(words, "thank you", "thanks", "thank"):
		return say("You are welcome. Is there anything else I can do for you?"), true
	case has(words, "hello", "hi", "hey", "good morning", "good afternoon", "good evening", "hallo"):
		return m.greet(), true
	case len(words) <= 3 && has(words, "yes", "yeah", "yep", "sure", "okay", "ok"):
		return say("Good. What would you like to know?"), true
	case len(words) <= 3 && has(words, "no", "nope", "nothing", "stop"):
		return say("All right. I am here if you need me."), true
	}
	return answer{}, false
}

func (m *mind) greet() answer { return say("%s How can I help you?", m.introduction()) }

// introduction says the name that the instructions give.
func (m *mind) introduction() string {
	for msg := range m.r.Messages.Messages() {
		if msg.Role != chat.System && msg.Role != chat.Developer {
			continue
		}
		words := scan(msg.Text())
		for _, p := range []string{"your name is", "you are called", "named"} {
			if i := find(words, p); i >= 0 && i < len(words) && words[i].raw != words[i].norm {
				return "Hello, I am " + words[i].raw + "."
			}
		}
	}
	return "Hello!"
}

func (m *mind) abilities() answer {
	text := "I can tell you the time and the date, and I know a story."
	for _, t := range m.r.Tools {
		if t.Name != endCall && m.mayCall() {
			text += " I can also use " + strings.Join(parts(t.Name), " ") + "."
		}
	}
	return say("%s", text)
}

// again repeats what was said last.
func (m *mind) again() answer {
	said := ""
	for msg := range m.r.Messages.Messages() {
		if msg.Role == chat.Assistant && msg.Text() != "" {
			said = msg.Text()
		}
	}
	if said == "" {
		return say("I have not said anything yet.")
	}
	return say("I said: %s", said)
}

// follow does what instructions ask for: those of one reply, or those of the agent when there is
// nothing else to go by.
func (m *mind) follow(text string) answer {
	order := lastOrder(text)
	if order == "" {
		return m.greet()
	}
	if q := quoted(order); q != "" {
		return say("%s", sentence(q))
	}
	words := scan(order)
	switch {
	case has(words, "greet", "greeting", "say hello", "welcome", "introduce yourself"):
		return m.greet()
	case has(words, "goodbye", "good bye", "farewell", "say bye"):
		return say("Goodbye! Have a nice day.")
	case has(words, "apologize", "apologise"):
		return say("I am sorry about that.")
	case has(words, "ask") && has(words, "help", "anything else"):
		return say("Is there anything I can do for you?")
	}
	if a, ok := talk(words); ok {
		return a
	}
	if words[0].norm == "tell" && m.mayCall() && !has(words, "that") {
		if t := m.match(words); t != nil {
			return m.use(t, order, words)
		}
	}
	for _, p := range []string{"tell the user that", "tell them that", "tell the caller that", "inform the user that", "let the user know that", "say that", "tell the user", "say"} {
		if i := find(words, p); i >= 0 && i < len(words) {
			return say("%s", sentence(phrase(words[i:])))
		}
	}
	for _, p := range []string{"ask the user for", "ask the caller for", "ask for"} {
		if i := find(words, p); i >= 0 && i < len(words) {
			return say("Could you tell me %s, please?", strings.NewReplacer("their", "your", "his or her", "your").Replace(phrase(words[i:])))
		}
	}
	if a, ok := m.smallTalk(words); ok {
		return a
	}
	return m.greet()
}

// lastOrder is the last line or sentence that asks for one reply, or nothing.
func lastOrder(text string) string {
	if isOrder(text) {
		return text
	}
	lines := strings.Split(strings.TrimSpace(text), "\n")
	last := strings.TrimSpace(lines[len(lines)-1])
	if isOrder(last) {
		return last
	}
	if i := strings.LastIndex(strings.TrimRight(last, ".!? "), ". "); i >= 0 && isOrder(last[i+1:]) {
		return strings.TrimSpace(last[i+1:])
	}
	return ""
}

// isOrder tells an instruction for one reply from a description of the agent.
func isOrder(text string) bool {
	words := scan(text)
	return len(words) > 0 && len(words) < 40 && slices.Contains([]string{"greet", "say", "tell", "ask", "welcome", "introduce",
		"apologize", "apologise", "inform", "let", "count", "repeat"}, words[0].norm)
}

func quoted(text string) string {
	for _, q := range [][2]string{{`"`, `"`}, {"“", "”"}} {
		if _, rest, ok := strings.Cut(text, q[0]); ok {
			if in, _, ok := strings.Cut(rest, q[1]); ok {
				return strings.TrimSpace(in)
			}
		}
	}
	return ""
}

// phrase is the words up to the first sign between them.
func phrase(words []word) string {
	var out []string
	for _, w := range words {
		out = append(out, w.raw)
		if !w.clean {
			break
		}
	}
	return strings.Join(out, " ")
}

// sentence begins with a capital and ends with a sign.
func sentence(text string) string {
	text = strings.TrimSpace(text)
	if text == "" {
		return ""
	}
	r := []rune(text)
	r[0] = []rune(strings.ToUpper(string(r[0])))[0]
	if !strings.ContainsRune(".!?", r[len(r)-1]) {
		r = append(r, '.')
	}
	return string(r)
}
