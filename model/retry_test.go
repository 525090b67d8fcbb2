package model_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/model"
)

func TestConnOptionsDefaults(t *testing.T) {
	for _, c := range []struct{ in, want model.ConnOptions }{
		{model.ConnOptions{}, model.ConnOptions{MaxRetry: 3, RetryInterval: 2 * time.Second, Timeout: 10 * time.Second}},
		{model.ConnOptions{MaxRetry: -1}, model.ConnOptions{MaxRetry: 0, RetryInterval: 2 * time.Second, Timeout: 10 * time.Second}},
		{
			model.ConnOptions{MaxRetry: 7, RetryInterval: time.Second, Timeout: time.Minute},
			model.ConnOptions{MaxRetry: 7, RetryInterval: time.Second, Timeout: time.Minute},
		},
	} {
		if got := c.in.Defaults(); got != c.want {
			t.Errorf("%+v becomes %+v, want %+v", c.in, got, c.want)
		}
	}
}

func TestWaitBeforeRetries(t *testing.T) {
	asked := func(d time.Duration) error {
		return fmt.Errorf("call: %w", &model.Error{Kind: model.KindStatus, Status: 429, RetryAfter: d})
	}
	for _, c := range []struct {
		n    int
		err  error
		want time.Duration
	}{
		{0, nil, model.FirstRetryWait},
		{1, nil, 2 * time.Second},
		{5, nil, 2 * time.Second},
		{0, asked(5 * time.Second), 5 * time.Second},
		{1, asked(time.Second), 2 * time.Second},
		{0, asked(time.Hour), 30 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			began := time.Now()
			if err := (model.ConnOptions{}).Defaults().Wait(t.Context(), c.n, c.err); err != nil {
				t.Fatal(err)
			}
			if got := time.Since(began); got != c.want {
				t.Errorf("retry %d after %v waits %v, want %v", c.n, c.err, got, c.want)
			}
		})
	}
}

func TestWaitEndsWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		err := (model.ConnOptions{}).Defaults().Wait(ctx, 1, nil)
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Second {
			t.Errorf("got %v after %v", err, time.Since(began))
		}
	})
}

func TestHooksReachTheOwnerOfTheCallOnly(t *testing.T) {
	var mine, other []model.ErrorEvent
	ends := 0
	ctx := model.WithHooks(t.Context(), &model.Hooks{OnError: func(_ context.Context, e model.ErrorEvent) { other = append(other, e) }})
	ctx = model.WithHooks(ctx, &model.Hooks{
		OnError: func(_ context.Context, e model.ErrorEvent) { mine = append(mine, e) },
		StartSpan: func(ctx context.Context, name string, _ ...slog.Attr) (context.Context, func(error, ...slog.Attr)) {
			return ctx, func(error, ...slog.Attr) { ends++ }
		},
	})
	model.ReportError(ctx, model.ErrorEvent{Kind: "llm", Recoverable: true})
	_, end := model.StartSpan(ctx, "llm_request")
	end(nil)
	if len(mine) != 1 || mine[0].Kind != "llm" || len(other) != 0 || ends != 1 {
		t.Errorf("mine %v, other %v, %d spans ended", mine, other, ends)
	}
}

func TestCallsWithoutHooksWork(t *testing.T) {
	for name, ctx := range map[string]context.Context{
		"none": t.Context(), "nil": model.WithHooks(t.Context(), nil), "empty": model.WithHooks(t.Context(), &model.Hooks{}),
	} {
		model.ReportError(ctx, model.ErrorEvent{})
		got, end := model.StartSpan(ctx, "x")
		if got != ctx || end == nil {
			t.Errorf("%s: span changed the context", name)
			continue
		}
		end(nil)
	}
}
