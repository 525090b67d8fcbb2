package attempt_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/parley-go/parley/internal/attempt"
	"github.com/parley-go/parley/model"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var info = model.Info{Provider: "example"}

func TestPanicBecomesAnErrorWithoutItsValue(t *testing.T) {
	err := attempt.Guard(info, "open", func() error { panic("key sk-secret is bad") })
	var e *model.Error
	if !errors.As(err, &e) || !e.Permanent || model.Retryable(err) || strings.Contains(err.Error(), "sk-secret") {
		t.Errorf("got %v", err)
	}
	err = attempt.Guard(info, "open", func() error { return write(nil) })
	if err == nil || !strings.Contains(err.Error(), "nil map") {
		t.Errorf("a runtime error lost its text: %v", err)
	}
}

func write(m map[string]int) error {
	m["x"] = 1
	return nil
}

func TestExhaustedNamesAttempts(t *testing.T) {
	cause := &model.Error{Kind: model.KindStatus, Status: 503, RequestID: "r1"}
	if got := attempt.Exhausted(info, "chat", 1, cause); got != error(cause) {
		t.Errorf("one attempt: %v", got)
	}
	err := attempt.Exhausted(info, "chat", 4, cause)
	var e *model.Error
	if !errors.As(err, &e) || e.Kind != model.KindConnection || e.RequestID != "r1" || !errors.Is(err, cause) || !strings.Contains(err.Error(), "4 attempts") {
		t.Errorf("four attempts: %v", err)
	}
}

func TestClassifyTellsOurTimeoutFromTheCallers(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	own := errors.New("own")
	for _, c := range []struct {
		name    string
		ctx     context.Context
		err     error
		timeout bool
	}{
		{"ours", t.Context(), context.DeadlineExceeded, true},
		{"the caller's", ended, context.DeadlineExceeded, false},
		{"another error", t.Context(), own, false},
		{"none", t.Context(), nil, false},
	} {
		got := attempt.Classify(c.ctx, info, "open", time.Second, c.err)
		var e *model.Error
		if is := errors.As(got, &e) && e.Kind == model.KindTimeout; is != c.timeout || !c.timeout && got != c.err {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

func TestWatchdogCountsOnlyWaitsForAnOwedAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bitten := make(chan time.Time, 2)
		began := time.Now()
		w := attempt.NewWatchdog(time.Second, func() { bitten <- time.Now() })
		w.Wait()
		time.Sleep(time.Hour) // nothing is owed
		w.Arm()
		time.Sleep(900 * time.Millisecond)
		w.Got()
		time.Sleep(time.Hour) // nobody waits
		w.Wait()
		time.Sleep(time.Hour)
		synctest.Wait()
		w.Got()
		if n := len(bitten); n != 1 {
			t.Fatalf("bit %d times, want once", n)
		}
		if got, want := (<-bitten).Sub(began), 2*time.Hour+1900*time.Millisecond; got != want {
			t.Errorf("bit after %v, want %v", got, want)
		}
	})
}

func TestUnsent(t *testing.T) {
	err := fmt.Errorf("dial: %w", attempt.Unsent(context.Canceled))
	if !attempt.IsUnsent(err) || !errors.Is(err, context.Canceled) || attempt.IsUnsent(context.Canceled) {
		t.Error(err)
	}
}
