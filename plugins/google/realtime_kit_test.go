package google

import (
	"testing"

	"github.com/parley-go/parley/internal/sandbox"
	"github.com/parley-go/parley/internal/sandbox/googlebox"
	"github.com/parley-go/parley/internal/sandbox/stage"
	"github.com/parley-go/parley/model/fault"
	"github.com/parley-go/parley/realtime/realtimetest"
)

// What was said at Google cannot be changed.
var grows = map[string]string{
	"context": "what was said cannot be changed or removed, and what is added comes last",
	"removed": "what was said cannot be removed",
}

func TestRealtimeConformance(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]RealtimeOptions{
		"AI Studio": {},
		"Gemini 3":  {Model: "gemini-3.1-flash-live-preview"},
		"Vertex AI": {VertexAI: onVertexAI, Project: "project"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := realtimetest.Harness{
				Start: func(t testing.TB, s realtimetest.Scene) realtimetest.Provider {
					box := sandbox.Start(t, s.Plan)
					googlebox.Live(box, googlebox.LiveOptions{Talk: stage.Talk(s)})
					return realtimetest.Provider{Driver: liveOn(t, box, o), Served: stage.Served(box)}
				},
				Speech: sandbox.EarSpeech(liveInputRate), Text: sandbox.EarText, Secret: sandbox.DefaultKey, Skip: grows,
			}
			if name == "AI Studio" {
				realtimetest.Run(t, h)
				return
			}
			for _, c := range realtimetest.Cases() { // faults are the same
				if c.Plan.Kind == fault.None || c.Plan.Kind == fault.Slow {
					t.Run(c.Name, func(t *testing.T) {
						t.Parallel()
						c.Run(t, h)
					})
				}
			}
		})
	}
}

// liveOn is a driver on a sandbox.
func liveOn(t testing.TB, box *sandbox.Server, o RealtimeOptions) *liveModel {
	t.Helper()
	o.BaseURL = box.URL()
	if o.VertexAI.Default(false) {
		o.Credentials.AccessToken = box.Key
	} else {
		o.APIKey = box.Key
	}
	d, err := newLive(&o)
	if err != nil {
		t.Fatal(err)
	}
	return d
}
