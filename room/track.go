package room

import (
	"context"
	"io"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/rtp"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/audio/opus"
)

// rtpTrack is a track of somebody else, as WebRTC has it.
type rtpTrack interface {
	ReadRTP() (*rtp.Packet, interceptor.Attributes, error)
	SetReadDeadline(t time.Time) error
}

// maxChunks is how many packets of audio may wait for a reader: a second. The oldest is dropped.
const maxChunks = 50

// track decodes what somebody says.
type track struct {
	from   rtpTrack
	rate   int
	log    *slog.Logger
	chunks chan []int16
	stop   atomic.Bool
	done   chan struct{} // closed when the pump ended

	due     time.Time // when the next frame is due without packets; ReadFrame's own, as is the rest
	pending []int16
	used    int // of pending, by the last frame
}

// openTrack starts to read from t.
func openTrack(t rtpTrack, rate int, log *slog.Logger) frameSource {
	tr := &track{from: t, rate: rate, log: log, chunks: make(chan []int16, maxChunks), done: make(chan struct{})}
	go tr.pump()
	return tr
}

// pump reads until the track ends or is closed.
func (t *track) pump() {
	defer close(t.done)
	defer close(t.chunks)
	dec, err := opus.NewDecoder(1)
	if err != nil {
		t.log.Error("no opus decoder", "error", err)
		return
	}
	defer dec.Close()
	rs, err := audio.NewResampler(opus.Rate, t.rate, 1, audio.Fast)
	if err != nil {
		t.log.Error("cannot hear at this sample rate", "error", err)
		return
	}
	pcm := make([]int16, opus.MaxSamples)
	for {
		p, _, err := t.from.ReadRTP()
		if err != nil || t.stop.Load() {
			return
		}
		n, err := dec.Decode(pcm, p.Payload)
		if err != nil || n == 0 {
			continue
		}
		t.push(rs.Process(nil, pcm[:n]))
	}
}

func (t *track) push(chunk []int16) {
	for {
		select {
		case t.chunks <- chunk:
			return
		default:
		}
		select {
		case <-t.chunks:
		default:
		}
	}
}

// ReadFrame implements frameSource: what was said in the last 50 ms, silence if nothing came.
func (t *track) ReadFrame(ctx context.Context) (audio.Frame, error) {
	want := audio.SamplesIn(inputFrame, t.rate)
	t.pending = append(t.pending[:0], t.pending[t.used:]...)
	t.used = 0
	if t.due.IsZero() {
		t.due = time.Now().Add(inputFrame)
	}
	late := time.NewTimer(time.Until(t.due) + inputFrame)
	defer late.Stop()
	for len(t.pending) < want {
		select {
		case chunk, ok := <-t.chunks:
			if !ok {
				return audio.Frame{}, io.EOF
			}
			t.pending = append(t.pending, chunk...)
		case <-late.C:
			t.pending = append(t.pending, make([]int16, want-len(t.pending))...)
		case <-ctx.Done():
			return audio.Frame{}, context.Cause(ctx)
		}
	}
	t.due = time.Now().Add(inputFrame)
	t.used = want
	return audio.Frame{Data: t.pending[:want], Rate: t.rate, Channels: 1}, nil
}

// close implements frameSource.
func (t *track) close() {
	t.stop.Store(true)
	_ = t.from.SetReadDeadline(time.Now()) // wakes the pump
	<-t.done
	_ = t.from.SetReadDeadline(time.Time{}) // somebody may listen to the track again
}
