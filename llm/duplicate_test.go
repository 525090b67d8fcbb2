package llm_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/parley-go/parley/llm"
)

func TestConfirmedDuplicates(t *testing.T) {
	type in struct {
		City string `json:"city"`
		Days int    `json:"days,omitempty"`
	}
	var got in
	tool := llm.NewTool("book", "", func(_ context.Context, _ any, i in) (string, error) { got = i; return "", nil })
	plain := string(tool.Spec().Parameters)
	if rest, yes := tool.Confirmed(`{"lk_agents_confirm_duplicate":true}`); yes || !strings.Contains(rest, "lk_agents") {
		t.Errorf("a tool that wants no confirmation takes one: %s", rest)
	}
	tool.Duplicates = llm.ConfirmDuplicates
	var spec struct {
		Properties map[string]struct{ Type string }
		Required   []string
	}
	if err := json.Unmarshal(tool.Spec().Parameters, &spec); err != nil {
		t.Fatal(err)
	}
	if spec.Properties[llm.ConfirmDuplicate].Type != "boolean" || len(spec.Properties) != 3 || len(spec.Required) != 1 {
		t.Errorf("the model is offered %s", tool.Spec().Parameters)
	}
	for _, x := range []struct {
		args, rest string
		yes        bool
	}{
		{`{"city":"Rome","lk_agents_confirm_duplicate":true}`, `{"city":"Rome"}`, true},
		{`{"lk_agents_confirm_duplicate":false,"city":"Rome",}`, `{"city":"Rome"}`, false},
		{`{"lk_agents_confirm_duplicate":"yes","city":"Rome"}`, `{"city":"Rome"}`, false},
		{`{"city":"Rome"}`, `{"city":"Rome"}`, false},
		{`[]`, `[]`, false},
	} {
		if rest, yes := tool.Confirmed(x.args); rest != x.rest || yes != x.yes {
			t.Errorf("Confirmed(%s) = %s, %v; want %s, %v", x.args, rest, yes, x.rest, x.yes)
		}
	}
	if _, err := tool.Call(t.Context(), nil, `{"city":"Rome"}`); err != nil || got.City != "Rome" {
		t.Errorf("called with %+v: %v", got, err)
	}
	tool.Duplicates = llm.AllowDuplicates
	if string(tool.Spec().Parameters) != plain {
		t.Errorf("the tool's own parameters have become %s", tool.Spec().Parameters)
	}
	tool.Duplicates = "sometimes"
	if _, err := llm.NewToolContext(tool); err == nil || !strings.Contains(err.Error(), "sometimes") {
		t.Errorf("an unknown way to deal with duplicates: %v", err)
	}
}
