package docs

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/parley-go/parley/llm/llmtest"
	"github.com/parley-go/parley/model/fault"
	"github.com/parley-go/parley/realtime/realtimetest"
	"github.com/parley-go/parley/stt/stttest"
	"github.com/parley-go/parley/tts/ttstest"
)

const guide = "writing-a-plugin.md"

func TestGuideShowsTheExamplePlugin(t *testing.T) {
	for _, name := range []string{"plugin.go", "plugin_test.go"} {
		code := read(t, "../examples/plugin/"+name)
		if !strings.Contains(read(t, guide), "`"+name+"`:\n\n```go\n"+code+"```") {
			t.Errorf("%s does not show examples/plugin/%s; copy it", guide, name)
		}
		if n := strings.Count(code, "\n"); n >= 100 {
			t.Errorf("%s has %d lines; the guide promises less than 100", name, n)
		}
		if strings.Contains(code, "parley/internal/") {
			t.Errorf("%s imports what nobody else can", name)
		}
	}
}

// scenes notes what llmtest asks for and has nothing of it.
type scenes map[string]bool

func (s scenes) Stage(_ *testing.T, c llmtest.Scene) *llmtest.Stage {
	s.note(c.Fault)
	return nil
}

func (s scenes) note(k fault.Kind) {
	if k != fault.None {
		s[strings.ReplaceAll(string(k), " ", "")] = true
	}
}

func TestGuideNamesTheFaultsOfTheKits(t *testing.T) {
	kits := []scenes{{}, {}, {}, {}}
	t.Run("llmtest", func(t *testing.T) { llmtest.Run(t, kits[0]) })
	for _, c := range stttest.Cases() {
		kits[1].note(c.Plan.Kind)
	}
	for _, c := range ttstest.Cases() {
		kits[2].note(c.Plan.Kind)
	}
	for _, c := range realtimetest.Cases() {
		kits[3].note(c.Plan.Kind)
	}
	told := []scenes{{}, {}, {}, {}}
	for _, row := range regexp.MustCompile("(?m)^\\| `([A-Z]\\w+)` \\| [^|]+ \\| ([^|]+) \\| ([^|]+) \\| ([^|]+) \\| ([^|]+) \\|$").FindAllStringSubmatch(read(t, guide), -1) {
		for i, what := range row[2:] {
			if what != "—" {
				told[i][strings.ToLower(row[1])] = true
			}
		}
	}
	for i, name := range []string{"llmtest", "stttest", "ttstest", "realtimetest"} {
		if !maps.Equal(told[i], kits[i]) {
			t.Errorf("the guide says that %s asks for %v, and it asks for %v", name, sorted(told[i]), sorted(kits[i]))
		}
	}
}

func sorted(s scenes) []string { return slices.Sorted(maps.Keys(s)) }
