package realtimetest

import (
	"errors"
	"strings"
	"time"

	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/model/fault"
	"github.com/parley-go/parley/realtime"
)

// faultCases are the demands on a driver whose provider does something wrong.
func faultCases() []Case {
	survived := "a provider that cannot be reached once is asked again: what the user said meanwhile is heard and answered, and one recoverable error event tells"
	told := "an answer that breaks off ends in an error, or is given again: an error event tells, the session goes on over another connection, and what was used is booked"
	gone := "a provider that stays away ends the session in an error, after the attempts that were allowed"
	return []Case{
		{"refused once", survived, fault.Once(fault.Refuse), survivedCase},
		{"slow dial", survived, fault.Once(fault.SlowDial), survivedCase},
		{"closed early once", survived, fault.Once(fault.CloseEarly), survivedCase},
		{"status 429 once", survived + ", and not before the provider wants it", fault.Once(fault.RateLimit), rateLimitCase},
		{"status 503 once", survived, fault.Once(fault.ServerError), survivedCase},
		{"refused always", gone, fault.Always(fault.Refuse), goneCase},
		{"no secure connection", gone, fault.Always(fault.TLSFailure), goneCase},
		{"wrong key", "a refusal for good is not tried again and says its status", fault.Always(fault.Unauthorized), unauthorizedCase},
		{"reset", told, fault.Once(fault.Reset), brokenCase},
		{"hung up", told, fault.Once(fault.HangUp), brokenCase},
		{"stalled", told, fault.Once(fault.Stall), brokenCase},
		{"half open", told, fault.Once(fault.HalfOpen), brokenCase},
		{"malformed", told, fault.Once(fault.Malformed), brokenCase},
		{"oversized", told, fault.Once(fault.Oversized), brokenCase},
		{"silence", "an answer that was asked for and does not begin is an error, and the session goes on", fault.Once(fault.Silence), silenceCase},
		{"failed once", "an answer of which nothing came when it failed is asked for again, once, and an error event tells", fault.Plan{}, failedOnceCase},
		{"failed always", "an answer that fails again and again ends in an error, and the session goes on", fault.Plan{}, failedAlwaysCase},
		{"double final", "an answer that ends twice is the same as one that ends once", fault.Once(fault.DoubleFinal), wholeCase},
		{"usage missing", "an answer whose usage is not stated is good, and its cost is estimated", fault.Once(fault.UsageMissing), wholeCase},
		{"usage repeated", "usage that is stated twice is booked once", fault.Once(fault.UsageRepeated), wholeCase},
	}
}

// event checks that there was one error event, which was recoverable, and returns its error.
func (k *kit) event() error {
	k.Helper()
	all := k.errs()
	k.check(len(all) == 1 && all[0].Recoverable && all[0].Kind == "realtime" && all[0].Info == k.m.Info(), "error events: %+v", all)
	return all[0].Err
}

func survivedCase(k *kit) {
	t := k.talk(realtime.SessionOptions{})
	t.whole(t.speak(), words)
	t.heardIt(1)
	_ = k.event()
	k.usage()
	k.connections()
}

func rateLimitCase(k *kit) {
	began := time.Now()
	t := k.talk(realtime.SessionOptions{})
	t.whole(t.speak(), words)
	t.heardIt(1)
	var e *model.Error
	k.check(errors.As(k.event(), &e) && e.Kind == model.KindStatus && e.Status == 429 && e.RetryAfter > 0, "the error is %v", k.errs()[0].Err)
	k.check(time.Since(began) >= e.RetryAfter, "the provider was asked again after %v, and wanted %v", time.Since(began), e.RetryAfter)
	k.usage()
}

