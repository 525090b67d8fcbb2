package deepgram

import (
	"flag"
	"testing"

	"go.uber.org/goleak"

	"github.com/parley-go/parley/internal/sandbox"
	"github.com/parley-go/parley/internal/sandbox/deepgrambox"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/model/fault"
	"github.com/parley-go/parley/stt/driver"
	"github.com/parley-go/parley/stt/stttest"
)

func TestMain(m *testing.M) {
	_ = flag.Set("test.parallel", "8") // the kits wait more than they work
	goleak.VerifyTestMain(m)
}

// sttHarness runs the kit against a sandbox.
func sttHarness(serve func(*sandbox.Server), make func(box *sandbox.Server) (driver.STT, error)) stttest.Harness {
	return stttest.Harness{
		Speech: sandbox.EarSpeech(16000), Text: sandbox.EarText, Secret: sandbox.DefaultKey,
		Start: func(t testing.TB, p fault.Plan) stttest.Provider {
			box := sandbox.Start(t, p)
			serve(box)
			d, err := make(box)
			if err != nil {
				t.Fatal(err)
			}
			return stttest.Provider{Driver: d, Served: func() stttest.Served {
				return stttest.Served{Audio: box.Audio(), Calls: box.Calls(), Dials: box.Dials(), Open: box.Open()}
			}}
		},
	}
}

func TestSTTConformance(t *testing.T) {
	t.Parallel()
	stttest.Run(t, sttHarness(deepgrambox.Listen, func(box *sandbox.Server) (driver.STT, error) {
		return newSTT(&STTOptions{APIKey: box.Key, BaseURL: box.URL(), Diarize: true})
	}))
}

// batchOnly hides that the recogniser streams.
type batchOnly struct{ r *recognizer }

func (b batchOnly) Info() model.Info                  { return b.r.Info() }
func (b batchOnly) Capabilities() driver.Capabilities { return b.r.Capabilities() }

type batch struct {
	batchOnly
	driver.Recognizer
}

func TestRecordingConformance(t *testing.T) {
	t.Parallel()
	h := sttHarness(deepgrambox.Listen, func(box *sandbox.Server) (driver.STT, error) {
		r, err := newSTT(&STTOptions{APIKey: box.Key, BaseURL: box.URL()})
		return batch{batchOnly{r}, r}, err
	})
	stttest.Run(t, h)
}

func TestFluxConformance(t *testing.T) {
	t.Parallel()
	stttest.Run(t, sttHarness(deepgrambox.Flux, func(box *sandbox.Server) (driver.STT, error) {
		return newFlux(&FluxOptions{APIKey: box.Key, BaseURL: box.URL()})
	}))
}
