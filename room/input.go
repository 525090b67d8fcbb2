package room

import (
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/rtp"

	"github.com/parley-go/parley/audio"
)

// maxPacket is more than any packet that fits through the network without being cut.
const maxPacket = 2048

// rtpTrack is a track of somebody else, as WebRTC has it.
type rtpTrack interface {
	Read(b []byte) (int, interceptor.Attributes, error)
	SetReadDeadline(t time.Time) error
}

// input is what a session hears: the track that is attached, and silence while none is. It
// implements session.AudioInput. The receiver lives as long as the input, so its clock goes on
// through mutes, new tracks and other people.
type input struct {
	*audio.Receiver
	log *slog.Logger

	mu     sync.Mutex // held while a track is exchanged
	pump   *pump      // nil while nothing is attached
	closed bool
}

func newInput(rate int, log *slog.Logger) (*input, error) {
	r, err := audio.NewReceiver(&audio.ReceiverOptions{SampleRate: rate})
	if err != nil {
		return nil, fmt.Errorf("audio input: %w", err)
	}
	return &input{Receiver: r, log: log}, nil
}

// attach listens to t from now on.
func (in *input) attach(t rtpTrack) { in.exchange(t) }

// detach listens to nothing.
func (in *input) detach() { in.exchange(nil) }

func (in *input) exchange(t rtpTrack) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.pump != nil {
		in.pump.close()
		in.pump = nil
	}
	if t != nil && !in.closed {
		in.pump = newPump(t, in.Receiver, in.log)
	}
}

// close ends the input: ReadFrame returns io.EOF from now on.
func (in *input) close() {
	in.mu.Lock()
	in.closed = true
	in.mu.Unlock()
	in.detach()
	_ = in.Close() // never fails
}

// pump carries packets from a track to a receiver.
type pump struct {
	from rtpTrack
	stop atomic.Bool
	done chan struct{} // closed when nothing is pushed any more
}

// newPump starts a pump. It ends with its track or by close.
func newPump(from rtpTrack, to *audio.Receiver, log *slog.Logger) *pump {
	p := &pump{from: from, done: make(chan struct{})}
	go p.run(to, log)
	return p
}

func (p *pump) run(to *audio.Receiver, log *slog.Logger) {
	defer close(p.done)
	defer func() {
		if v := recover(); v != nil { // what a peer sent must not end the process
			log.Error("panic while receiving audio", "panic", v)
		}
	}()
	var pkt rtp.Packet
	buf := make([]byte, maxPacket)
	for {
		n, _, err := p.from.Read(buf)
		if err != nil || p.stop.Load() {
			return
		}
		if pkt.Unmarshal(buf[:n]) == nil {
			to.Push(&pkt, time.Now())
		}
	}
}

// close stops the pump and waits until it has. The track can be read by another one afterwards.
func (p *pump) close() {
	p.stop.Store(true)
	_ = p.from.SetReadDeadline(time.Now()) // wakes it
	<-p.done
	_ = p.from.SetReadDeadline(time.Time{})
}
