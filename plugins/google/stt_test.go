package google

import (
	"testing"
	"time"

	"github.com/parley-go/parley/internal/sandbox"
	"github.com/parley-go/parley/internal/sandbox/googlebox"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/model/fault"
	"github.com/parley-go/parley/stt/driver"
	"github.com/parley-go/parley/stt/stttest"
)

func sttHarness(make func(r *recognizer) driver.STT) stttest.Harness {
	return stttest.Harness{
		Speech: sandbox.EarSpeech(16000), Text: sandbox.EarText, Secret: sandbox.DefaultKey,
		Start: func(t testing.TB, p fault.Plan) stttest.Provider {
			box := sandbox.Start(t, p)
			googlebox.Speech(box, googlebox.SpeechOptions{})
			r, err := newSTT(&STTOptions{BaseURL: box.URL(), Project: "sandbox", Credentials: Credentials{AccessToken: box.Key}})
			if err != nil {
				t.Fatal(err)
			}
			r.accept = time.Second // what was sent to who refuses it is on nobody's bill; machines are slow
			return stttest.Provider{Driver: make(r), Served: func() stttest.Served {
				return stttest.Served{Audio: box.Audio(), Calls: box.Calls(), Dials: box.Dials(), Open: box.Open()}
			}}
		},
	}
}

// conform runs the cases of the kit side by side, since they wait more than they work.
func conform(t *testing.T, h stttest.Harness) {
	t.Parallel()
	for _, c := range stttest.Cases() {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			c.Run(t, h)
		})
	}
}

func TestSTTConformance(t *testing.T) {
	conform(t, sttHarness(func(r *recognizer) driver.STT { return r }))
}

// batchOnly hides that the recogniser streams.
type batchOnly struct{ r *recognizer }

func (b batchOnly) Info() model.Info                  { return b.r.Info() }
func (b batchOnly) Capabilities() driver.Capabilities { return b.r.Capabilities() }

type batch struct {
	batchOnly
	driver.Recognizer
}

func TestUtteranceConformance(t *testing.T) {
	conform(t, sttHarness(func(r *recognizer) driver.STT { return batch{batchOnly{r}, r} }))
}
