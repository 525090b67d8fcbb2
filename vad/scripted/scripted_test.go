package scripted_test

import (
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/vad/driver"
	"github.com/parley-go/parley/vad/scripted"
	"github.com/parley-go/parley/vad/vadtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConformance(t *testing.T) {
	speech := audio.Silence(1200*time.Millisecond, 16000, 1)
	for i := range speech.Data {
		speech.Data[i] = 1000
	}
	vadtest.Run(t, vadtest.Harness{
		New:    func(testing.TB) driver.VAD { return scripted.New(nil) },
		Speech: speech,
	})
}

func TestSpeechByTimes(t *testing.T) {
	d := scripted.New(&scripted.Options{Speech: []scripted.Interval{{From: time.Second, To: 2 * time.Second}}})
	s, err := d.NewStream()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var at []time.Duration
	err = s.Process(audio.Silence(4*time.Second, 48000, 2), func(e *driver.Event) {
		if e.Kind != driver.InferenceDone {
			at = append(at, e.Timestamp)
		}
	})
	if err != nil || len(at) != 2 || (at[0]-1064*time.Millisecond).Abs() > 40*time.Millisecond || (at[1]-2576*time.Millisecond).Abs() > 40*time.Millisecond {
		t.Errorf("edges at %v, error %v", at, err)
	}
	if l := d.Ledger(); l.Starts != 1 || l.Ends != 1 || l.Streams != 1 || l.Open != 1 {
		t.Errorf("ledger %+v", l)
	}
}
