package audio

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/pion/rtp"

	"github.com/parley-go/parley/audio/opus"
)

// ReceiverOptions are the settings of a Receiver. The zero value works.
type ReceiverOptions struct {
	// SampleRate of the frames, in Hz; default 16000. It is a multiple of 50.
	SampleRate int
	// Latency is how long a missing packet is waited for once a later one is there; default 60 ms.
	// A stream without gaps is never delayed.
	Latency time.Duration
	// Buffer is how much audio waits for a slow reader before the oldest is dropped; default 2 s,
	// at most 5 s of packets of 20 ms.
	Buffer time.Duration
}

// ReceiverStats counts what happened to a stream. Lost, recovered and concealed say what the user
// sounded like.
type ReceiverStats struct {
	Received  int64 // packets pushed
	Lost      int64 // packets that did not come in time
	Recovered int64 // lost packets of which the next one had a copy
	Concealed int64 // pieces of up to 20 ms that were made up
	Bad       int64 // packets that could not be decoded
	Late      int64 // packets that came after their time, or twice
	Dropped   int64 // packets dropped because the reader was slow
	Silent    int64 // pieces of up to 20 ms of silence put in where nothing was sent
}

const (
	frameDuration = 20 * time.Millisecond
	// quiet is for how long no packet of 20 ms comes before there is silence.
	quiet = 60 * time.Millisecond
	// maxGap is the most audio that is made up for one gap in the stream, in samples.
	maxGap = opus.Rate
	// maxLag is how far, in samples, the frames may be behind before the time is given up.
	maxLag = 2 * opus.Rate
)

// Receiver turns the RTP packets of a voice into frames of 20 ms, mono. One goroutine pushes
// packets as they come, another one reads frames.
//
// A frame is given as soon as its audio is there. While no audio comes, because the user is muted or
// the network is gone, silence is given, so that in the long run the frames last as long as the time
// that passes. Audio that comes late is given nevertheless and makes up for the silence that was
// given for it in the next pause.
type Receiver struct {
	rate    int
	frame   int // samples per frame, at rate
	latency time.Duration
	wake    chan struct{} // size 1, never waited on to send: the reader should look again

	mu      sync.Mutex // never held while decoding or waiting
	queue   jitterQueue
	arrived time.Time // of the latest packet with audio
	closed  bool
	reading bool
	stats   ReceiverStats

	// The rest belongs to the reader.
	dec     opus.Decoder
	rs      *Resampler
	timer   *time.Timer
	packet  jitterPacket
	pcm     [opus.MaxSamples]int16
	out     []int16 // samples at rate; those before head were given
	head    int
	begun   time.Time // of the clock
	given   int64     // samples at 48 kHz since then, or skipped
	silent  int       // samples of silence since the last packet
	expect  uint32    // the timestamp after the last packet
	known   bool      // expect is valid
	length  int       // samples of the last packet
	pending ReceiverStats
}

// zeros is a piece of silence.
var zeros [opus.FrameSamples]int16

// NewReceiver returns a receiver for one track of Opus packets. opts may be nil. The caller closes
// it.
func NewReceiver(opts *ReceiverOptions) (*Receiver, error) {
	var o ReceiverOptions
	if opts != nil {
		o = *opts
	}
	if o.SampleRate == 0 {
		o.SampleRate = 16000
	}
	if o.Latency == 0 {
		o.Latency = 60 * time.Millisecond
	}
	if o.Buffer == 0 {
		o.Buffer = 2 * time.Second
	}
	if o.SampleRate%50 != 0 || o.Latency < 0 || o.Buffer < 0 {
		return nil, fmt.Errorf("new receiver: bad options %+v", o)
	}
	rs, err := NewResampler(opus.Rate, o.SampleRate, 1, Fast)
	if err != nil {
		return nil, fmt.Errorf("new receiver: %w", err)
	}
	dec, err := opus.NewDecoder(1)
	if err != nil {
		return nil, fmt.Errorf("new receiver: %w", err)
	}
	r := &Receiver{
		rate:    o.SampleRate,
		frame:   o.SampleRate / 50,
		latency: o.Latency,
		wake:    make(chan struct{}, 1),
		dec:     dec,
		rs:      rs,
		length:  opus.FrameSamples,
	}
	r.queue.stats = &r.stats
	r.queue.limit = SamplesIn(o.Buffer, opus.Rate)
	return r, nil
}

