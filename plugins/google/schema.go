package google

import (
	"encoding/json"
	"slices"
	"strings"
)

const (
	// maxTurns is how often a schema that refers to itself is followed.
	maxTurns = 2
	// maxNodes bounds a schema whose parts refer to each other.
	maxNodes = 5000
)

// kept are the words of JSON schema that mean the same in Google's.
var kept = []string{
	"description", "pattern", "minimum", "maximum", "minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties",
}

// formats are those that Google takes.
var formats = []string{"float", "double", "int32", "int64", "enum", "date-time"}

// openAPI is a JSON schema of an object in the words that the older models take: a subset of OpenAPI 3.0. It is
// nil for an object without properties, which they refuse.
func openAPI(schema json.RawMessage) map[string]any {
	var doc map[string]any
	if json.Unmarshal(schema, &doc) != nil {
		return nil
	}
	t := translator{defs: map[string]any{}}
	for _, key := range []string{"$defs", "definitions"} {
		more, _ := doc[key].(map[string]any)
		for name, d := range more {
			t.defs["#/"+key+"/"+name] = d
		}
	}
	s := t.translate(doc)
	if properties, _ := s["properties"].(map[string]any); len(properties) == 0 {
		return nil
	}
	return s
}

// translator translates one schema.
type translator struct {
	defs  map[string]any // by reference
	stack []string       // references that are being followed
	nodes int
}

func (t *translator) translate(doc map[string]any) map[string]any {
	if t.nodes++; t.nodes > maxNodes {
		return map[string]any{"type": "OBJECT"}
	}
	if ref, _ := doc["$ref"].(string); ref != "" {
		return t.follow(ref, doc)
	}
	s := map[string]any{}
	for _, key := range kept {
		if v, ok := doc[key]; ok {
			s[key] = v
		}
	}
	if f, _ := doc["format"].(string); slices.Contains(formats, f) {
		s["format"] = f
	}
	translateType(s, doc)
	translateEnum(s, doc)
	for _, key := range []string{"anyOf", "oneOf"} {
		t.choice(s, doc[key])
	}
	for _, part := range objects(doc["allOf"]) {
		absorb(s, t.translate(part))
	}
	t.parts(s, doc)
	if s["type"] == nil && s["anyOf"] == nil {
		s["type"] = "STRING" // something must be said
		if s["properties"] != nil {
			s["type"] = "OBJECT"
		}
	}
	return s
}

func translateType(s, doc map[string]any) {
	names, _ := doc["type"].([]any)
	if name, ok := doc["type"].(string); ok {
		names = []any{name}
	}
	var types []string
	for _, n := range names {
		switch name, _ := n.(string); name {
		case "null":
			s["nullable"] = true
		case "":
		default:
			types = append(types, strings.ToUpper(name))
		}
	}
	switch len(types) {
	case 0:
	case 1:
		s["type"] = types[0]
	default:
		var list []map[string]any
		for _, t := range types {
			list = append(list, map[string]any{"type": t})
		}
		s["anyOf"] = list
	}
}

// translateEnum keeps choices of text; those of numbers are not taken.
func translateEnum(s, doc map[string]any) {
	list, _ := doc["enum"].([]any)
	if c, ok := doc["const"]; ok {
		list = []any{c}
	}
	var texts []string
	for _, v := range list {
		switch v := v.(type) {
		case string:
			texts = append(texts, v)
		case nil:
			s["nullable"] = true
		default:
			return
		}
	}
	if len(texts) > 0 {
		s["type"], s["enum"] = "STRING", texts
	}
}

func (t *translator) follow(ref string, doc map[string]any) map[string]any {
	turns := 0
	for _, r := range t.stack {
		if r == ref {
			turns++
		}
	}
	s := map[string]any{"type": "OBJECT"}
	if turns < maxTurns {
		t.stack = append(t.stack, ref)
		target, _ := t.defs[ref].(map[string]any)
		s = t.translate(target)
		t.stack = t.stack[:len(t.stack)-1]
	}
	if d, ok := doc["description"]; ok {
		s["description"] = d
	}
	return s
}

// choice understands the choice of null as nullable, and a choice of one as that one.
func (t *translator) choice(s map[string]any, choice any) {
	var list []map[string]any
	for _, c := range objects(choice) {
		if c["type"] == "null" {
			s["nullable"] = true
			continue
		}
		list = append(list, t.translate(c))
	}
	switch len(list) {
	case 0:
	case 1:
		absorb(s, list[0])
	default:
		s["anyOf"] = list
	}
}

func (t *translator) parts(s, doc map[string]any) {
	if list, _ := doc["properties"].(map[string]any); len(list) > 0 {
		properties, _ := s["properties"].(map[string]any) // of a part
		if properties == nil {
			properties = map[string]any{}
		}
		for name, p := range list {
			part, _ := p.(map[string]any) // true allows anything
			properties[name] = t.translate(part)
		}
		s["properties"] = properties
	}
	if required, _ := doc["required"].([]any); len(required) > 0 {
		have, _ := s["required"].([]any)
		s["required"] = append(have[:len(have):len(have)], required...)
	}
	items, ok := doc["items"].(map[string]any)
	if list := objects(doc["prefixItems"]); !ok && len(list) > 0 {
		items, ok = list[0], true
	}
	if ok || s["type"] == "ARRAY" {
		s["items"] = t.translate(items)
	}
}

// absorb adds what more says to s; what s says itself counts.
func absorb(s, more map[string]any) {
	for k, v := range more {
		have, isObject := s[k].(map[string]any)
		add, ok := v.(map[string]any)
		if isObject && ok {
			for name, p := range add {
				have[name] = p
			}
			continue
		}
		if s[k] == nil {
			s[k] = v
		}
	}
}

func objects(v any) (list []map[string]any) {
	all, _ := v.([]any)
	for _, x := range all {
		if m, ok := x.(map[string]any); ok {
			list = append(list, m)
		}
	}
	return list
}
