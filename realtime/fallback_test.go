package realtime_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/internal/modeltest"
	"github.com/parley-go/parley/llm/chat"
	llm "github.com/parley-go/parley/llm/driver"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/realtime"
	"github.com/parley-go/parley/realtime/scripted"
)

// brand is a scripted model of a provider.
func brand(name string, o scripted.Options) (*realtime.Model, *scripted.Realtime) {
	o.Info = model.Info{Label: name + ".Realtime", Provider: name, Model: name + "-1"}
	s := scripted.New(&o)
	return realtime.New(s, nil), s
}

// fall holds a conversation with a fallback in a bubble.
func fall(t *testing.T, o *realtime.FallbackOptions, so *realtime.SessionOptions, f func(k *talk, a, b *scripted.Realtime), as, bs scripted.Options) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		a, aScript := brand("a", as)
		b, bScript := brand("b", bs)
		k := &talk{TB: t}
		k.open(realtime.Fallback(o, a, nil, b), so)
		f(k, aScript, bScript)
		k.close()
		if n := aScript.Ledger().Open + bScript.Ledger().Open; n != 0 {
			t.Errorf("%d connections open", n)
		}
	})
}

var gone = &model.Error{Kind: model.KindStatus, Provider: "a", Op: "connect", Status: 401}

func TestC114ModelFailsWhileItSpeaks(t *testing.T) {
	as := scripted.Options{Texts: []string{"Hello."}, Speed: 1, Replies: []scripted.Reply{{Text: long}}, Faults: []scripted.Fault{{Conn: 1, Err: gone}}}
	so := &realtime.SessionOptions{Instructions: "Be kind.", Tools: []llm.ToolSpec{{Name: "t"}}}
	fall(t, nil, so, func(k *talk, a, b *scripted.Realtime) {
		k.swap = func(e *realtime.Swapping) {
			c := k.s.Context()
			m := *c.Items()[1].(*chat.Message)
			m.Content, m.Interrupted = []chat.Part{chat.Text("Once upon")}, true
			c.Upsert(&m)
			e.Continue(c)
			e.Continue(nil) // counts no more
		}
		k.speak()
		time.Sleep(time.Second)
		a.Break(down)
		ans := k.collect(k.gens[0])
		if ans.err == nil || ans.audio < time.Second {
			k.Error(ans)
		}
		time.Sleep(3 * time.Second)
		k.expect("events", k.told(), "started", "stopped user_0_1", `item user_0_1 after ""`, `transcript user_0_1 "Hello." final true`,
			"generation resp_0_2", "swapping a to b cut true", "reconnected to b swapped true cut true")
		s := b.Ledger().Setups[0]
		k.expect("history", history(s.History), `user_0_1 user "Hello." false`, `item_0_3 assistant "Once upon" true`)
		if s.Instructions != "Be kind." || len(s.Tools) != 1 {
			k.Errorf("%+v", s)
		}
		if h := b.Ledger().Heard[0]; h > time.Second {
			k.Errorf("%v of audio sent again", h)
		}
		if g := k.generate(nil); g.text != "Yes." {
			k.Error(g)
		}
		if k.s.Info().Provider != "b" {
			k.Error(k.s.Info())
		}
		k.expect("errors", k.errorsTold(), "recoverable: scripted break: connection error", "recoverable: a connect: status error (status 401)")
		k.expect("availability", k.log.Availability(), "realtime a fails")
		synctest.Wait() // a generation ends before it is booked
		var who []string
		for _, e := range modeltest.Events[*metrics.Realtime](&k.log) {
			who = append(who, fmt.Sprint(e.Metadata.ModelProvider, " ", e.Outcome))
		}
		k.expect("accounts", who, "a failed", "b delivered")
	}, as, scripted.Options{})
}

func TestC114NobodyNeedsToRepeatWhatWasNotCutOff(t *testing.T) {
	as := scripted.Options{Faults: []scripted.Fault{{When: scripted.AtSend, Err: gone}}}
	fall(t, nil, nil, func(k *talk, _, b *scripted.Realtime) {
		if a := k.generate(nil); a.text != "Yes." || a.err != nil { // asked of the other one
			k.Error(a)
		}
		k.expect("events", k.told(), "swapping a to b cut false", "reconnected to b swapped true cut false")
	}, as, scripted.Options{})
}

