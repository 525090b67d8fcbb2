package realtimetest

import (
	"strings"
	"time"

	"github.com/parley-go/parley/audio"
	llm "github.com/parley-go/parley/llm/driver"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/realtime"
)

// Connections, one after the other.

func connectionsCase(k *kit) {
	t := k.talk(realtime.SessionOptions{})
	t.whole(t.speak(), words)
	t.s.Reconnect(false)
	find[*realtime.Reconnected](t, "another connection", nil)
	t.whole(t.speak(), words)
	k.usage()
	asked, conns := k.d.made()
	k.check(asked == 2 && len(conns) == 2, "%d connections were asked for, %d made", asked, len(conns))
	k.connections()
}

// connections checks that every connection was told of, also those that failed.
func (k *kit) connections() {
	k.Helper()
	dials := k.p.Served().Dials
	if dials == 0 {
		return
	}
	asked, conns := k.d.made()
	i, told := k.m.Info(), eventsOf[*metrics.Connection](k)
	fresh, failed := 0, 0
	for _, c := range told {
		k.check(c.Kind == "realtime" && c.Metadata == (metrics.Metadata{ModelName: i.Model, ModelProvider: i.Provider}) && c.AcquireTime >= 0, "event: %+v", c)
		switch {
		case c.Outcome == metrics.Failed:
			failed++
		case !c.Reused:
			fresh++
		}
	}
	k.check(failed == asked-len(conns), "%d events tell of failures; of %d connections that were asked for %d came about", failed, asked, len(conns))
	k.check(len(told)-failed >= len(conns), "%d events tell of %d connections", len(told)-failed, len(conns))
	k.check(fresh <= dials && dials <= fresh+failed, "%d events of dials, and %d of failures; the provider saw %d", fresh, failed, dials)
	acquired := 0
	for _, e := range eventsOf[*metrics.Realtime](k) {
		if e.Acquired {
			acquired++
		}
	}
	k.check(acquired == len(conns), "%d events of usage tell of a connection, there were %d", acquired, len(conns))
}

func reconnectCase(k *kit) {
	const more = "You are a pirate."
	t := k.talk(realtime.SessionOptions{Tools: []llm.ToolSpec{tool}})
	t.whole(t.speak(), words)
	t.heardIt(1)
	ctx, cancel := t.within()
	defer cancel()
	err := t.s.UpdateInstructions(ctx, more)
	k.check(err == nil, "UpdateInstructions: %v", err)
	t.s.Reconnect(false)
	find[*realtime.Reconnected](t, "another connection", nil)
	t.whole(t.speak(), words)
	k.carriedOver(more)
	k.check(len(k.errs()) == 0, "error events: %v", k.errs())
	k.usage()
}

// carriedOver checks that the provider knows the first turn, and what goes with it.
func (k *kit) carriedOver(instructions string) {
	k.Helper()
	asked := k.last()
	k.check(asked.has("assistant", words), "the provider knows %q", asked.texts())
	k.check(!k.caps.UserTranscription || asked.has("user", k.h.Text), "the provider knows %q", asked.texts())
	k.check(strings.Contains(asked.Instructions, instructions), "the provider knows instructions %q", asked.Instructions)
	k.check(len(asked.Tools) == 1, "the provider knows tools %+v", asked.Tools)
}

// renew asks for another connection until there is one: the session learns of one that was made a moment later.
func (t *talk) renew() {
	t.k.Helper()
	for end := time.Now().Add(t.k.h.Patience); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		t.s.Reconnect(false)
		if asked, _ := t.k.d.made(); asked > 1 {
			return
		}
	}
	t.k.check(false, "no other connection within %v; error events: %v", t.k.h.Patience, t.k.errs())
}

func reconnectInTurnCase(k *kit) {
	t := k.talk(realtime.SessionOptions{})
	half := audio.SamplesIn(400*time.Millisecond, k.h.Speech.Rate) * k.h.Speech.Channels
	first, rest := k.h.Speech, k.h.Speech
	first.Data, rest.Data = first.Data[:half], rest.Data[half:]
	_ = t.s.StartTurn() // which says that it is not ours if it is not
	t.push(first)
	if !t.o.ClientTurns {
		find[*realtime.SpeechStarted](t, "start of speech", nil)
	} else {
		t.connected()
	}
	t.renew()
	find[*realtime.Reconnected](t, "another connection", nil)
	t.push(rest)
	var g *realtime.Generation
	if t.o.ClientTurns {
		_ = t.s.Commit()
		g = t.generate(nil)
	} else {
		g = t.next()
	}
	t.whole(g, words)
	t.heardIt(1)
	for _, x := range k.last().Turns {
		k.check(x.Role != "user" || x.Audio <= k.h.Speech.Duration()+2*time.Second, "%v were said, and %v heard", k.h.Speech.Duration(), x.Audio)
	}
	k.check(len(k.errs()) == 0, "error events: %v", k.errs())
	k.usage()
}

func maxAgeCase(k *kit) {
	k.renew(1500 * time.Millisecond)
	t := k.talk(realtime.SessionOptions{Tools: []llm.ToolSpec{tool}})
	t.whole(t.speak(), words)
	t.heardIt(1)
	find[*realtime.Reconnected](t, "connection that takes the place of an old one", nil)
	t.whole(t.speak(), words)
	k.carriedOver(t.o.Instructions)
	k.check(len(k.errs()) == 0, "error events: %v", k.errs())
	k.usage()
}
