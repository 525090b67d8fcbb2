package chat

import (
	"encoding/json"
	"fmt"
)

var all = &EncodeOptions{}

// MarshalJSON writes the message as Context.Encode does.
func (m *Message) MarshalJSON() ([]byte, error) { return json.Marshal(all.wire(m)) }

// MarshalJSON writes the call as Context.Encode does.
func (c *FunctionCall) MarshalJSON() ([]byte, error) { return json.Marshal(all.wire(c)) }

// MarshalJSON writes the output as Context.Encode does.
func (o *FunctionCallOutput) MarshalJSON() ([]byte, error) { return json.Marshal(all.wire(o)) }

// MarshalJSON writes the handoff as Context.Encode does.
func (h *Handoff) MarshalJSON() ([]byte, error) { return json.Marshal(all.wire(h)) }

// MarshalJSON writes the update as Context.Encode does.
func (u *ConfigUpdate) MarshalJSON() ([]byte, error) { return json.Marshal(all.wire(u)) }

// UnmarshalJSON reads what MarshalJSON writes.
func (m *Message) UnmarshalJSON(data []byte) error {
	var w wireMessage
	if err := decode(data, &w, &w.wireHead, m.Type()); err != nil {
		return err
	}
	switch w.Role {
	case System, Developer, User, Assistant:
	default:
		return fmt.Errorf("unknown role %q", w.Role)
	}
	*m = Message{
		Header: w.header(), Role: w.Role, Interrupted: w.Interrupted, Confidence: w.Confidence,
		Extra: orNil(w.Extra), Metrics: w.Metrics.metrics(),
	}
	for _, raw := range w.Content {
		p, err := decodePart(raw)
		if err != nil {
			return fmt.Errorf("message content: %w", err)
		}
		m.Content = append(m.Content, p)
	}
	return nil
}

// UnmarshalJSON reads what MarshalJSON writes.
func (c *FunctionCall) UnmarshalJSON(data []byte) error {
	var w wireCall
	if err := decode(data, &w, &w.wireHead, c.Type()); err != nil {
		return err
	}
	*c = FunctionCall{w.header(), w.CallID, w.Name, w.Arguments, w.GroupID, orNil(w.Extra)}
	return nil
}

// UnmarshalJSON reads what MarshalJSON writes. An output that does not say otherwise asks for a
// reply.
func (o *FunctionCallOutput) UnmarshalJSON(data []byte) error {
	var w wireOutput
	if err := decode(data, &w, &w.wireHead, o.Type()); err != nil {
		return err
	}
	*o = FunctionCallOutput{w.header(), w.CallID, w.Name, w.Output, w.IsError, w.ReplyRequired != nil && !*w.ReplyRequired}
	return nil
}

// UnmarshalJSON reads what MarshalJSON writes.
func (h *Handoff) UnmarshalJSON(data []byte) error {
	var w wireHandoff
	if err := decode(data, &w, &w.wireHead, h.Type()); err != nil {
		return err
	}
	*h = Handoff{w.header(), w.OldAgentID, w.NewAgentID}
	return nil
}

// UnmarshalJSON reads what MarshalJSON writes.
func (u *ConfigUpdate) UnmarshalJSON(data []byte) error {
	var w wireConfig
	if err := decode(data, &w, &w.wireHead, u.Type()); err != nil {
		return err
	}
	*u = ConfigUpdate{w.header(), w.Instructions, someOrNil(w.ToolsAdded), someOrNil(w.ToolsRemoved)}
	return nil
}

func decode(data []byte, wire any, head *wireHead, want string) error {
	if err := json.Unmarshal(data, wire); err != nil {
		return err
	}
	if head.Type != "" && head.Type != want {
		return fmt.Errorf("a %q is not a %q", head.Type, want)
	}
	return nil
}

func (w wireHead) header() Header { return Header{ID: w.ID, CreatedAt: w.CreatedAt.time()} }

func orNil(m map[string]any) map[string]any {
	if len(m) == 0 {
		return nil
	}
	return m
}

func someOrNil(s []string) []string {
	if len(s) == 0 {
		return nil
	}
	return s
}