func goneCase(k *kit) {
	t := k.talk(realtime.SessionOptions{})
	t.push(k.h.Speech)
	var e *model.Error
	err := t.failure()
	k.check(errors.As(err, &e), "the error is %v, want a *model.Error", err)
	all := k.errs()
	k.check(len(all) == 3 && all[0].Recoverable && all[1].Recoverable && !all[2].Recoverable, "error events: %+v", all)
	asked, _ := k.d.made()
	k.check(asked == 3, "%d connections were asked for", asked)
	k.usage()
	k.connections()
}

func unauthorizedCase(k *kit) {
	t := k.talk(realtime.SessionOptions{})
	var e *model.Error
	err := t.failure()
	k.check(errors.As(err, &e) && e.Kind == model.KindStatus && e.Status == 401, "the error is %v", err)
	all := k.errs()
	k.check(len(all) == 1 && !all[0].Recoverable, "error events: %+v", all)
}

func brokenCase(k *kit) {
	t := k.talk(realtime.SessionOptions{})
	a := t.read(t.speak())
	switch a.status {
	case realtime.Completed:
		k.check(a.err == nil && same(a.text, words), "the answer was %q: %v", a.text, a.err)
	default:
		var e *model.Error
		k.check(errors.As(a.err, &e), "the answer ended %q: %v, want a *model.Error", a.status, a.err)
		k.check(strings.HasPrefix(words, strings.TrimSpace(a.text)), "the answer was %q", a.text)
	}
	find[*realtime.Reconnected](t, "another connection", nil)
	k.check(len(k.errs()) > 0 && k.errs()[0].Recoverable, "error events: %+v", k.errs())
	t.whole(t.speak(), words)
	k.check(len(k.errs()) == 1, "error events: %+v", k.errs())
	k.usage()
}

func silenceCase(k *kit) {
	t := k.talk(realtime.SessionOptions{})
	ctx, cancel := t.within()
	defer cancel()
	_, err := t.s.Generate(ctx, nil)
	if errors.Is(err, realtime.ErrUnsupported) {
		k.Skip("the model answers what it hears, and cannot be asked for more")
	}
	var e *model.Error
	k.check(errors.As(err, &e) && e.Kind == model.KindTimeout, "Generate: %v", err)
	t.whole(t.speak(), words)
	k.check(len(k.errs()) > 0 && k.errs()[0].Recoverable, "error events: %+v", k.errs())
	_, _ = k.stated() // whether the answer that did not come is billed is not known
}

// fails has the first n answers fail.
func (k *kit) fails(n int) {
	k.answer = func(Asked) Reply {
		if n--; n >= 0 {
			return Reply{Status: "failed", Reason: "server_error"}
		}
		return Reply{Text: words}
	}
}

func failedOnceCase(k *kit) {
	k.fails(1)
	t := k.talk(realtime.SessionOptions{})
	t.whole(t.speak(), words)
	_ = k.event()
	k.usage()
	n := 0
	for _, e := range eventsOf[*metrics.Realtime](k) {
		if e.Outcome == metrics.Failed {
			n++
		}
	}
	k.check(n <= 1, "one failure is booked %d times", n)
}

func failedAlwaysCase(k *kit) {
	k.fails(3)
	t := k.talk(realtime.SessionOptions{})
	a := t.read(t.speak())
	var e *model.Error
	k.check(a.status == realtime.Failed && errors.As(a.err, &e), "the answer ended %q: %v", a.status, a.err)
	k.usageGoesOn(t)
	k.check(len(k.errs()) == 3, "error events: %+v", k.errs()) // the last one may be told after the answer ended
}

// usageGoesOn checks that the session still works, and its usage.
func (k *kit) usageGoesOn(t *talk) {
	k.Helper()
	t.whole(t.speak(), words)
	k.usage()
}

func wholeCase(k *kit) {
	t := k.talk(realtime.SessionOptions{})
	for i := range 2 {
		t.whole(t.speak(), words)
		t.heardIt(i + 1)
	}
	k.check(len(k.errs()) == 0, "error events: %+v", k.errs())
	k.usage()
}
