package moonshine

import (
	"context"
	"runtime"

	"github.com/parley-go/parley/plugins/moonshine/internal/tiny"
)

// running bounds the runs of this process. One core is left to those who hear and speak. There are
// no priorities: a run that is not needed any more is cancelled and leaves within milliseconds.
var running = newSlots(max(1, runtime.GOMAXPROCS(0)-1))

// keptScratches is how many sets of working memory, up to 24 MB each, are kept between runs.
const keptScratches = 4

// slots are the places of those who compute, with the memory they compute in.
type slots struct {
	places chan struct{}      // a value is a taken place; full means wait
	free   chan *tiny.Scratch // full means the memory is given back; empty means a new one is made
}

func newSlots(n int) *slots {
	return &slots{
		places: make(chan struct{}, n),
		free:   make(chan *tiny.Scratch, min(n, keptScratches)),
	}
}

// enter waits for a place. leave must be called with what it returns.
func (s *slots) enter(ctx context.Context) (*tiny.Scratch, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	select {
	case s.places <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	select {
	case scratch := <-s.free:
		return scratch, nil
	default:
		return &tiny.Scratch{}, nil
	}
}

func (s *slots) leave(scratch *tiny.Scratch) {
	select {
	case s.free <- scratch:
	default:
	}
	<-s.places
}
