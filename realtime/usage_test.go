package realtime_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/internal/modeltest"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/realtime/driver"
	"github.com/parley-go/parley/realtime/scripted"
)

// What a response costs is told inside of who asked for it, of who took it over, or else of the session.
func TestSpanOfAResponseIsInsideOfItsOwner(t *testing.T) {
	run(t, &scripted.Options{Replies: []scripted.Reply{{Text: "One."}, {Text: "Two."}, {Text: "Three."}}, Speed: 0.1}, nil, func(k *talk) {
		var asking, taking modeltest.Log
		told := func(who string, l *modeltest.Log, want int) {
			k.Helper()
			synctest.Wait() // the account of it follows its end
			got := l.Spans()
			if len(got) != want || want > 0 && (got[0].Name != "realtime_metrics" || got[0].Ends != 1 || got[0].Attrs["lk.realtime_model_metrics"] == "") {
				k.Errorf("%s was told %+v, want %d spans", who, got, want)
			}
		}
		ctx, cancel := context.WithCancel(asking.Context(k.Context()))
		g, err := k.s.Generate(ctx, nil)
		if err != nil {
			k.Fatal(err)
		}
		cancel()
		k.collect(g)
		told("who asked", &asking, 1)

		k.speak()
		k.gens[0].Inside(taking.Context(k.Context()))
		k.collect(k.gens[0])
		told("who took it over", &taking, 1)
		told("the session", &k.log, 0)

		k.speak()
		k.collect(k.gens[1])
		time.Sleep(time.Second)
		told("the session", &k.log, 1)
		if n := len(modeltest.Events[*metrics.Realtime](&k.log)); n != 3 {
			k.Errorf("%d events, want one of each response", n)
		}
	})
}

// What an answer costs may be stated with a later one, or never.
func TestUsageThatIsStatedLater(t *testing.T) {
	for name, stated := range map[string]bool{"stated": true, "never stated": false} {
		t.Run(name, func(t *testing.T) {
			run(t, nil, nil, func(k *talk) {
				k.script.Emit(&driver.ResponseCreated{ResponseID: "r"})
				k.script.Emit(&driver.Text{ResponseID: "r", ItemID: "i", Delta: "Some words of it."})
				k.script.Emit(&driver.ResponseDone{ResponseID: "r", Status: driver.Completed, UsageLater: true})
				synctest.Wait()
				if e := modeltest.Events[*metrics.Realtime](&k.log); len(e) != 0 {
					k.Errorf("booked too early: %+v", e)
				}
				if stated {
					k.script.Emit(&driver.ResponseUsage{ResponseID: "r"}) // nothing of its own
					k.script.Emit(&driver.ResponseUsage{ResponseID: "r"})
					synctest.Wait()
				}
				_ = k.s.Close()
				e := modeltest.Events[*metrics.Realtime](&k.log)
				if len(e) != 1 || e[0].RequestID != "r" || (e[0].Source == metrics.Estimated) == stated || (e[0].OutputTokens == 0) != stated {
					k.Errorf("booked %+v", e)
				}
			})
		})
	}
}
