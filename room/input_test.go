package room

import (
	"context"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/rtp"

	"github.com/parley-go/parley/audio"
)

// numbered is a track that sends frames of one value.
type numbered struct {
	value  int16
	closed chan struct{}
	once   sync.Once
}

func (n *numbered) ReadFrame(ctx context.Context) (audio.Frame, error) {
	due := time.NewTimer(inputFrame)
	defer due.Stop()
	select {
	case <-due.C:
		f := audio.Silence(inputFrame, 24000, 1)
		f.Data[0] = n.value
		return f, nil
	case <-n.closed:
		return audio.Frame{}, io.EOF
	case <-ctx.Done():
		return audio.Frame{}, ctx.Err()
	}
}

func (n *numbered) close() { n.once.Do(func() { close(n.closed) }) }

type fakeTrack struct{ value int16 }

func (*fakeTrack) ReadRTP() (*rtp.Packet, interceptor.Attributes, error) { return nil, nil, io.EOF }
func (*fakeTrack) SetReadDeadline(time.Time) error                       { return nil }

func newTestInput() *input {
	return newInputFrom(24000, func(t rtpTrack) frameSource {
		return &numbered{value: t.(*fakeTrack).value, closed: make(chan struct{})}
	})
}

func TestInputIsAClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := newTestInput()
		start := time.Now()
		go func() {
			time.Sleep(1010 * time.Millisecond)
			in.attach(&fakeTrack{1})
			time.Sleep(time.Second)
			in.attach(&fakeTrack{2}) // another microphone
			time.Sleep(time.Second)
			in.detach()
			time.Sleep(time.Second)
			in.close()
		}()
		var heard time.Duration
		count := map[int16]int{}
		for {
			f, err := in.ReadFrame(t.Context())
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			heard += f.Duration()
			count[f.Data[0]]++
			if d := time.Since(start) - heard; d < -inputFrame || d > 5*inputFrame {
				t.Fatalf("after %v, %v were heard", time.Since(start), heard)
			}
		}
		if count[0] < 38 || count[1] < 18 || count[2] < 18 {
			t.Errorf("frames of silence and of the two tracks: %v", count)
		}
	})
}

func TestReadFrameEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := newTestInput()
		for _, attach := range []bool{false, true} {
			if attach {
				in.attach(&fakeTrack{1})
			}
			ctx, cancel := context.WithTimeout(t.Context(), inputFrame/2)
			if _, err := in.ReadFrame(ctx); err != context.DeadlineExceeded {
				t.Errorf("error %v, want the end of the context", err)
			}
			cancel()
		}
		in.close()
		in.close()
	})
}