// Push takes in a packet (borrowed) that came at the time now, in any order. It returns at once and
// never fails: what is wrong with a packet is counted. When the buffer is full, the oldest audio is
// dropped. One goroutine calls it.
func (r *Receiver) Push(pkt *rtp.Packet, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return
	}
	if r.queue.push(pkt, now) {
		r.arrived = now
	}
	poke(r.wake)
}

// ReadFrame waits for the next frame (borrowed until the next call): mono, 20 ms, at the rate of the
// options. It returns io.EOF once the receiver is closed, and the error of ctx. One goroutine calls
// it.
func (r *Receiver) ReadFrame(ctx context.Context) (Frame, error) {
	if err := r.enter(); err != nil {
		return Frame{}, err
	}
	defer r.leave()
	if err := ctx.Err(); err != nil {
		return Frame{}, fmt.Errorf("read audio frame: %w", err)
	}
	r.out = append(r.out[:0], r.out[r.head:]...)
	r.head = 0
	for len(r.out) < r.frame {
		wait, ended := r.step(time.Now())
		if ended {
			return Frame{}, io.EOF
		}
		if wait <= 0 {
			continue
		}
		if err := r.wait(ctx, wait); err != nil {
			return Frame{}, fmt.Errorf("read audio frame: %w", err)
		}
	}
	r.head = r.frame
	return Frame{Data: r.out[:r.frame:r.frame], Rate: r.rate, Channels: 1}, nil
}

// wait returns after d, or earlier when something changed or ctx ended.
func (r *Receiver) wait(ctx context.Context, d time.Duration) error {
	if r.timer == nil {
		r.timer = time.NewTimer(d)
	} else {
		r.timer.Reset(d)
	}
	defer r.timer.Stop()
	select {
	case <-r.wake:
	case <-r.timer.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

func (r *Receiver) enter() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.closed:
		return io.EOF
	case r.reading:
		return errors.New("read audio frame: another goroutine is reading")
	}
	r.reading = true
	return nil
}

func (r *Receiver) leave() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reading = false
	r.count()
	if r.closed {
		r.dec.Close()
	}
}

// count adds what the reader counted by itself. The lock is held.
func (r *Receiver) count() {
	r.stats.Recovered += r.pending.Recovered
	r.stats.Concealed += r.pending.Concealed
	r.stats.Bad += r.pending.Bad
	r.stats.Silent += r.pending.Silent
	r.pending = ReceiverStats{}
}

// Stats returns what was counted so far.
func (r *Receiver) Stats() ReceiverStats {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.stats
}

// Close ends the stream: ReadFrame returns io.EOF. It may be called twice.
func (r *Receiver) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil
	}
	r.closed = true
	if !r.reading {
		r.dec.Close()
	}
	poke(r.wake)
	return nil
}

// step makes some audio if it can, and otherwise says how long to wait.
func (r *Receiver) step(now time.Time) (wait time.Duration, ended bool) {
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return 0, true
	}
	ok, wait := r.queue.pop(&r.packet, now, r.latency)
	arrived, skipped := r.arrived, r.queue.skipped
	r.queue.skipped = 0
	r.mu.Unlock()

	if r.begun.IsZero() {
		r.begun = now
	}
	r.given += int64(skipped)
	if ok {
		r.play(now)
		return 0, false
	}
	if wait > 0 {
		return wait, false
	}
	if lag := r.lag(now); lag > maxLag {
		r.given += lag // nobody was reading; that time is gone
	}
	// A packet comes once in its own length, so a long one is waited for longer.
	if arrived.Before(r.begun) {
		arrived = r.begun
	}
	due := arrived.Add(quiet + max(0, Samples(r.length).At(opus.Rate)-frameDuration))
	if end := r.begun.Add(Samples(r.given + opus.FrameSamples).At(opus.Rate)); end.After(due) {
		due = end
	}
	if wait = due.Sub(now); wait > 0 {
		return wait, false
	}
	r.silence(opus.FrameSamples)
	return 0, false
}

