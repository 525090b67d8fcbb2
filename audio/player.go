package audio

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/parley-go/parley/audio/opus"
)

var (
	// ErrCleared is returned by a Write whose segment was cleared before all of it was queued.
	ErrCleared = errors.New("the segment was cleared")
	// ErrClosed is returned by the methods of something that was closed.
	ErrClosed = errors.New("closed")
)

// Packet is 20 ms of encoded audio on its way to the network.
type Packet struct {
	Data     []byte        // an Opus packet, borrowed until WritePacket returns
	Duration time.Duration // 20 ms
	// At is when the audio of the packet begins. It is exactly one Duration after the packet before,
	// also when that one or this one was sent late, and further after a silence. RTP timestamps are
	// made from it, so that they count on over a silence as RFC 3550 wants it; sequence numbers do
	// not jump there, since nothing was lost.
	At    time.Time
	Level uint8 // decibels below full scale (RFC 6464): 0 is the loudest, 127 is silence
}

// PacketWriter sends packets. A Player calls it from one goroutine. WritePacket does not block; an
// error loses the packet and nothing else.
type PacketWriter interface {
	WritePacket(p Packet) error
}

// PlaybackEvent tells about a segment of a Player: once that it started, when its first packet was
// sent, and exactly once that it finished, also when it never started.
type PlaybackEvent struct {
	Finished    bool          // false: playback started
	At          time.Time     // when it happened
	Played      time.Duration // finished: how much was played
	Interrupted bool          // finished: cleared before the end
}

// PlayerOptions are the settings of a Player. The zero value works.
type PlayerOptions struct {
	SampleRate int           // of what is written, in Hz; default 24000
	Queue      time.Duration // how much audio may wait to be sent; default 200 ms, at least 40 ms
	Encoder    opus.EncoderConfig
}

// PlayerStats counts what a Player did.
type PlayerStats struct {
	Packets int64 // sent
	Errors  int64 // packets that could not be encoded or sent
	Stalls  int64 // times that the process stood still for so long that the time was given up
}

// Player sends a voice to the network in real time, one segment (an utterance) at a time: written
// audio is resampled, encoded, and sent in packets of 20 ms. While there is nothing to play,
// nothing is sent.
//
// The methods may be called from any goroutine. Close ends the Player.
type Player struct {
	w    PacketWriter
	rate int

	writing chan struct{} // holds one token: that of the Write at work
	space   chan struct{} // size 1, never waited on to send: a waiting Write should look again
	wake    chan struct{} // size 1, never waited on to send: the pacer should look again
	done    chan struct{} // closed when the pacer has ended

	mu      sync.Mutex // never held while waiting, encoding or calling out
	notify  func(PlaybackEvent)
	rs      *Resampler
	scratch []int16
	queue   ring // at 48 kHz
	limit   int  // of the queue
	seg     segment
	clears  int // segments that were cut off so far; tells a Write that its segment is gone
	paused  bool
	closed  bool
	stats   PlayerStats
	pacer   pacer
}

type segmentState int

const (
	segmentNone   segmentState = iota
	segmentOpen                // taking in audio, or flushed and playing to its end
	segmentCut                 // cleared; the pacer has to finish it
	segmentEnding              // the pacer is telling that it finished
)

// segment is the state of one utterance. Only one exists at a time: the next opens when the end of
// the one before was told.
type segment struct {
	state   segmentState
	pushed  Samples // taken in, at the rate of the player
	sent    int64   // samples at 48 kHz whose packet was sent, without padding
	skip    int     // samples that the resampler runs behind and that are still to be dropped
	tail    int     // flushed: silence still to be sent, until the encoder has given its last sample
	flushed bool
	started bool
}

// played is how much of the segment was sent, in samples at the rate of the player.
func (s *segment) played(rate int) Samples {
	return min(Samples(s.sent*int64(rate)/opus.Rate), s.pushed)
}

// NewPlayer starts a player that sends to w. opts may be nil. The caller closes it.
func NewPlayer(w PacketWriter, opts *PlayerOptions) (*Player, error) {
	var o PlayerOptions
	if opts != nil {
		o = *opts
	}
	if o.SampleRate == 0 {
		o.SampleRate = 24000
	}
	if o.Queue == 0 {
		o.Queue = 200 * time.Millisecond
	}
	if o.Queue < 2*packetDuration {
		return nil, fmt.Errorf("new player: queue of %v, want at least %v", o.Queue, 2*packetDuration)
	}
	if o.Encoder.Channels > 1 {
		return nil, fmt.Errorf("new player: %d channels, want 1", o.Encoder.Channels)
	}
	rs, err := NewResampler(o.SampleRate, opus.Rate, 1, Fast)
	if err != nil {
		return nil, fmt.Errorf("new player: %w", err)
	}
	enc, err := opus.NewEncoder(o.Encoder)
	if err != nil {
		return nil, fmt.Errorf("new player: %w", err)
	}
	return startPlayer(w, o, rs, enc), nil
}

