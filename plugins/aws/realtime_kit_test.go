package aws

import (
	"net/http"
	"testing"
	"testing/synctest"

	"github.com/parley-go/parley/internal/sandbox"
	"github.com/parley-go/parley/internal/sandbox/stage"
	"github.com/parley-go/parley/model/fault"
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

// inMemory is a sandbox, and the client that reaches it, on the virtual time of a bubble.
func inMemory(t testing.TB) (*sandbox.Server, *http.Client) {
	t.Helper()
	box, dial := sandbox.InMemory(t)
	tr := &http.Transport{DialContext: dial, Protocols: &http.Protocols{}}
	tr.Protocols.SetHTTP2(true)
	tr.Protocols.SetUnencryptedHTTP2(true)
	t.Cleanup(func() {
		_ = box.Close()
		tr.CloseIdleConnections()
	})
	return box, &http.Client{Transport: tr}
}

func TestRealtimeConformance(t *testing.T) {
	never := "the service has no answers that fail: it ends the connection"
	on := func(o novabox.Options) func(testing.TB, realtimetest.Scene) realtimetest.Provider {
		return func(t testing.TB, s realtimetest.Scene) realtimetest.Provider {
			box, client := inMemory(t)
			box.Plan(s.Plan)
			o := o
			o.Talk = stage.Talk(s)
			novabox.Converse(box, o)
			d := made(t, box, RealtimeOptions{})
			d.HTTP = client
			return realtimetest.Provider{Driver: d, Served: func() realtimetest.Served {
				return realtimetest.Served{Billed: box.Ledger.Billed(), Stated: box.Ledger.Stated(), Dials: box.Dials(), Open: box.Open()}
			}}
		}
	}
	h := realtimetest.Harness{
		Start:  on(novabox.Options{}),
		Speech: sandbox.EarSpeech(inputRate), Text: sandbox.EarText, Secret: sandbox.DefaultKey,
		Skip: map[string]string{
			"failed once": never, "failed always": never, "text only": "the model always speaks",
			"reconnect in a turn": "the service tells that the user speaks when it has understood him",
		},
	}
	for _, c := range realtimetest.Cases() {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { c.Run(t, h) })
		})
	}
	late := h
	late.Start = on(novabox.Options{Late: true})
	for _, c := range realtimetest.Cases() {
		if k := c.Plan.Kind; k == fault.None || k == fault.Slow || k == fault.UsageMissing || k == fault.UsageRepeated {
			t.Run("usage late/"+c.Name, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) { c.Run(t, late) })
			})
		}
	}
}