// lag is how many samples at 48 kHz the frames are behind the real time. It is below zero after
// audio that came late.
func (r *Receiver) lag(now time.Time) int64 {
	return int64(SamplesIn(now.Sub(r.begun), opus.Rate)) - r.given
}

// play decodes the packet, after what is missing before it.
func (r *Receiver) play(now time.Time) {
	p := &r.packet
	if p.restart {
		r.dec.Reset()
		r.known = false
	}
	gap := r.gap(p)
	switch {
	case p.lost > 0:
		r.replace(whole(gap, min(r.length, opus.FrameSamples)), p.payload)
	case gap > 0:
		// The sender was silent for less time than it takes us to notice.
		r.silence(whole(int(min(int64(gap), max(0, r.lag(now)-int64(p.samples)))), opus.FrameSamples))
	}
	if len(p.payload) == 0 {
		return // padding, which only has a place
	}
	n, err := r.dec.Decode(r.pcm[:], p.payload)
	if err != nil {
		r.pending.Bad++
		n = p.samples
		r.makeUp(n)
	} else {
		r.emit(r.pcm[:n])
	}
	r.expect, r.known = p.ts+uint32(n), true
	r.length = n
	r.silent = 0
}

// whole rounds n down to whole frames. What fills a gap has no rest, or else each packet from then on would
// wait for the next one to complete its frame. The clock catches up in the next pause.
func whole(n, frame int) int { return n - n%frame }

// gap is how many samples are missing between the last packet and p, without the silence that was
// already given for them.
func (r *Receiver) gap(p *jitterPacket) int {
	gap := 0
	if r.known && len(p.payload) > 0 {
		gap = int(int32(p.ts - r.expect))
	}
	if p.lost > 0 && (gap < p.lost*opus.Rate/400 || gap > p.lost*opus.MaxSamples) {
		gap = p.lost * r.length // the timestamps do not fit the sequence numbers
	}
	return min(max(0, gap-r.silent), maxGap)
}

// replace fills a gap of lost packets, the last of them with its copy in the packet after it.
func (r *Receiver) replace(gap int, next []byte) {
	copied := opus.FrameLength(next)
	if copied > gap || !opus.HasRedundancy(next) {
		copied = 0
	}
	r.makeUp(gap - copied)
	if copied == 0 {
		return
	}
	if err := r.dec.Recover(r.pcm[:copied], next); err != nil {
		r.makeUp(copied)
		return
	}
	r.pending.Recovered++
	r.emit(r.pcm[:copied])
}

// makeUp fills n samples by concealment. After a silence there is nothing to go on from.
func (r *Receiver) makeUp(n int) {
	const quantum = opus.Rate / 400
	for n >= quantum && r.silent == 0 {
		pcm := r.pcm[:min(n, opus.FrameSamples)/quantum*quantum]
		synthetic, err := r.dec.Conceal(pcm)
		if err != nil {
			break
		}
		if synthetic {
			r.pending.Concealed++
		}
		r.emit(pcm)
		n -= len(pcm)
	}
	for n > 0 {
		k := min(n, len(zeros))
		r.emit(zeros[:k])
		n -= k
	}
}

// silence gives n samples of it.
func (r *Receiver) silence(n int) {
	for n > 0 {
		k := min(n, len(zeros))
		r.emit(zeros[:k])
		r.pending.Silent++
		r.silent += k
		n -= k
	}
}

// emit passes audio at 48 kHz on.
func (r *Receiver) emit(pcm []int16) {
	r.out = r.rs.Process(r.out, pcm)
	r.given += int64(len(pcm))
}
