package audio

import (
	"time"

	"github.com/parley-go/parley/audio/opus"
)

const (
	packetDuration = 20 * time.Millisecond
	// maxLate is how far behind the pacer catches up with packets sent at once. A process that
	// stood still for longer (a laptop that slept) goes on from where it is.
	maxLate = 200 * time.Millisecond
)

// pacer is what the goroutine of a Player keeps. Nobody else touches it, but for lookahead, which
// never changes.
type pacer struct {
	enc       opus.Encoder
	lookahead int
	next      time.Time // when the next packet is due
	// idle says that there was nothing to send, or no leave to, when it was due. Being late after
	// that is a silence, and no reason to catch up.
	idle   bool
	frame  [opus.FrameSamples]int16
	packet [opus.MaxBytes]byte
}

// untilPoked is the wait of a step that has nothing to do until somebody pokes.
const untilPoked = time.Duration(-1)

// run is the goroutine of the player. Close ends it.
func (p *Player) run() {
	defer close(p.done)
	defer p.pacer.enc.Close()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		wait, ended := p.step()
		switch {
		case ended:
			return
		case wait == untilPoked:
			<-p.wake
		case wait > 0:
			timer.Reset(wait)
			select {
			case <-p.wake:
			case <-timer.C:
			}
		}
	}
}

// step does the one thing that is due and returns how long to wait for the next.
func (p *Player) step() (wait time.Duration, ended bool) {
	p.mu.Lock()
	now := time.Now()
	switch due := p.pacer.next.Sub(now); {
	case p.seg.state == segmentCut:
		p.finish(now, true) // unlocks
		return 0, false
	case p.closed:
		p.mu.Unlock()
		return 0, true
	case p.seg.state == segmentOpen && p.seg.flushed && p.queue.n == 0 && p.seg.tail <= 0:
		// The last packet takes its time to be heard.
		if due > 0 {
			p.mu.Unlock()
			return due, false
		}
		p.finish(now, false) // unlocks
		return 0, false
	case !p.canSend():
		p.pacer.idle = true
		p.mu.Unlock()
		return untilPoked, false
	case due > 0:
		p.pacer.idle = false
		p.mu.Unlock()
		return due, false
	}
	p.setDue(now)
	p.send() // unlocks
	return 0, false
}

// canSend says whether there is a packet to send and leave to do so.
func (p *Player) canSend() bool {
	if p.seg.state != segmentOpen || p.paused {
		return false
	}
	return p.queue.n >= opus.FrameSamples || p.seg.flushed
}

// setDue decides when the packet that is about to be sent was due.
func (p *Player) setDue(now time.Time) {
	late := now.Sub(p.pacer.next)
	if !p.pacer.idle && late > maxLate {
		p.stats.Stalls++
	}
	if p.pacer.idle || late > maxLate {
		p.pacer.next = now
	}
	p.pacer.idle = false
}

// send encodes and sends a packet. It is called with the lock held and gives it back.
func (p *Player) send() {
	frame := p.pacer.frame[:]
	n := p.queue.take(frame)
	clear(frame[n:])
	p.seg.tail -= len(frame) - n
	p.mu.Unlock()
	poke(p.space)

	size, err := p.pacer.enc.Encode(p.pacer.packet[:], frame)
	p.mu.Lock()
	cut := p.seg.state != segmentOpen
	p.mu.Unlock()
	if cut {
		return // cleared while we encoded
	}
	if err == nil && size > 0 {
		err = p.w.WritePacket(Packet{
			Data:     p.pacer.packet[:size],
			Duration: packetDuration,
			At:       p.pacer.next,
			Level:    Level(frame),
		})
	}
	p.pacer.next = p.pacer.next.Add(packetDuration)

	p.mu.Lock()
	if err != nil {
		p.stats.Errors++
		p.mu.Unlock()
		return
	}
	p.stats.Packets++
	p.seg.sent += int64(n)
	first := !p.seg.started
	p.seg.started = true
	notify := p.notify
	p.mu.Unlock()
	if first && notify != nil {
		notify(PlaybackEvent{At: time.Now()})
	}
}

// finish ends the segment, tells so, and only then lets the next one open. It is called with the
// lock held and gives it back.
func (p *Player) finish(now time.Time, interrupted bool) {
	p.seg.state = segmentEnding
	event := PlaybackEvent{
		Finished:    true,
		At:          now,
		Played:      p.seg.played(p.rate).At(p.rate),
		Interrupted: interrupted,
	}
	notify := p.notify
	p.mu.Unlock()
	if notify != nil {
		notify(event)
	}
	p.pacer.enc.Reset()
	p.mu.Lock()
	p.seg = segment{}
	p.mu.Unlock()
	poke(p.space)
}
