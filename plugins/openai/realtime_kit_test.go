package openai

import (
	"testing"

	"github.com/parley-go/parley/internal/sandbox"
	"github.com/parley-go/parley/internal/sandbox/openaibox"
	"github.com/parley-go/parley/internal/sandbox/stage"
	"github.com/parley-go/parley/realtime/realtimetest"
)

// variant is a provider that speaks the protocol, and its sandbox.
type variant struct {
	name   string
	prefix string // of the sandbox's path
	box    openaibox.ConverseOptions
	o      RealtimeOptions
}

func variants() []variant {
	azure := openaibox.ConverseOptions{Provider: "azure", Header: "api-key"}
	older := azure
	older.Form = openaibox.Older
	return []variant{
		{"openai", "/v1", openaibox.ConverseOptions{Provider: "127.0.0.1"}, RealtimeOptions{}},
		{"azure", "/openai/v1", azure, RealtimeOptions{Service: Azure}},
		{"azure older", "/openai", older, RealtimeOptions{Service: Azure, APIVersion: "2025-04-01-preview"}},
		{"xai", "/v1", openaibox.ConverseOptions{Provider: "xai", Form: openaibox.XAI}, RealtimeOptions{Service: XAI}},
	}
}

// on makes the options of a client of the sandbox.
func (v variant) on(box *sandbox.Server) *RealtimeOptions {
	o := v.o
	o.APIKey, o.BaseURL = box.Key, box.URL()
	if o.Service != Azure { // whose clients know the rest
		o.BaseURL += v.prefix
	}
	return &o
}

// Every variant of the protocol holds conversations as package realtime wants them, whatever goes wrong.
func TestRealtimeConformance(t *testing.T) {
	t.Parallel()
	for _, v := range variants() {
		t.Run(v.name, func(t *testing.T) {
			t.Parallel()
			realtimetest.Run(t, realtimetest.Harness{
				Start: func(t testing.TB, s realtimetest.Scene) realtimetest.Provider {
					box := sandbox.Start(t, s.Plan)
					o := v.box
					o.Talk = stage.Talk(s)
					openaibox.Converse(box, v.prefix, o)
					d, err := newRealtime(v.on(box))
					if err != nil {
						t.Fatal(err)
					}
					return realtimetest.Provider{Driver: d, Served: stage.Served(box)}
				},
				Speech: sandbox.EarSpeech(realtimeRate), Text: sandbox.EarText, Secret: sandbox.DefaultKey,
			})
		})
	}
}
