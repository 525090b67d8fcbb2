package openai

import (
	"testing"

	"github.com/parley-go/parley/internal/sandbox"
	"github.com/parley-go/parley/internal/sandbox/openaibox"
	"github.com/parley-go/parley/internal/sandbox/stage"
	"github.com/parley-go/parley/realtime/realtimetest"
)

func TestRealtimeConformance(t *testing.T) {
	t.Parallel()
	realtimetest.Run(t, realtimetest.Harness{
		Start: func(t testing.TB, s realtimetest.Scene) realtimetest.Provider {
			box := sandbox.Start(t, s.Plan)
			openaibox.Converse(box, "/v1", openaibox.ConverseOptions{Talk: stage.Talk(s), Provider: "127.0.0.1"})
			d, err := newRealtime(&RealtimeOptions{APIKey: box.Key, BaseURL: box.URL() + "/v1"})
			if err != nil {
				t.Fatal(err)
			}
			return realtimetest.Provider{Driver: d, Served: stage.Served(box)}
		},
		Speech: sandbox.EarSpeech(realtimeRate), Text: sandbox.EarText, Secret: sandbox.DefaultKey,
	})
}
