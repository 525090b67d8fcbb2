package rules_test

import (
	"testing"

	"github.com/parley-go/parley/llm/llmtest"
	"github.com/parley-go/parley/model/fault"
	"github.com/parley-go/parley/plugins/rules"
)

// harness has no faults to offer: nothing here can break.
type harness struct{}

func (harness) Virtual() {}

func (harness) Stage(_ *testing.T, s llmtest.Scene) *llmtest.Stage {
	if s.Fault != fault.None {
		return nil
	}
	return &llmtest.Stage{LLM: rules.NewDriver(nil)}
}

func TestConformance(t *testing.T) { llmtest.Run(t, harness{}) }
