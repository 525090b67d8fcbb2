package llm

import (
	"maps"
	"slices"

	"encoding/json"

	"github.com/google/jsonschema-go/jsonschema"
)

// Duplicates says what becomes of a call of a tool while an earlier one still runs.
type Duplicates string

// What may become of a call while an earlier one runs.
const (
	AllowDuplicates   Duplicates = ""        // both run
	RejectDuplicates  Duplicates = "reject"  // the new one is not made, and the model is told so
	ConfirmDuplicates Duplicates = "confirm" // the same, unless the model calls with ConfirmDuplicate set
	ReplaceDuplicates Duplicates = "replace" // the earlier ones are cancelled, for which the tool must be Cancellable
)

// ConfirmDuplicate is the name of the boolean argument that tools with ConfirmDuplicates have besides
// their own. The function does not get it.
const ConfirmDuplicate = "lk_agents_confirm_duplicate"

// confirmable is the schema of the tool's parameters with ConfirmDuplicate.
func (t *FunctionTool) confirmable() json.RawMessage {
	s := *t.schema.Schema()
	s.Properties = maps.Clone(s.Properties)
	if s.Properties == nil {
		s.Properties = make(map[string]*jsonschema.Schema, 1)
	}
	s.Properties[ConfirmDuplicate] = &jsonschema.Schema{Type: "boolean",
		Description: "Leave it out, or set it to true if a call of this tool is still running and the user wants one more all the same."}
	if len(s.PropertyOrder) > 0 {
		s.PropertyOrder = append(slices.Clone(s.PropertyOrder), ConfirmDuplicate)
	}
	b, err := json.Marshal(&s)
	if err != nil {
		return t.Parameters
	}
	return b
}

// Confirmed takes ConfirmDuplicate out of the arguments of a call and tells whether it was true.
// Arguments of tools without ConfirmDuplicates, and those that are no object, stay as they are.
func (t *FunctionTool) Confirmed(args string) (rest string, confirmed bool) {
	if t.Duplicates != ConfirmDuplicates {
		return args, false
	}
	obj, err := parseArgs(args)
	if err != nil {
		return args, false
	}
	confirmed, _ = obj[ConfirmDuplicate].(bool)
	delete(obj, ConfirmDuplicate)
	b, err := encode(obj)
	if err != nil {
		return args, false
	}
	return string(b), confirmed
}
