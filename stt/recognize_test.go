package stt_test

import (
	"context"
	"errors"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/internal/modeltest"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/stt"
	"github.com/parley-go/parley/stt/scripted"
)

func TestRecognizeRetriesAndBooksTheSuccessOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l modeltest.Log
		d := scripted.NewBatch(&scripted.Options{Texts: []string{"hello"}, Latency: 400 * time.Millisecond, Faults: []scripted.Fault{{Call: 0}, {Call: 1}}})
		r, err := stt.New(d, nil).Recognize(l.Context(t.Context()), sound(2*time.Second, 1000), &stt.Options{Language: "en"})
		if err != nil || r.Text != "hello" {
			t.Fatalf("result %+v, error %v", r, err)
		}
		events := modeltest.Events[*metrics.STT](&l)
		if len(events) != 1 {
			t.Fatalf("%d events", len(events))
		}
		e := events[0]
		if e.Duration != 400*time.Millisecond || e.AudioDuration != 2*time.Second || e.Streamed || e.Attempt != 2 || e.Source != metrics.Measured {
			t.Errorf("event is %+v", e)
		}
		if got := l.Recoverable(); !reflect.DeepEqual(got, []bool{true, true}) {
			t.Errorf("error events %v", got)
		}
		if d.Ledger().LastOption.Language != "en" {
			t.Error("options did not reach the driver")
		}
	})
}

func TestRecognizeTakesTheProvidersWord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l modeltest.Log
		d := scripted.NewBatch(&scripted.Options{States: true})
		if _, err := stt.New(d, nil).Recognize(l.Context(t.Context()), sound(time.Second, 0), nil); err != nil {
			t.Fatal(err)
		}
		if e := modeltest.Events[*metrics.STT](&l)[0]; e.Source != metrics.FromProvider || e.AudioDuration != time.Second {
			t.Errorf("event is %+v", e)
		}
	})
}

func TestRecognizeFailures(t *testing.T) {
	for name, c := range map[string]struct {
		fault scripted.Fault
		calls int
		kind  model.ErrorKind
	}{
		"status 400": {scripted.Fault{Call: -1, Err: &model.Error{Kind: model.KindStatus, Status: 400}}, 1, model.KindStatus},
		"panic":      {scripted.Fault{Call: -1, Kind: scripted.Panic}, 1, model.KindProtocol},
		"status 503": {scripted.Fault{Call: -1, Err: &model.Error{Kind: model.KindStatus, Status: 503}}, 4, model.KindConnection},
		"stall":      {scripted.Fault{Call: -1, Kind: scripted.Stall}, 4, model.KindConnection},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var l modeltest.Log
				d := scripted.NewBatch(&scripted.Options{Faults: []scripted.Fault{c.fault}})
				_, err := stt.New(d, nil).Recognize(l.Context(t.Context()), sound(time.Second, 0), nil)
				var e *model.Error
				if !errors.As(err, &e) || e.Kind != c.kind || d.Ledger().Calls != c.calls {
					t.Errorf("error %v after %d calls, want %s after %d", err, d.Ledger().Calls, c.kind, c.calls)
				}
				if got := l.Recoverable(); len(got) != c.calls || got[len(got)-1] {
					t.Errorf("error events %v", got)
				}
				if n := len(modeltest.Events[*metrics.STT](&l)); n != 0 {
					t.Errorf("%d metrics events for a failed call", n)
				}
			})
		})
	}
}

func TestRecognizeEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l modeltest.Log
		ctx, cancel := context.WithTimeout(l.Context(t.Context()), time.Second)
		defer cancel()
		d := scripted.NewBatch(&scripted.Options{Latency: time.Hour})
		_, err := stt.New(d, nil).Recognize(ctx, sound(time.Second, 0), nil)
		if !errors.Is(err, context.DeadlineExceeded) || len(l.Errors()) != 0 {
			t.Errorf("error %v, error events %v", err, l.Errors())
		}
	})
}

func TestRecognizeWithAStreamingModelLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l modeltest.Log
		d := scripted.New(&scripted.Options{Texts: []string{"one", "two"}})
		f := sound(time.Second, 1000)
		f.Data = append(f.Data, sound(40*time.Second, 0).Data...)
		f.Data = append(f.Data, sound(time.Second, 1000).Data...)
		r, err := stt.New(d, nil).Recognize(l.Context(t.Context()), f, nil)
		if err != nil || r.Text != "one two" || r.Start != 0 || r.End != 42*time.Second {
			t.Errorf("result %+v, error %v", r, err)
		}
		if booked(&l) != 42*time.Second {
			t.Errorf("booked %v", booked(&l))
		}
	})
}

func TestBatchModelDoesNotStream(t *testing.T) {
	m := stt.New(scripted.NewBatch(nil), nil)
	if _, err := m.Stream(t.Context(), nil); !errors.Is(err, stt.ErrNotStreaming) || m.Streaming() {
		t.Errorf("error %v, streaming %v", err, m.Streaming())
	}
}