// startPlayer takes over the encoder.
func startPlayer(w PacketWriter, o PlayerOptions, rs *Resampler, enc opus.Encoder) *Player {
	limit := SamplesIn(o.Queue, opus.Rate)
	p := &Player{
		w: w, rate: o.SampleRate, rs: rs, limit: limit,
		queue:   newRing(limit + rs.MaxOutput(0)), // the tail at Flush always fits
		writing: make(chan struct{}, 1),
		space:   make(chan struct{}, 1),
		wake:    make(chan struct{}, 1),
		done:    make(chan struct{}),
		pacer:   pacer{enc: enc, lookahead: enc.Lookahead(), idle: true},
	}
	go p.run()
	return p
}

// SampleRate is the rate, in Hz and one channel, that Write wants.
func (p *Player) SampleRate() int { return p.rate }

// Notify sets who is told about playback. It is called before the first Write. The events of a
// segment come in order, from the goroutine of the player; f returns at once and does not call
// Write or Close.
func (p *Player) Notify(f func(PlaybackEvent)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.notify = f
}

// Write queues mono audio at SampleRate (borrowed). The first Write opens a segment, and so does
// the first one after a segment finished; a Write after Flush waits for that.
//
// It returns when all is queued; ErrCleared when the segment is cleared before; ErrClosed; or the
// error of ctx, and what was queued until then stays. A frame of another format, a closed player
// and a context that has ended before the call open no segment.
func (p *Player) Write(ctx context.Context, f Frame) error {
	if f.Rate != p.rate || f.Channels != 1 {
		return fmt.Errorf("player write: frame of %d Hz and %d channels, want %d Hz and 1", f.Rate, f.Channels, p.rate)
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("player write: %w", err)
	}
	p.mu.Lock()
	clears := p.clears
	p.mu.Unlock()
	select {
	case p.writing <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("player write: %w", ctx.Err())
	}
	defer func() { <-p.writing }()
	for data := f.Data; ; {
		rest, done, err := p.push(data, clears)
		if err != nil {
			return fmt.Errorf("player write: %w", err)
		}
		if done {
			return nil
		}
		data = rest
		select {
		case <-p.space:
		case <-ctx.Done():
			return fmt.Errorf("player write: %w", ctx.Err())
		}
	}
}

// push queues what there is room for and returns the rest; done means that nothing more is to do.
func (p *Player) push(data []int16, clears int) (rest []int16, done bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.closed:
		return nil, false, ErrClosed
	case p.clears != clears:
		return nil, false, ErrCleared
	case p.seg.state == segmentNone:
		p.rs.Reset()
		p.queue.clear()
		p.seg = segment{state: segmentOpen, skip: p.rs.Delay()}
	case p.seg.state != segmentOpen || p.seg.flushed:
		return data, false, nil // wait for the segment before
	}
	chunk := p.rate / 100
	for len(data) > 0 {
		n := min(len(data), chunk)
		if p.queue.n+p.rs.MaxOutput(n) > p.limit {
			break
		}
		p.scratch = p.rs.Process(p.scratch[:0], data[:n])
		p.enqueue()
		p.seg.pushed += Samples(n)
		data = data[n:]
	}
	poke(p.wake)
	return data, len(data) == 0, nil
}

// enqueue moves the scratch samples to the queue, but for those that only are the resampler's delay.
func (p *Player) enqueue() {
	k := min(p.seg.skip, len(p.scratch))
	p.seg.skip -= k
	p.queue.push(p.scratch[k:])
}

// Flush says that the open segment is complete. Playback goes on to its end. Without an open
// segment it does nothing.
func (p *Player) Flush() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.seg.state != segmentOpen || p.seg.flushed {
		return
	}
	p.seg.flushed = true
	if p.seg.pushed > 0 {
		p.scratch = p.rs.Flush(p.scratch[:0])
		p.enqueue()
		p.seg.tail = p.pacer.lookahead
	}
	poke(p.wake)
}

// Clear stops the open segment at once: what was not sent is dropped, and the segment finishes as
// interrupted. It does not wait for a packet that is being sent right then, which counts as played.
// Every Write that began before fails with ErrCleared. Without an open segment Clear does nothing.
func (p *Player) Clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut()
}

func (p *Player) cut() {
	if p.seg.state != segmentOpen {
		return
	}
	p.seg.state = segmentCut
	p.clears++
	p.queue.clear()
	poke(p.wake)
	poke(p.space)
}

// Pause stops sending, within one packet, and keeps everything that was not sent. It holds for
// segments that open later, too.
func (p *Player) Pause() { p.setPaused(true) }

// Resume goes on where Pause stopped.
func (p *Player) Resume() { p.setPaused(false) }

func (p *Player) setPaused(paused bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.paused = paused
	poke(p.wake)
}

// Played is how much of the open segment was sent, to the sample; 0 without one.
func (p *Player) Played() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.seg.state != segmentOpen {
		return 0
	}
	return p.seg.played(p.rate).At(p.rate)
}

// Stats returns what was counted so far.
func (p *Player) Stats() PlayerStats {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stats
}

// Close ends the player; an open segment finishes as interrupted. It returns when the last event
// was told and nothing more is sent. It may be called twice.
func (p *Player) Close() error {
	p.mu.Lock()
	p.closed = true
	p.cut()
	poke(p.wake)
	poke(p.space)
	p.mu.Unlock()
	<-p.done
	return nil
}

// poke puts a signal into a channel of size 1, unless one is waiting there already.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
