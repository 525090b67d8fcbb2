package llm

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strconv"
	"strings"

	"github.com/google/jsonschema-go/jsonschema"
)

// maxIssues bounds how many wrong fields an ArgumentError tells about.
const maxIssues = 10

// ArgumentError says that a model called a tool with arguments that do not fit. Its text is meant
// for the model: it names each wrong field and what belongs there.
type ArgumentError struct {
	Tool   string
	Issues []string
}

func (e *ArgumentError) Error() string {
	return fmt.Sprintf("invalid arguments for %s: %s", e.Tool, strings.Join(e.Issues, "; "))
}

func argumentError(tool string, err error) error {
	var te *json.UnmarshalTypeError
	if errors.As(err, &te) {
		return &ArgumentError{Tool: tool, Issues: []string{fmt.Sprintf("%s: a %s does not fit", te.Field, te.Value)}}
	}
	return &ArgumentError{Tool: tool, Issues: []string{err.Error()}}
}

// Canonical is the JSON object that a model meant with args: what is broken is repaired as far as
// that is certain enough, nothing is "{}", keys are sorted. Histories keep this form, so that
// later turns see valid JSON. It fails if args is no object.
func Canonical(args string) (string, error) {
	obj, err := parseArgs(args)
	if err != nil {
		return "", err
	}
	b, err := encode(obj)
	return string(b), err
}

func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimRight(b.Bytes(), "\n"), nil
}

// validArgs is args as canonical JSON that fits the tool's schema.
func (t *FunctionTool) validArgs(args string) ([]byte, error) {
	obj, err := parseArgs(args)
	if err != nil {
		return nil, argumentError(t.Name, err)
	}
	root := t.schema.Schema()
	c := checker{root: root}
	c.object(root, obj, "")
	if len(c.issues) > 0 {
		return nil, &ArgumentError{Tool: t.Name, Issues: c.issues}
	}
	b, err := encode(obj)
	if err != nil {
		return nil, argumentError(t.Name, err)
	}
	var plain any // the validator knows no json.Number
	if err := json.Unmarshal(b, &plain); err != nil {
		return nil, argumentError(t.Name, err)
	}
	if err := t.schema.Validate(plain); err != nil {
		return nil, argumentError(t.Name, err)
	}
	return b, nil
}

// checker brings arguments into the form that a schema wants where the intention is clear, and
// lists what does not fit. It knows what models get wrong; the validator does the rest.
type checker struct {
	root   *jsonschema.Schema
	issues []string
}

func (c *checker) issue(path, format string, args ...any) {
	if len(c.issues) < maxIssues {
		c.issues = append(c.issues, path+": "+fmt.Sprintf(format, args...))
	}
}

func (c *checker) object(s *jsonschema.Schema, obj map[string]any, path string) {
	for _, name := range slices.Sorted(maps.Keys(obj)) {
		p := s.Properties[name]
		if p == nil {
			c.extra(s, obj, name, path)
			continue
		}
		if obj[name] == nil && !c.nullable(p, 4) && (c.fallback(p) != nil || !slices.Contains(s.Required, name)) {
			delete(obj, name) // null stands for the default
			continue
		}
		obj[name] = c.value(p, obj[name], join(path, name))
	}
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		if _, ok := obj[name]; ok {
			continue
		}
		p := s.Properties[name]
		if def := c.fallback(p); def != nil {
			obj[name] = def
		} else if slices.Contains(s.Required, name) {
			c.issue(join(path, name), "missing, expected %s", describe(c.deref(p)))
		}
	}
}

// extra drops what nobody asked for, unless the schema says what such a value must be.
func (c *checker) extra(s *jsonschema.Schema, obj map[string]any, name, path string) {
	switch a := s.AdditionalProperties; {
	case len(s.PatternProperties) > 0:
	case a == nil && len(s.Properties) == 0: // a free-form object
	case a == nil || a.Not != nil:
		if len(s.AllOf)+len(s.AnyOf)+len(s.OneOf) == 0 {
			delete(obj, name)
		}
	default:
		obj[name] = c.value(a, obj[name], join(path, name))
	}
}

func (c *checker) value(s *jsonschema.Schema, v any, path string) any {
	s = c.variant(c.deref(s), v)
	v = coerce(s, v)
	if issue := typeIssue(s, v); issue != "" {
		c.issue(path, "%s", issue)
		return v
	}
	if len(s.Enum) > 0 && v != nil && !inEnum(s.Enum, v) {
		c.issue(path, "expected %s", describe(s))
		return v
	}
	switch v := v.(type) {
	case map[string]any:
		c.object(s, v, path)
	case []any:
		if s.Items != nil {
			for i := range v {
				v[i] = c.value(s.Items, v[i], fmt.Sprintf("%s[%d]", path, i))
			}
		}
	}
	return v
}

