package wire

import (
	"bytes"
	"math"
	"reflect"
	"testing"
	"time"

	"github.com/parley-go/parley/audio"
)

func TestWAVIsReadBack(t *testing.T) {
	f := audio.Frame{Data: []int16{1, -2, 32767, -32768}, Rate: 24000, Channels: 2}
	got, err := audio.ReadWAV(bytes.NewReader(WAV(f)))
	if err != nil || !reflect.DeepEqual(got, f) {
		t.Errorf("read back %+v, %v", got, err)
	}
	if pcm := Samples(nil, append(AppendPCM(nil, f.Data), 7)); !reflect.DeepEqual(pcm, f.Data) {
		t.Errorf("samples %v", pcm)
	}
}

func TestSecondsThatCannotBeAreZero(t *testing.T) {
	for s, want := range map[float64]time.Duration{1.6: 1600 * time.Millisecond, 0.0333: 33300 * time.Microsecond, -1: 0, 1e300: 0, math.Inf(1): 0} {
		if got := Seconds(s); got != want {
			t.Errorf("%v s is %v, want %v", s, got, want)
		}
	}
	if got := Seconds(math.NaN()); got != 0 {
		t.Errorf("NaN is %v", got)
	}
}

func TestChunksHaveTheirSize(t *testing.T) {
	c := Chunks{Size: 6}
	var sizes []int
	send := func(b []byte) error { sizes = append(sizes, len(b)); return nil }
	for range 4 {
		_ = c.Add([]int16{1, 2}, send)
	}
	_ = c.Rest(true, send)
	_ = c.Rest(true, send)
	if want := []int{6, 6, 6}; !reflect.DeepEqual(sizes, want) {
		t.Errorf("messages of %v bytes, want %v", sizes, want)
	}
}