func TestC114RegenerationCanBeOff(t *testing.T) {
	as := scripted.Options{Replies: []scripted.Reply{{Text: long}}, Faults: []scripted.Fault{{When: scripted.AtOutput, Err: gone}}}
	fall(t, &realtime.FallbackOptions{NoRegenerate: true}, nil, func(k *talk, _, b *scripted.Realtime) {
		if a := k.generate(nil); a.err == nil {
			k.Error(a)
		}
		time.Sleep(3 * time.Second)
		k.expect("events", k.told(), "swapping a to b cut false", "reconnected to b swapped true cut false")
	}, as, scripted.Options{})
}

func TestC114WhenAllFailTheSessionEnds(t *testing.T) {
	all := scripted.Options{Faults: []scripted.Fault{{Conn: -1, Err: gone}}}
	fall(t, nil, nil, func(k *talk, a, b *scripted.Realtime) {
		<-k.read
		if k.err == nil || !strings.Contains(k.err.Error(), "all 2 models failed within") || !errors.Is(k.err, gone) {
			k.Error(k.err)
		}
		if r := k.recoverable(); len(r) != 2 || !r[0] || r[1] {
			k.Errorf("%q", k.errorsTold())
		}
		if a.Ledger().Connects != 1 || b.Ledger().Connects != 1 {
			k.Error("asked more than once")
		}
	}, all, all)
}

func TestTheFirstModelIsPreferredAfterItsCooldown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, aScript := brand("a", scripted.Options{Faults: []scripted.Fault{{Conn: 0, Err: gone}}})
		b, bScript := brand("b", scripted.Options{})
		m := realtime.Fallback(&realtime.FallbackOptions{Cooldown: 20 * time.Second}, realtime.Fallback(nil, a), b)
		open := func() string {
			k := &talk{TB: t}
			k.open(m, nil)
			if x := k.generate(nil); x.err != nil {
				t.Error(x)
			}
			who := k.s.Info().Provider
			k.close()
			return who
		}
		for i, want := range []string{"b", "b", "a", "a"} {
			if got := open(); got != want {
				t.Errorf("session %d is with %s, want %s", i, got, want)
			}
			if i == 1 {
				time.Sleep(20 * time.Second)
			}
		}
		if m.Info().Provider != "a" || aScript.Ledger().Connects != 3 || bScript.Ledger().Connects != 2 {
			t.Errorf("%d, %d connections", aScript.Ledger().Connects, bScript.Ledger().Connects)
		}
	})
}

func TestModelsAreSwitchedOnDemand(t *testing.T) {
	fall(t, nil, nil, func(k *talk, a, b *scripted.Realtime) {
		k.generate(nil)
		k.s.Reconnect(true)
		time.Sleep(3 * time.Second) // nobody calls Continue
		k.expect("events", k.told(), "swapping a to b cut false", "reconnected to b swapped true cut false")
		if got := history(b.Ledger().Setups[0].History); len(got) != 1 {
			k.Errorf("%q", got)
		}
		k.expect("errors", k.errorsTold())
		k.expect("availability", k.log.Availability())
	}, scripted.Options{}, scripted.Options{})
}

func TestFallbackOfModelsThatDoNotAgree(t *testing.T) {
	c := scripted.All
	c.AudioOutput, c.Say = false, false
	a, _ := brand("a", scripted.Options{})
	b, _ := brand("b", scripted.Options{Capabilities: &c})
	m := realtime.Fallback(nil, a, b)
	if _, err := m.Session(t.Context(), nil); err == nil {
		t.Error("no error")
	}
	if m.Capabilities().Say || !m.Capabilities().Truncation {
		t.Errorf("%+v", m.Capabilities())
	}
	if _, err := realtime.Fallback(nil).Session(t.Context(), nil); err == nil {
		t.Error("no error of a fallback without models")
	}
}
