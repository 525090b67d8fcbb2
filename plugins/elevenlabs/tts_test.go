package elevenlabs

import (
	"flag"
	"testing"

	"go.uber.org/goleak"

	"github.com/parley-go/parley/internal/sandbox"
	"github.com/parley-go/parley/internal/sandbox/elevenlabsbox"
	"github.com/parley-go/parley/model/fault"
	"github.com/parley-go/parley/tts/ttstest"
)

func TestMain(m *testing.M) {
	flag.Parse()
	_ = flag.Set("test.parallel", "8") // the kits wait more than they work
	goleak.VerifyTestMain(m)
}

// speaker is a synthesiser in a sandbox.
func speaker(t testing.TB, p fault.Plan, o TTSOptions, bo elevenlabsbox.TTSOptions) (*sandbox.Server, *synthesizer) {
	box := sandbox.Start(t, p)
	elevenlabsbox.TTS(box, bo)
	o.APIKey, o.BaseURL = box.Key, box.URL()+"/v1"
	d, err := newTTS(&o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close(t.Context()) })
	return box, d
}

func ttsHarness(o TTSOptions, bo elevenlabsbox.TTSOptions) ttstest.Harness {
	return ttstest.Harness{
		Secret: sandbox.DefaultKey, CountReplays: true, Text: "Grüße aus dem Hafen, my friend. Come.",
		Start: func(t testing.TB, p fault.Plan) ttstest.Provider {
			box, d := speaker(t, p, o, bo)
			return ttstest.Provider{Driver: d, Served: func() ttstest.Served {
				return ttstest.Served{Characters: box.Characters(), Calls: box.Calls(), Dials: box.Dials(), Open: box.Open()}
			}}
		},
	}
}

func TestTTSConformance(t *testing.T) {
	t.Parallel()
	for _, c := range ttstest.Cases() {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			c.Run(t, ttsHarness(TTSOptions{Language: "en-US"}, elevenlabsbox.TTSOptions{}))
		})
	}
}

// Text by a schedule, and times that count from the start, have the same failures.
func TestTTSConformanceOfSchedules(t *testing.T) {
	t.Parallel()
	o := TTSOptions{ChunkSchedule: []int{50, 120}, Dictionaries: []Dictionary{{ID: "d", Version: "v"}}}
	for _, c := range ttstest.Cases() {
		if c.Plan == (fault.Plan{}) || c.Plan.Kind == fault.Slow {
			t.Run(c.Name, func(t *testing.T) { c.Run(t, ttsHarness(o, elevenlabsbox.TTSOptions{FromStart: true})) })
		}
	}
}
