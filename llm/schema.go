package llm

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/google/jsonschema-go/jsonschema"
)

// schemaFor infers the schema of a tool's parameters from their Go type.
func schemaFor(t reflect.Type) (*jsonschema.Schema, error) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if k := t.Kind(); k != reflect.Struct && k != reflect.Map {
		return nil, fmt.Errorf("parameters must be a struct or a map, not %s", t)
	}
	s, err := jsonschema.ForType(t, nil)
	if err != nil {
		return nil, err
	}
	if s.Type != "object" {
		return nil, fmt.Errorf("parameters must be a JSON object, which %s is not", t)
	}
	if s.Properties == nil && t.Kind() == reflect.Struct {
		s.Properties = map[string]*jsonschema.Schema{} // some providers insist on it
	}
	return s, refine(s, t)
}

// refine adds to an inferred schema what only we know: the tags enum and default, and that a
// slice need not be null.
func refine(s *jsonschema.Schema, t reflect.Type) error {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch t.Kind() {
	case reflect.Slice, reflect.Array, reflect.Map:
		if slices.Equal(s.Types, []string{"null", "array"}) {
			s.Type, s.Types = "array", nil
		}
		for _, elem := range []*jsonschema.Schema{s.Items, s.AdditionalProperties} {
			if elem != nil {
				if err := refine(elem, t.Elem()); err != nil {
					return err
				}
			}
		}
	case reflect.Struct:
		for _, f := range reflect.VisibleFields(t) {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if name == "" {
				name = f.Name
			}
			p := s.Properties[name]
			if p == nil || !f.IsExported() {
				continue
			}
			if err := refine(p, f.Type); err != nil {
				return err
			}
			if err := refineField(s, p, name, f.Tag); err != nil {
				return fmt.Errorf("field %s: %w", f.Name, err)
			}
		}
	}
	return nil
}

func refineField(parent, p *jsonschema.Schema, name string, tag reflect.StructTag) error {
	if enum, ok := tag.Lookup("enum"); ok {
		target := p
		if p.Items != nil {
			target = p.Items
		}
		for v := range strings.SplitSeq(enum, ",") {
			value, err := tagValue(target, strings.TrimSpace(v))
			if err != nil {
				return fmt.Errorf("enum: %w", err)
			}
			target.Enum = append(target.Enum, value)
		}
	}
	if def, ok := tag.Lookup("default"); ok {
		value, err := tagValue(p, def)
		if err != nil {
			return fmt.Errorf("default: %w", err)
		}
		if p.Default, err = json.Marshal(value); err != nil {
			return fmt.Errorf("default: %w", err)
		}
		parent.Required = slices.DeleteFunc(parent.Required, func(r string) bool { return r == name })
	}
	return nil
}

// tagValue reads the text of a tag as the schema's type: strings as they are, the rest as JSON.
func tagValue(s *jsonschema.Schema, text string) (any, error) {
	if allows(s, "string") {
		return text, nil
	}
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		return nil, fmt.Errorf("%q is no JSON", text)
	}
	if issue := typeIssue(s, v); issue != "" {
		return nil, errors.New(issue)
	}
	return v, nil
}

func allows(s *jsonschema.Schema, typ string) bool {
	return s.Type == typ || slices.Contains(s.Types, typ)
}
