package aws

import (
	"testing"

	"github.com/parley-go/parley/internal/sandbox"
	"github.com/parley-go/parley/internal/sandbox/stage"
	"github.com/parley-go/parley/plugins/aws/internal/novabox"
	"github.com/parley-go/parley/realtime/realtimetest"
)

func made(t testing.TB, box *sandbox.Server, o RealtimeOptions) *converser {
	t.Helper()
	o.Credentials, o.Region, o.BaseURL = novabox.Credentials(box), novabox.Region, box.URL()
	d, err := newRealtime(&o)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestRealtimeConformance(t *testing.T) {
	t.Parallel()
	never := "the service has no answers that fail: it ends the connection"
	realtimetest.Run(t, realtimetest.Harness{
		Start: func(t testing.TB, s realtimetest.Scene) realtimetest.Provider {
			box := sandbox.Start(t, s.Plan)
			novabox.Converse(box, novabox.Options{Talk: stage.Talk(s)})
			return realtimetest.Provider{Driver: made(t, box, RealtimeOptions{}), Served: func() realtimetest.Served {
				return realtimetest.Served{Billed: box.Ledger.Billed(), Stated: box.Ledger.Stated(), Dials: box.Dials(), Open: box.Open()}
			}}
		},
		Speech: sandbox.EarSpeech(inputRate), Text: sandbox.EarText, Secret: sandbox.DefaultKey,
		Skip: map[string]string{
			"failed once": never, "failed always": never, "text only": "the model always speaks",
			"reconnect in a turn": "the service tells that the user speaks when it has understood him",
		},
	})
}
