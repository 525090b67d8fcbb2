package scripted_test

import (
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/model/fault"
	"github.com/parley-go/parley/tts/driver"
	"github.com/parley-go/parley/tts/scripted"
	"github.com/parley-go/parley/tts/ttstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// faults is how the scripted synthesisers do the fault matrix.
func faults(p fault.Plan) []scripted.Fault {
	status := func(call, n int) []scripted.Fault {
		return []scripted.Fault{{Call: call, Err: &model.Error{Kind: model.KindStatus, Provider: "scripted", Status: n}}}
	}
	call := 0
	if p.Times < 0 {
		call = -1
	}
	switch p.Kind {
	case fault.None, fault.UsageMissing, fault.Slow:
		return nil
	case fault.Refuse:
		return []scripted.Fault{{Call: call}}
	case fault.SlowDial:
		return []scripted.Fault{{Kind: scripted.Stall}}
	case fault.CloseEarly:
		return []scripted.Fault{{When: scripted.AfterText}}
	case fault.Reset:
		return []scripted.Fault{{When: scripted.AfterSome, Audio: 200 * time.Millisecond}}
	case fault.Empty:
		return []scripted.Fault{{When: scripted.AfterText, Kind: scripted.Hangup}}
	case fault.Silence:
		return []scripted.Fault{{When: scripted.AfterText, Kind: scripted.Stall}}
	case fault.RateLimit:
		return status(0, 429)
	case fault.ServerError:
		return status(0, 503)
	case fault.Unauthorized:
		return status(-1, 401)
	case fault.Malformed:
		return []scripted.Fault{{When: scripted.AfterText, Err: &model.Error{Kind: model.KindProtocol, Provider: "scripted"}}}
	}
	return cannot
}

// cannot marks faults that a script does not have.
var cannot = []scripted.Fault{{Call: 1 << 30}}

type synthesiser interface {
	driver.TTS
	Ledger() scripted.Ledger
}

func TestConformance(t *testing.T) {
	for name, make := range map[string]func(o *scripted.Options) synthesiser{
		"streaming": func(o *scripted.Options) synthesiser { return scripted.New(o) },
		"batch":     func(o *scripted.Options) synthesiser { return scripted.NewBatch(o) },
	} {
		h := ttstest.Harness{CountReplays: true, Start: func(_ testing.TB, p fault.Plan) ttstest.Provider {
			o := &scripted.Options{Faults: faults(p), Words: true, TTFB: 100 * time.Millisecond}
			if p.Kind == fault.Slow {
				o.Pace = time.Second
			}
			if len(o.Faults) == 1 && o.Faults[0].Call == cannot[0].Call {
				return ttstest.Provider{}
			}
			d := make(o)
			return ttstest.Provider{Driver: d, Served: func() ttstest.Served {
				l := d.Ledger()
				return ttstest.Served{Characters: l.Characters, Calls: l.Calls, Open: l.Open}
			}}
		}}
		for _, c := range ttstest.Cases() {
			t.Run(name+"/"+c.Name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { c.Run(t, h) })
			})
		}
	}
}

func TestStatedDurations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := scripted.NewBatch(&scripted.Options{
			Durations: map[string]time.Duration{"Hi.": 3 * time.Second}, Sine: true, Pace: time.Second,
		})
		began := time.Now()
		s, err := d.Synthesize(t.Context(), "Hi.")
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		var got time.Duration
		loud := false
		for {
			c, err := s.Next(t.Context())
			if err != nil {
				break
			}
			got += c.Frame.Duration()
			for _, v := range c.Frame.Data {
				loud = loud || v > 5000
			}
		}
		if got != 3*time.Second || !loud {
			t.Errorf("got %v of audio, loud: %v", got, loud)
		}
		if took := time.Since(began); took != 2900*time.Millisecond {
			t.Errorf("3 s at the pace of real time took %v", took)
		}
	})
}
