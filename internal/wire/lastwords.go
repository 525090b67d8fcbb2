package wire

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"github.com/parley-go/parley/model"
)

const (
	// lastWords is how long a provider may explain itself after it took no more.
	lastWords = 250 * time.Millisecond
	// maxReason is how long, in bytes, a message may be that says why; what is longer is part of an answer.
	maxReason = 16 << 10
)

// Reason makes a SocketOptions.Reason of refused, which gets messages decoded; those that cannot be are no
// reasons.
func Reason[M any](refused func(*M) error) func(text []byte) error {
	return func(text []byte) error {
		var m M
		if json.Unmarshal(text, &m) != nil {
			return nil
		}
		return refused(&m)
	}
}

// words are the last messages of a provider, the newest first. A provider that refuses says why and hangs
// up, and may say something else in between.
type words struct {
	mu   sync.Mutex
	last [4][]byte
}

func (w *words) note(m Message) {
	if m.Binary || len(m.Data) > maxReason {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	copy(w.last[1:], w.last[:])
	w.last[0] = m.Data
}

func (w *words) forget() {
	w.mu.Lock()
	defer w.mu.Unlock()
	clear(w.last[:])
}

// find returns the newest reason.
func (w *words) find(reason func([]byte) error) error {
	w.mu.Lock()
	last := w.last
	w.mu.Unlock()
	for _, text := range last {
		if text == nil {
			break
		}
		if err := reason(text); err != nil {
			return err
		}
	}
	return nil
}

// unsent is the error of a send that failed with err, and ends the connection, on which half a message may
// be out. What the provider said before it hung up tells more, and may not have been read yet: it gets
// some time.
func (s *Socket) unsent(ctx context.Context, err error) error {
	if isTimeout(err) { // it had all the time of a send
		overdue(ctx)
	} else {
		t := time.NewTimer(lastWords)
		select {
		case <-s.dead:
		case <-s.stop:
		case <-t.C:
		}
		t.Stop()
	}
	reason := s.reason("send")
	_ = s.ws.UnderlyingConn().Close()
	if reason != nil {
		return reason
	}
	if errors.Is(err, websocket.ErrCloseSent) {
		err = net.ErrClosed
	}
	return s.peer.Error(model.KindConnection, "send", err)
}

// overdue waits for the end of a context whose deadline has passed. A connection may notice that first: who
// then sees it fail must find the context over, and nobody else to blame.
func overdue(ctx context.Context) {
	if d, ok := ctx.Deadline(); !ok || time.Now().Before(d) {
		return
	}
	t := time.NewTimer(lastWords)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// reason is why the provider wants no more: what it said, or how it ended the connection; nil if it did
// neither.
func (s *Socket) reason(op string) error {
	if s.o.Reason != nil {
		if err := s.said.find(s.o.Reason); err != nil {
			return err
		}
	}
	select {
	case <-s.dead:
		return s.peer.closed(op, s.readErr)
	default:
		return nil
	}
}
