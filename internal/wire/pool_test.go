package wire

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/parley-go/parley/model"
)

// A dial that took all the time of an attempt is not waited for by the next one, also when the attempt
// was cancelled for being late and had no deadline.
func TestALateDialIsGivenUp(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0") // accepts, and never answers
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	dials := make(chan struct{}, 4)
	p := NewPool(&Peer{}, PoolOptions{Open: func(context.Context) (SocketOptions, error) {
		dials <- struct{}{}
		return SocketOptions{URL: "ws://" + ln.Addr().String()}, nil
	}})
	defer p.Close(t.Context())
	try := func(cause error) {
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(20*time.Millisecond, func() { cancel(cause) })
		if _, err := p.Acquire(ctx); err == nil {
			t.Fatal("there is a connection")
		}
	}
	try(nil)                                   // nobody wants the answer: the dial goes on,
	try(&model.Error{Kind: model.KindTimeout}) // this attempt joins it, and gives it up,
	try(nil)                                   // and this one dials again
	if n := len(dials); n != 2 {
		t.Fatalf("%d dials, want 2", n)
	}
}
