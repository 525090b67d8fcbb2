package room

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/session"
)

// newTestRoom is a room that is not connected.
func newTestRoom(t *testing.T) *Room {
	t.Helper()
	r := newRoom(Options{Logger: slog.New(slog.DiscardHandler)})
	t.Cleanup(func() {
		r.finish("TEST")
		<-r.hub.done
	})
	if r.texts == nil {
		t.Fatal("the guard does not fit this SDK")
	}
	return r
}

func TestJoinRefusesWhatCannotWork(t *testing.T) {
	tests := map[string]struct {
		url, token string
		want       error
	}{
		"empty URL":   {"", "t", ErrURL},
		"no scheme":   {"example.com:7880", "t", ErrURL},
		"wrong":       {"ftp://example.com", "t", ErrURL},
		"no host":     {"ws://", "t", ErrURL},
		"rubbish":     {"ws://%zz", "t", ErrURL},
		"empty token": {"ws://127.0.0.1:1", "", ErrToken},
		"nobody home": {"ws://127.0.0.1:1", "secret-token", ErrUnreachable},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := Join(t.Context(), Options{URL: tt.url, Token: tt.token, Logger: slog.New(slog.DiscardHandler)})
			if !errors.Is(err, tt.want) {
				t.Fatalf("error %v, want %v", err, tt.want)
			}
			if s := err.Error(); strings.Contains(s, "\n") || strings.Contains(s, "secret-token") {
				t.Errorf("error %q is more than one line, or tells the token", s)
			}
		})
	}
}

func TestListenersHearEventsInOrderAndSurvivePanics(t *testing.T) {
	r := newTestRoom(t)
	r.hub.post(func() { r.presence.arrive(person("ann", "standard")) })
	got := make(chan string, 10) // more than the events of the test
	On(r, func(ParticipantJoined) { panic("user") })
	cancel := On(r, func(e ParticipantJoined) { got <- "+" + e.Participant.Identity })
	On(r, func(e Event) {
		if e, ok := e.(ParticipantLeft); ok {
			got <- "-" + e.Participant.Identity
		}
	})
	r.hub.post(func() { r.presence.arrive(person("bob", "standard")) })
	r.hub.post(func() { r.presence.depart("ann", nil, "X") })
	for _, want := range []string{"+ann", "+bob", "-ann"} {
		if e := <-got; e != want {
			t.Errorf("heard %s, want %s", e, want)
		}
	}
	cancel()
	cancel()
	r.hub.post(func() { r.presence.arrive(person("cat", "standard")) })
	On(r, func(e ParticipantJoined) { got <- "late " + e.Participant.Identity })
	for _, want := range []string{"late bob", "late cat"} {
		if e := <-got; e != want {
			t.Errorf("heard %s, want %s", e, want)
		}
	}
}

func TestHubDropsOnlyWhatMayBeDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHub(slog.New(slog.DiscardHandler))
		release := make(chan struct{})
		h.post(func() { <-release })
		synctest.Wait()
		offered, posted := 0, 0
		for range maxOffers + 10 {
			h.offer(func() { offered++ })
		}
		for range 10 {
			h.post(func() { posted++ })
		}
		close(release)
		h.close()
		<-h.done
		if offered != maxOffers || posted != 10 {
			t.Errorf("ran %d offers and %d posts, want %d and 10", offered, posted, maxOffers)
		}
		if h.post(func() {}) {
			t.Error("took work after close")
		}
	})
}

func TestWaitForParticipant(t *testing.T) {
	r := newTestRoom(t)
	r.hub.post(func() { r.presence.arrive(person("robot", "agent")) })
	type result struct {
		p   session.Participant
		err error
	}
	first, named := make(chan result, 1), make(chan result, 1)
	go func() { p, err := r.WaitForParticipant(t.Context(), ""); first <- result{p, err} }()
	go func() { p, err := r.WaitForParticipant(t.Context(), "robot"); named <- result{p, err} }()
	if got := <-named; got.err != nil || got.p.Identity != "robot" {
		t.Errorf("named: %+v", got)
	}
	r.hub.post(func() { r.presence.arrive(person("ann", "standard")) })
	if got := <-first; got.err != nil || got.p.Identity != "ann" {
		t.Errorf("first: %+v", got)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := r.WaitForParticipant(ctx, "zoe"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v, want the end of the context", err)
	}
	r.finish("TEST")
	if _, err := r.WaitForParticipant(t.Context(), "zoe"); !errors.Is(err, ErrDisconnected) {
		t.Errorf("error %v, want ErrDisconnected", err)
	}
}

func TestTextsWaitForTheirSender(t *testing.T) {
	r := newTestRoom(t)
	got := make(chan string, 10) // more than the events of the test
	On(r, func(e ParticipantJoined) { got <- "+" + e.Participant.Identity })
	On(r, func(e TextReceived) { got <- e.Participant.Identity + " " + e.Text })
	r.onText("ann", "one")
	r.onText("ann", "two")
	r.hub.post(func() { r.presence.arrive(person("bob", "standard")) })
	r.hub.post(func() { r.presence.arrive(person("ann", "standard")) })
	r.onText("ann", "three")
	for _, want := range []string{"+bob", "+ann", "ann one", "ann two", "ann three"} {
		if e := <-got; e != want {
			t.Errorf("heard %q, want %q", e, want)
		}
	}
	for range 2 * maxEarlyTexts {
		r.onText("nobody", "x")
	}
	kept := make(chan int, 1)
	r.hub.post(func() { kept <- len(r.early) })
	if n := <-kept; n != maxEarlyTexts {
		t.Errorf("%d texts wait for their sender, want %d", n, maxEarlyTexts)
	}
}

func TestSendWaitsForTheConnection(t *testing.T) {
	r := newTestRoom(t)
	r.setOnline(false)
	sent := make(chan error, 1)
	go func() { sent <- r.SendText(t.Context(), topicChat, "hello") }()
	r.finish("TEST")
	if err := <-sent; !errors.Is(err, ErrDisconnected) {
		t.Errorf("error %v, want ErrDisconnected", err)
	}
	if err := r.SendText(t.Context(), topicChat, strings.Repeat("x", MaxText+1)); !errors.Is(err, ErrTooLong) {
		t.Errorf("error %v, want ErrTooLong", err)
	}
}

func TestSDKLogsNoStructsAndNothingOutsideOfTheRoom(t *testing.T) {
	var out strings.Builder
	r := newTestRoom(t)
	log := newSDKLog(slog.New(slog.NewTextHandler(&out, nil)), r.inside).WithValues("a", 1, "conn", struct{ Token string }{"secret"})
	log.Warnw("early", nil)
	r.joined.Store(true)
	log.Infow("chatter")
	log.Errorw("late", errors.New("cause"), "b", "x", "params", &struct{ Token string }{"secret"})
	r.finish("TEST")
	log.Errorw("could not negotiate", errors.New("connection closed"))
	got := out.String()
	if strings.Contains(got, "secret") || strings.Contains(got, "negotiate") || strings.Contains(got, "early") || strings.Contains(got, "chatter") {
		t.Errorf("logged %q", got)
	}
	for _, want := range []string{"level=WARN", `msg="livekit: late"`, "error=cause", "a=1", "b=x"} {
		if !strings.Contains(got, want) {
			t.Errorf("logged %q, want %s in it", got, want)
		}
	}
}
