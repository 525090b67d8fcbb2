package llm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"runtime/debug"

	"github.com/google/jsonschema-go/jsonschema"

	"github.com/parley-go/parley/llm/driver"
)

// ErrStopResponse is returned by a tool that wants no reply to be generated. Hooks of package
// agent return it for the same reason.
var ErrStopResponse = errors.New("llm: no reply wanted")

// ToolError is an error whose message goes to the model word for word. Of all other errors of a
// tool the model learns only that the tool failed.
type ToolError struct{ Message string }

func (e *ToolError) Error() string { return e.Message }

// ToolErrorf returns a *ToolError with a formatted message.
func ToolErrorf(format string, args ...any) error {
	return &ToolError{Message: fmt.Sprintf(format, args...)}
}

// FunctionTool is a function that a model can call. Its fields must not be changed once it is in
// use. It is safe for concurrent use if its function is.
type FunctionTool struct {
	Name        string
	Description string
	Parameters  json.RawMessage // JSON schema of an object
	// IgnoreOnEnter hides the tool from the replies that an agent's OnEnter asks for through its
	// RunContext, and from what follows of them.
	IgnoreOnEnter bool
	// Cancellable lets the model end calls that still run, by two tools that the session adds. The
	// context of the function ends then.
	Cancellable bool
	// Duplicates says what becomes of a call while an earlier one still runs; by default both run.
	Duplicates Duplicates
	// SameArguments has only calls with the same arguments count as Duplicates of each other.
	SameArguments bool

	schema *jsonschema.Resolved
	call   func(ctx context.Context, rc any, args []byte) (any, error)
	err    error
}

// NewTool makes a tool of a function with typed arguments. RC is what the runtime hands to tools,
// normally *agent.RunContext; In is a struct whose fields are the parameters:
//
//	type weatherArgs struct {
//		Location string `json:"location" jsonschema:"the city or region asked about"`
//		Unit     string `json:"unit,omitempty" enum:"celsius,fahrenheit" default:"celsius"`
//	}
//
// A parameter is optional if its json tag has omitempty or omitzero or if it has a default tag.
// The arguments are checked before fn runs. What fn returns is for the runtime to judge: a value
// is told to the model, nil wants no reply, an agent is a handoff; so are its errors, see
// ToolError and ErrStopResponse. A type that has no JSON schema makes a tool whose Err is set.
func NewTool[RC, In, Out any](name, description string, fn func(ctx context.Context, rc RC, in In) (Out, error)) *FunctionTool {
	schema, err := schemaFor(reflect.TypeFor[In]())
	t := newTool(name, description, schema, err)
	t.call = func(ctx context.Context, rc any, args []byte) (any, error) {
		typed, err := castRunContext[RC](name, rc)
		if err != nil {
			return nil, err
		}
		var in In
		if err := json.Unmarshal(args, &in); err != nil {
			return nil, argumentError(name, err)
		}
		return fn(ctx, typed, in)
	}
	return t
}

// NewRawTool makes a tool of a function that reads its arguments itself, for schemas that are
// known only at run time. The arguments were checked against schema.
func NewRawTool[RC any](name, description string, schema json.RawMessage, fn func(ctx context.Context, rc RC, args json.RawMessage) (any, error)) *FunctionTool {
	var s *jsonschema.Schema
	err := json.Unmarshal(schema, &s)
	if err == nil && (s == nil || s.Type != "object") {
		err = errors.New(`schema must be of type "object"`)
	}
	t := newTool(name, description, s, err)
	t.Parameters = schema // as it was given
	t.call = func(ctx context.Context, rc any, args []byte) (any, error) {
		typed, err := castRunContext[RC](name, rc)
		if err != nil {
			return nil, err
		}
		return fn(ctx, typed, args)
	}
	return t
}

func newTool(name, description string, schema *jsonschema.Schema, err error) *FunctionTool {
	t := &FunctionTool{Name: name, Description: description}
	if err == nil && name == "" {
		err = errors.New("it has no name")
	}
	if err == nil {
		t.schema, err = schema.Resolve(nil)
	}
	if err == nil {
		t.Parameters, err = json.Marshal(schema)
	}
	if err != nil {
		t.err = fmt.Errorf("tool %q: %w", name, err)
	}
	return t
}

// ID is the tool's name.
func (t *FunctionTool) ID() string { return t.Name }

// Err says why the tool cannot be used, e.g. that its parameters have no JSON schema.
func (t *FunctionTool) Err() error {
	if t.err == nil && t.call == nil {
		return fmt.Errorf("tool %q was not made by NewTool or NewRawTool", t.Name)
	}
	switch t.Duplicates {
	case AllowDuplicates, RejectDuplicates, ConfirmDuplicates, ReplaceDuplicates:
	default:
		return fmt.Errorf("tool %q: unknown way %q to deal with duplicates", t.Name, t.Duplicates)
	}
	return t.err
}

// Spec is the tool as the model sees it.
func (t *FunctionTool) Spec() driver.ToolSpec {
	spec := driver.ToolSpec{Name: t.Name, Description: t.Description, Parameters: t.Parameters}
	if t.Duplicates == ConfirmDuplicates && t.schema != nil {
		spec.Parameters = t.confirmable()
	}
	return spec
}

// Call runs the function with the model's arguments, after repairing and checking them, and
// returns what it returned. rc must be of the type the function takes, or nil for its zero value.
// Arguments that do not fit are an *ArgumentError, a panic is a *PanicError.
func (t *FunctionTool) Call(ctx context.Context, rc any, args string) (out any, err error) {
	if err := t.Err(); err != nil {
		return nil, err
	}
	valid, err := t.validArgs(args)
	if err != nil {
		return nil, err
	}
	if m := mockOf(ctx, t); m != nil {
		return m.Call(ctx, rc, string(valid))
	}
	defer func() {
		if p := recover(); p != nil {
			out, err = nil, &PanicError{Value: p, Stack: debug.Stack()}
		}
	}()
	out, err = t.call(ctx, rc, valid)
	if isNilPointer(out) {
		out = nil
	}
	return out, err
}

// Canonical is the JSON of the arguments that a call with args has: repaired, checked, without
// what the tool does not know, keys sorted. Calls that mean the same have the same one.
func (t *FunctionTool) Canonical(args string) (string, error) {
	if err := t.Err(); err != nil {
		return "", err
	}
	valid, err := t.validArgs(args)
	return string(valid), err
}

func castRunContext[RC any](name string, rc any) (RC, error) {
	typed, ok := rc.(RC)
	if !ok && rc != nil {
		return typed, fmt.Errorf("tool %q takes a %s as run context, not a %T", name, reflect.TypeFor[RC](), rc)
	}
	return typed, nil
}

// isNilPointer finds the typed nil that a function with a pointer result returns for "nothing".
func isNilPointer(v any) bool {
	r := reflect.ValueOf(v)
	return r.Kind() == reflect.Pointer && r.IsNil()
}
