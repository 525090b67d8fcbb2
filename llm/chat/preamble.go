package chat

// Preamble splits the conversation for providers that take instructions only apart from it: the text of
// the first system or developer message, and a copy of the rest, in which every later one is a message
// of the user with its text inside of an instructions element.
func (c *Context) Preamble() (instructions string, rest *Context) {
	rest = &Context{items: make([]Item, 0, c.Len())}
	first := true
	for _, it := range c.list() {
		if !isInstructions(it) {
			rest.items = append(rest.items, it)
			continue
		}
		m := it.(*Message)
		if first {
			first, instructions = false, m.Text()
			continue
		}
		said := NewMessage(User, "<instructions>\n"+m.Text()+"\n</instructions>")
		said.Header = m.Header
		rest.items = append(rest.items, said)
	}
	return instructions, rest
}
