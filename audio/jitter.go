package audio

import (
	"time"

	"github.com/pion/rtp"

	"github.com/parley-go/parley/audio/opus"
)

// jitterQueue puts the packets of a stream back into order. It has no goroutine and no clock of its
// own: the caller says what time it is, and guards it with a lock.
//
// Packets have a place: their sequence number, counted on beyond 16 bits. When the stream starts
// anew, with another SSRC or far away in the sequence, its first packet gets the place after the
// newest one, so what is still queued is played to its end.
type jitterQueue struct {
	slots   [jitterSlots]jitterSlot // by the low bits of the place
	begun   bool
	next    int64 // the place that is played next
	newest  int64 // the highest place so far
	seq     uint16
	ssrc    uint32
	count   int  // packets in the queue
	samples int  // their length at 48 kHz
	limit   int  // of samples
	lateRun int  // packets in a row that came too late
	cut     bool // packets were dropped since the last pop
	skipped int  // samples at 48 kHz that were dropped since the last pop
	length  int  // samples of the latest packet that said it
	stats   *ReceiverStats
}

type jitterSlot struct {
	used bool
	jitterPacket
}

// jitterPacket is a packet as it comes out of the queue.
type jitterPacket struct {
	payload []byte
	ts      uint32
	arrival time.Time
	samples int  // at 48 kHz
	restart bool // it does not go on from the packet before
	lost    int  // packets before it that never came
}

const (
	jitterSlots = 256 // five seconds of packets of 20 ms
	// maxReorder is how far behind the newest packet another one may be and still belong to the
	// same stream.
	maxReorder = 3000
	// maxLateRun packets in a row that are all too late are no stragglers: the sender counts from
	// another number.
	maxLateRun = 25
	// maxPayload is more than the longest Opus packet at the highest bitrate has.
	maxPayload = 8000
)

// push takes in a copy of a packet. It returns false for one that has no audio.
func (q *jitterQueue) push(pkt *rtp.Packet, now time.Time) bool {
	q.stats.Received++
	if len(pkt.Payload) > maxPayload {
		q.stats.Bad++
		return false
	}
	place, restart, ok := q.place(pkt)
	if !ok {
		q.stats.Late++
		return false
	}
	samples := opus.Samples(pkt.Payload)
	switch {
	case samples > 0:
		q.length = samples
	case len(pkt.Payload) > 0:
		samples = q.length // broken; its length is a guess
	}
	for place-q.next >= jitterSlots || q.count > 0 && q.samples+samples > q.limit {
		q.drop()
	}
	s := &q.slots[place%jitterSlots]
	s.used = true
	s.jitterPacket = jitterPacket{
		payload: append(s.payload[:0], pkt.Payload...),
		ts:      pkt.Timestamp,
		arrival: now,
		samples: samples,
		restart: restart,
	}
	q.count++
	q.samples += samples
	return samples > 0
}

// place finds where a packet belongs; ok is false for one that is late or a duplicate.
func (q *jitterQueue) place(pkt *rtp.Packet) (place int64, restart, ok bool) {
	if !q.begun {
		q.begun, q.length = true, opus.FrameSamples
		q.seq, q.ssrc = pkt.SequenceNumber, pkt.SSRC
		return q.newest, true, true
	}
	diff := int64(int16(pkt.SequenceNumber - q.seq))
	restart = pkt.SSRC != q.ssrc || diff > jitterSlots || diff < -maxReorder
	place = q.newest + diff
	if !restart && place < q.next {
		q.lateRun++
		restart = q.lateRun >= maxLateRun
		if !restart {
			return 0, false, false
		}
	}
	if restart {
		place = q.newest + 1
	} else if place < q.next+jitterSlots && q.slots[place%jitterSlots].used {
		return 0, false, false // a duplicate
	}
	q.lateRun = 0
	if place > q.newest {
		q.newest, q.seq, q.ssrc = place, pkt.SequenceNumber, pkt.SSRC
	}
	return place, restart, true
}

// drop gives up the oldest place.
func (q *jitterQueue) drop() {
	s := &q.slots[q.next%jitterSlots]
	if s.used {
		q.stats.Dropped++
		q.skipped += s.samples
		q.free(s)
	} else {
		q.stats.Lost++
		q.skipped += q.length
	}
	q.cut = true
	q.next++
}

func (q *jitterQueue) free(s *jitterSlot) {
	s.used = false
	q.count--
	q.samples -= s.samples
}

// pop moves the packet that is played next into p. Without one it says how long to wait for it: a
// missing packet is waited for until latency after the one behind it came. The wait is 0 when the
// queue is empty.
func (q *jitterQueue) pop(p *jitterPacket, now time.Time, latency time.Duration) (ok bool, wait time.Duration) {
	if q.count == 0 {
		return false, 0
	}
	place := q.next
	for !q.slots[place%jitterSlots].used {
		place++
	}
	s := &q.slots[place%jitterSlots]
	lost := int(place - q.next)
	if lost > 0 {
		if wait := latency - now.Sub(s.arrival); wait > 0 {
			return false, wait
		}
	}
	q.stats.Lost += int64(lost)
	q.free(s)
	*p, s.payload = s.jitterPacket, p.payload // the buffers change places: nothing is allocated
	p.lost = lost
	p.restart = p.restart || q.cut
	q.cut = false
	q.next = place + 1
	return true, 0
}
