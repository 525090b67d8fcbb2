package chat

import "strings"

// Group is what one side contributed in one step, in the form that providers want it: a message,
// or an answer of the model with the tools it called at once and what those returned.
type Group struct {
	Message *Message // nil if the model only called tools
	Calls   []*FunctionCall
	Outputs []*FunctionCallOutput // of Calls, in the same order
}

// Groups puts the conversation together for a provider. An assistant's message and its calls
// belong together when the calls' GroupID, or the part of their ids before "/", is that of the
// message's id. Calls without an output and outputs without a call are left out and returned as
// dropped, since providers refuse them; handoffs and changes of configuration are just left out.
func (c *Context) Groups() (groups []Group, dropped []Item) {
	outputs := map[string]*FunctionCallOutput{}
	for _, it := range c.list() {
		if o, ok := it.(*FunctionCallOutput); ok {
			outputs[o.CallID] = o
		}
	}
	place := map[string]int{} // of the group by its key
	at := func(key string) *Group {
		i, ok := place[key]
		if !ok {
			i = len(groups)
			place[key] = i
			groups = append(groups, Group{})
		}
		return &groups[i]
	}
	answered := map[*FunctionCallOutput]bool{}
	for _, it := range c.list() {
		switch it := it.(type) {
		case *Message:
			if it.Role != Assistant {
				groups = append(groups, Group{Message: it})
				continue
			}
			key := prefix(it.ID)
			if i, ok := place[key]; ok && groups[i].Message != nil {
				delete(place, key) // a second message is a group of its own
			}
			at(key).Message = it
		case *FunctionCall:
			o := outputs[it.CallID]
			if o == nil || answered[o] {
				dropped = append(dropped, it)
				continue
			}
			answered[o] = true
			key := it.GroupID
			if key == "" {
				key = prefix(it.ID)
			}
			g := at(key)
			g.Calls = append(g.Calls, it)
			g.Outputs = append(g.Outputs, o)
		case *FunctionCallOutput:
			if !answered[it] && !c.calls(it.CallID) {
				dropped = append(dropped, it)
			}
		}
	}
	return groups, dropped
}

func (c *Context) calls(id string) bool {
	for _, it := range c.list() {
		if f, ok := it.(*FunctionCall); ok && f.CallID == id {
			return true
		}
	}
	return false
}

func prefix(id string) string {
	p, _, _ := strings.Cut(id, "/")
	return p
}
