package elevenlabs

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/parley-go/parley/internal/sandbox"
	"github.com/parley-go/parley/internal/sandbox/elevenlabsbox"
	"github.com/parley-go/parley/model/fault"
	"github.com/parley-go/parley/tts/ttstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

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

func TestTTSConformance(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]TTSOptions{
		"by sentence": {Language: "en-US"},
		"by schedule": {ChunkSchedule: []int{50, 120}, Dictionaries: []Dictionary{{ID: "d", Version: "v"}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ttstest.Run(t, ttstest.Harness{
				Secret: sandbox.DefaultKey, CountReplays: true, Text: "Grüße aus dem Hafen, my friend. Come.",
				Start: func(t testing.TB, p fault.Plan) ttstest.Provider {
					box, d := speaker(t, p, o, elevenlabsbox.TTSOptions{FromStart: o.ChunkSchedule == nil})
					return ttstest.Provider{Driver: d, Served: func() ttstest.Served {
						return ttstest.Served{Characters: box.Characters(), Calls: box.Calls(), Dials: box.Dials(), Open: box.Open()}
					}}
				},
			})
		})
	}
}
