package scripted_test

import (
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/model/fault"
	"github.com/parley-go/parley/stt"
	"github.com/parley-go/parley/stt/driver"
	"github.com/parley-go/parley/stt/scripted"
	"github.com/parley-go/parley/stt/stttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func speech() audio.Frame {
	f := audio.Silence(2*time.Second, 16000, 1)
	for i := range f.Data[:16000] {
		f.Data[i] = 1000
	}
	return f
}

const text = "hello there"

// faults is how the scripted recognisers do the fault matrix; half is the position of faults
// inside of a stream, 0 for batch.
func faults(p fault.Plan, half time.Duration) []scripted.Fault {
	status := func(call, n int) []scripted.Fault {
		return []scripted.Fault{{Call: call, Err: &model.Error{Kind: model.KindStatus, Provider: "scripted", Status: n}}}
	}
	call := 0
	if p.Times < 0 {
		call = -1
	}
	switch p.Kind {
	case fault.None, fault.UsageMissing:
		return nil
	case fault.Refuse:
		return []scripted.Fault{{Call: call}}
	case fault.SlowDial:
		return []scripted.Fault{{Call: 0, Kind: scripted.Stall}}
	case fault.Reset:
		return []scripted.Fault{{Call: 0, After: half}}
	case fault.HangUp:
		return []scripted.Fault{{Call: 0, After: half, Kind: scripted.Hangup}}
	case fault.RateLimit:
		return status(0, 429)
	case fault.ServerError:
		return status(0, 503)
	case fault.Unauthorized:
		return status(-1, 401)
	case fault.Malformed:
		return []scripted.Fault{{Call: 0, After: half, Err: &model.Error{Kind: model.KindProtocol, Provider: "scripted"}}}
	case fault.Stall:
		return []scripted.Fault{{Call: call, After: half, Kind: scripted.Stall}}
	}
	return cannot
}

// cannot marks faults that a script does not have.
var cannot = []scripted.Fault{{Call: 1 << 30}}

func isCannot(f []scripted.Fault) bool { return len(f) == 1 && f[0].Call == cannot[0].Call }

func TestStreamingConformance(t *testing.T) {
	h := stttest.Harness{Speech: speech(), Text: text, Start: func(_ testing.TB, p fault.Plan) stttest.Provider {
		o := &scripted.Options{Texts: []string{text}, Faults: faults(p, 500*time.Millisecond), UsageEvery: time.Second}
		if p.Kind == fault.UsageMissing {
			o.UsageEvery = 0
		}
		if isCannot(o.Faults) {
			return stttest.Provider{}
		}
		d := scripted.New(o)
		return stttest.Provider{Driver: d, Served: func() stttest.Served {
			l := d.Ledger()
			return stttest.Served{Audio: l.Audio, Calls: l.Calls, Open: l.Open}
		}}
	}}
	run(t, h)
}

func TestBatchConformance(t *testing.T) {
	h := stttest.Harness{
		Speech: speech(), Text: text,
		Skip: map[fault.Kind]string{fault.HangUp: "a request has no polite end"},
		Start: func(_ testing.TB, p fault.Plan) stttest.Provider {
			o := &scripted.Options{Faults: faults(p, 0), States: p.Kind != fault.UsageMissing}
			o.Transcribe = func(f audio.Frame) string {
				if f.Data[0] == 0 {
					return ""
				}
				return text
			}
			if isCannot(o.Faults) {
				return stttest.Provider{}
			}
			d := scripted.NewBatch(o)
			return stttest.Provider{Driver: d, Served: func() stttest.Served {
				l := d.Ledger()
				return stttest.Served{Audio: l.Audio, Calls: l.Calls, Open: l.Running}
			}}
		},
	}
	run(t, h)
}

func run(t *testing.T, h stttest.Harness) {
	for _, c := range stttest.Cases() {
		t.Run(c.Name, func(t *testing.T) {
			if why, skip := h.Skip[c.Plan.Kind]; skip {
				t.Skip(why)
			}
			synctest.Test(t, func(t *testing.T) { c.Run(t, h) })
		})
	}
}

func TestLinesComeAtTheirPositions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		line := func(at time.Duration, k driver.EventKind, text string) scripted.Line {
			return scripted.Line{At: at, Event: driver.Event{Kind: k, Alternatives: []driver.Alternative{{Text: text}}}}
		}
		d := scripted.New(&scripted.Options{
			Latency: 100 * time.Millisecond,
			Streams: [][]scripted.Line{{line(time.Second, stt.Interim, "he"), line(2*time.Second, stt.Final, "hello")}},
		})
		s, err := stt.New(d, nil).Stream(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		began := time.Now()
		pushed := make(chan struct{})
		go func() {
			defer close(pushed)
			for range 150 {
				time.Sleep(20 * time.Millisecond)
				if s.Push(audio.Silence(20*time.Millisecond, 16000, 1)) != nil {
					return
				}
			}
		}()
		var got []string
		var at []time.Duration
		for range 2 {
			e, err := s.Next()
			if err != nil {
				t.Fatal(err)
			}
			got, at = append(got, e.Text()), append(at, time.Since(began))
		}
		if !reflect.DeepEqual(got, []string{"he", "hello"}) || !reflect.DeepEqual(at, []time.Duration{1100 * time.Millisecond, 2100 * time.Millisecond}) {
			t.Errorf("got %q at %v", got, at)
		}
		<-pushed
	})
}
