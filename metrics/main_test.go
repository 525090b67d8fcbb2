package metrics

import (
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"
)

var update = flag.Bool("update", false, "write the golden files")

func TestMain(m *testing.M) {
	flag.Parse()
	goleak.VerifyTestMain(m)
}

// golden compares got with a file of testdata, or writes it with -update.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Errorf("%s differs (run with -update if that is meant)\ngot:  %s\nwant: %s", path, got, want)
	}
}

const second = time.Second

var noon = time.Date(2026, 8, 1, 12, 0, 0, 123456789, time.UTC)

func fullHeader() Header {
	return Header{
		ID: "me_1", Timestamp: noon, Label: "openai.LLM", RequestID: "req_1",
		Attempt: 2, Outcome: Interrupted, Source: Estimated, Raw: `{"prompt_tokens":12,"details":[1]}`,
		Metadata: Metadata{ModelName: "gpt-4.1", ModelProvider: "openai"},
		Tags:     Tags{SessionID: "se_1", AgentID: "kelly", Task: "email", TurnID: "tu_1", SpeechID: "sp_1", Tool: "lookup"},
	}
}

// fullEvents has an event of each type with every field set, each number another one.
func fullEvents() map[string]Event {
	h := fullHeader()
	return map[string]Event{
		"llm": &LLM{h, 1500 * time.Millisecond, 310 * time.Millisecond, true, 11, 12, 7, 3, 23, 7.25},
		"stt": &STT{h, second, 2500 * time.Millisecond, 5, 6, true, 40 * time.Millisecond, true, true},
		"tts": &TTS{h, 90 * time.Millisecond, second, 3 * second, true, 42, 8, 9, true, "seg_1", 25 * time.Millisecond, true, true},
		"vad": &VAD{h, 10 * second, 3 * time.Millisecond, 31},
		"eou": &EOU{h, 600 * time.Millisecond, 200 * time.Millisecond, 5 * time.Millisecond},
		"eot": &EOT{h, 100 * time.Millisecond, 60 * time.Millisecond, 20 * time.Millisecond, 1},
		"realtime": &Realtime{h, 2 * second, 60 * second, 400 * time.Millisecond, true, 100, 50, 150, 25,
			InputTokenDetails{60, 30, 10, 40, &CachedTokenDetails{25, 10, 5}},
			OutputTokenDetails{20, 29, 1}, 80 * time.Millisecond, true, true},
		"interruption": &Interruption{h, 100 * time.Millisecond, 20 * time.Millisecond, 300 * time.Millisecond, 1, 2, 3},
		"avatar":       &Avatar{h, 150 * time.Millisecond, noon, noon.Add(2 * second)},
		"connection": &Connection{h, "tts", 100 * time.Millisecond, 10 * time.Millisecond, 11 * time.Millisecond,
			12 * time.Millisecond, 13 * time.Millisecond, 14 * time.Millisecond, true},
	}
}

func minimalEvents() map[string]Event {
	return map[string]Event{
		"llm": &LLM{TTFT: NoOutput}, "stt": &STT{}, "tts": &TTS{TTFB: NoOutput}, "vad": &VAD{}, "eou": &EOU{},
		"eot": &EOT{}, "realtime": &Realtime{TTFT: NoOutput}, "interruption": &Interruption{},
		"avatar": &Avatar{}, "connection": &Connection{},
	}
}
