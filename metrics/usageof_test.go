package metrics

import (
	"reflect"
	"testing"

	"pgregory.net/rapid"
)

func TestUsageOfIsWhatACollectorAdds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := drawEvent(t, "1")
		var c Collector
		added := c.Add(e)
		m, ok := UsageOf(e)
		if ok != added {
			t.Fatalf("UsageOf says %v, Add says %v of %v", ok, added, e)
		}
		if want := c.Usage().Models; ok && !reflect.DeepEqual([]ModelUsage{m}, want) {
			t.Fatalf("got %v, want %v", m, want)
		}
	})
	if _, ok := UsageOf(&VAD{InferenceCount: 5}); ok {
		t.Error("voice activity detection is no usage")
	}
	if m, _ := UsageOf(&LLM{PromptTokens: 5, CompletionTokens: -1}); m.(LLMUsage).OutputTokens != 0 {
		t.Errorf("a negative number is taken: %v", m)
	}
}