// deref follows references into the schema's own definitions.
func (c *checker) deref(s *jsonschema.Schema) *jsonschema.Schema {
	for range 8 {
		name, ok := strings.CutPrefix(s.Ref, "#/$defs/")
		def := c.root.Defs[name]
		if !ok {
			name, _ = strings.CutPrefix(s.Ref, "#/definitions/")
			def = c.root.Definitions[name]
		}
		if def == nil {
			return s
		}
		s = def
	}
	return s
}

// fallback is the default of s, or of what it refers to; nil for none.
func (c *checker) fallback(s *jsonschema.Schema) any {
	for _, s := range []*jsonschema.Schema{s, c.deref(s)} {
		if v, err := decodeJSON(string(s.Default)); err == nil && v != nil {
			return v
		}
	}
	return nil
}

// variant is the one of several schemas that an object or a list is meant for, if that is clear.
func (c *checker) variant(s *jsonschema.Schema, v any) *jsonschema.Schema {
	typ := typeOf(v)
	if s.Type != "" || len(s.Types)+len(s.Properties) > 0 || typ != "object" && typ != "array" {
		return s
	}
	var found *jsonschema.Schema
	for _, o := range slices.Concat(s.AnyOf, s.OneOf, s.AllOf) {
		if o = c.deref(o); allows(o, typ) {
			if found != nil {
				return s
			}
			found = o
		}
	}
	if found == nil {
		return s
	}
	return found
}

// coerce reads numbers and booleans that a model wrote as strings, and objects and lists that it
// encoded twice.
func coerce(s *jsonschema.Schema, v any) any {
	if n, ok := v.(json.Number); ok && allows(s, "integer") && !allows(s, "number") {
		return wholeNumber(n)
	}
	text, ok := v.(string)
	if !ok || allows(s, "string") || (s.Type == "" && len(s.Types) == 0) {
		return v
	}
	parsed, err := decodeJSON(strings.TrimSpace(text))
	if err != nil {
		parsed, err = decodeJSON(strings.ToLower(strings.TrimSpace(text))) // True, False, None
	}
	if err != nil {
		return v
	}
	if n, ok := parsed.(json.Number); ok && allows(s, "integer") {
		parsed = wholeNumber(n)
	}
	if typeIssue(s, parsed) != "" {
		return v
	}
	return parsed
}

// wholeNumber writes 5.0 as 5, which is what a Go integer can be read from.
func wholeNumber(n json.Number) json.Number {
	if _, err := n.Int64(); err == nil || len(n) > 40 {
		return n
	}
	f, err := n.Float64()
	if err != nil || f != float64(int64(f)) || f > 1<<53 || f < -1<<53 {
		return n
	}
	return json.Number(strconv.FormatInt(int64(f), 10))
}

// typeIssue says what is wrong with the type of v, or nothing.
func typeIssue(s *jsonschema.Schema, v any) string {
	if s.Type == "" && len(s.Types) == 0 {
		return ""
	}
	got := typeOf(v)
	if allows(s, got) || (got == "integer" && allows(s, "number")) {
		return ""
	}
	return fmt.Sprintf("expected %s, got %s", describe(s), got)
}

func typeOf(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case string:
		return "string"
	case bool:
		return "boolean"
	case float64:
		if v == float64(int64(v)) {
			return "integer"
		}
		return "number"
	case json.Number:
		if _, ok := new(big.Int).SetString(string(v), 10); ok {
			return "integer"
		}
		return "number"
	case []any:
		return "array"
	default:
		return "object"
	}
}

// nullable reports whether s takes null. Alternatives in alternatives are followed depth levels down,
// since a schema may be one of its own.
func (c *checker) nullable(s *jsonschema.Schema, depth int) bool {
	s = c.deref(s)
	if s.Type != "" || len(s.Types) > 0 || depth == 0 {
		return allows(s, "null")
	}
	isNullable := func(o *jsonschema.Schema) bool { return c.nullable(o, depth-1) }
	switch {
	case len(s.AnyOf)+len(s.OneOf) > 0:
		return slices.ContainsFunc(slices.Concat(s.AnyOf, s.OneOf), isNullable)
	case len(s.AllOf) > 0:
		return !slices.ContainsFunc(s.AllOf, func(o *jsonschema.Schema) bool { return !isNullable(o) })
	}
	return len(s.Enum) == 0
}

func inEnum(enum []any, v any) bool {
	b, err := encode(v)
	return err == nil && slices.ContainsFunc(enum, func(e any) bool {
		o, err := encode(e)
		return err == nil && bytes.Equal(b, o)
	})
}

// describe says in words what a schema wants.
func describe(s *jsonschema.Schema) string {
	typ := s.Type
	if typ == "" {
		typ = strings.Join(s.Types, " or ")
	}
	if typ == "" {
		typ = "value"
	}
	if len(s.Enum) > 0 {
		if b, err := encode(s.Enum); err == nil {
			typ += " out of " + string(b)
		}
	}
	if s.Description != "" {
		typ += " (" + s.Description + ")"
	}
	return typ
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}
