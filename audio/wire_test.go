package audio

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/parley-go/parley/audio/internal/testaudio"
	"github.com/parley-go/parley/audio/opus"
)

// wire is a PacketWriter that remembers what was sent and when.
type wire struct {
	mu      sync.Mutex
	packets []Packet
	times   []time.Time
	fail    func(i int) error         // may be nil
	delay   func(i int) time.Duration // may be nil
	calls   int
}

func (w *wire) WritePacket(p Packet) error {
	w.mu.Lock()
	i := w.calls
	w.calls++
	fail, delay := w.fail, w.delay
	w.mu.Unlock()
	if fail != nil {
		if err := fail(i); err != nil {
			return err
		}
	}
	p.Data = slices.Clone(p.Data)
	w.mu.Lock()
	w.packets = append(w.packets, p)
	w.times = append(w.times, time.Now())
	w.mu.Unlock()
	if delay != nil {
		time.Sleep(delay(i))
	}
	return nil
}

// log returns what was sent so far, and when.
func (w *wire) log() ([]Packet, []time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.packets), slices.Clone(w.times)
}

func (w *wire) forget() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.packets, w.times = nil, nil
}

func (w *wire) sent() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.packets)
}

// events collects playback events.
type events struct {
	mu   sync.Mutex
	list []PlaybackEvent
}

func (e *events) add(ev PlaybackEvent) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.list = append(e.list, ev)
}

func (e *events) all() []PlaybackEvent {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.list)
}

// cheapEncoder stands in for the codec where the sound does not matter.
type cheapEncoder struct{ resets int }

func (e *cheapEncoder) Encode(dst []byte, pcm []int16) (int, error) {
	return copy(dst, []byte{0xf8, 1, 2}), nil
}
func (e *cheapEncoder) Lookahead() int { return 312 }
func (e *cheapEncoder) Reset()         { e.resets++ }
func (e *cheapEncoder) Close()         {}

// newTestPlayer returns a player with the cheap encoder. The test closes it.
func newTestPlayer(t testing.TB, w PacketWriter, rate int) (*Player, *events) {
	t.Helper()
	rs, err := NewResampler(rate, opus.Rate, 1, Fast)
	if err != nil {
		t.Fatal(err)
	}
	p := startPlayer(w, PlayerOptions{SampleRate: rate, Queue: 200 * time.Millisecond}, rs, &cheapEncoder{})
	e := &events{}
	p.Notify(e.add)
	return p, e
}

func voice(d time.Duration, rate int) Frame {
	return Frame{Data: testaudio.Tone(300, rate, SamplesIn(d, rate)), Rate: rate, Channels: 1}
}

func mustWrite(t *testing.T, p *Player, f Frame) {
	t.Helper()
	if err := p.Write(t.Context(), f); err != nil {
		t.Fatal(err)
	}
}
