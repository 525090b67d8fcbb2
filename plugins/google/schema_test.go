package google

import (
	"encoding/json"
	"testing"
)

func TestSchemasInTheWordsOfOlderModels(t *testing.T) {
	for name, c := range map[string]struct{ from, want string }{
		"what Google does not know is left out": {
			`{"$schema":"x","title":"t","type":"object","additionalProperties":false,"properties":{"a":{"type":"integer","default":3,"minimum":1}},"required":["a"]}`,
			`{"properties":{"a":{"minimum":1,"type":"INTEGER"}},"required":["a"],"type":"OBJECT"}`},
		"null is nullable": {
			`{"type":"object","properties":{"a":{"type":["string","null"]},"b":{"anyOf":[{"type":"number"},{"type":"null"}]}}}`,
			`{"properties":{"a":{"nullable":true,"type":"STRING"},"b":{"nullable":true,"type":"NUMBER"}},"type":"OBJECT"}`},
		"choices": {
			`{"type":"object","properties":{"a":{"oneOf":[{"type":"string"},{"type":"array","items":{"type":"string"}}]},"b":{"type":["string","number"]}}}`,
			`{"properties":{"a":{"anyOf":[{"type":"STRING"},{"items":{"type":"STRING"},"type":"ARRAY"}]},"b":{"anyOf":[{"type":"STRING"},{"type":"NUMBER"}]}},"type":"OBJECT"}`},
		"texts to choose from, and no numbers": {
			`{"type":"object","properties":{"a":{"enum":["x","y"]},"b":{"const":"z"},"c":{"type":"integer","enum":[1,2]}}}`,
			`{"properties":{"a":{"enum":["x","y"],"type":"STRING"},"b":{"enum":["z"],"type":"STRING"},"c":{"type":"INTEGER"}},"type":"OBJECT"}`},
		"references are followed": {
			`{"type":"object","properties":{"a":{"$ref":"#/$defs/A","description":"d"}},"$defs":{"A":{"type":"object","properties":{"n":{"type":"string","format":"uri"}}}}}`,
			`{"properties":{"a":{"description":"d","properties":{"n":{"type":"STRING"}},"type":"OBJECT"}},"type":"OBJECT"}`},
		"parts are joined": {
			`{"type":"object","allOf":[{"properties":{"a":{"type":"string"}},"required":["a"]},{"properties":{"b":{"type":"string","format":"date-time"}}}],"required":["b"]}`,
			`{"properties":{"a":{"type":"STRING"},"b":{"format":"date-time","type":"STRING"}},"required":["a","b"],"type":"OBJECT"}`},
		"an array of anything": {
			`{"type":"object","properties":{"a":{"type":"array"},"b":true}}`,
			`{"properties":{"a":{"items":{"type":"STRING"},"type":"ARRAY"},"b":{"type":"STRING"}},"type":"OBJECT"}`},
		"no properties": {`{"type":"object","properties":{}}`, `null`},
		"no JSON":       {`{`, `null`},
	} {
		got, err := json.Marshal(openAPI(json.RawMessage(c.from)))
		if err != nil || string(got) != c.want {
			t.Errorf("%s:\n got %s (%v)\nwant %s", name, got, err, c.want)
		}
	}
}

// A schema that contains itself ends somewhere.
func TestSchemaOfATree(t *testing.T) {
	tree := `{"type":"object","properties":{"root":{"$ref":"#/definitions/T"}},"definitions":{"T":{"type":"object","properties":{
		"left":{"$ref":"#/definitions/T"},"right":{"$ref":"#/definitions/T"},"name":{"type":"string"}}}}}`
	got, err := json.Marshal(openAPI(json.RawMessage(tree)))
	if err != nil || len(got) < 300 || len(got) > 1000 {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

// Neither does one become large whose parts all refer to each other.
func TestSchemaOfAWeb(t *testing.T) {
	defs, all := map[string]any{}, map[string]any{}
	for i := range 20 {
		all[string(rune('a'+i))] = map[string]any{"$ref": "#/$defs/" + string(rune('a'+i))}
	}
	for name := range all {
		defs[name] = map[string]any{"type": "object", "properties": all}
	}
	doc, err := json.Marshal(map[string]any{"type": "object", "properties": all, "$defs": defs})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := json.Marshal(openAPI(doc)); err != nil || len(got) < 1000 || len(got) > 1<<20 {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}
