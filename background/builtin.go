package background

import (
	"math"
	"math/rand/v2"
	"sync"
)

// RoomTone is the faint sound of a room in which nobody speaks. It makes a line sound alive.
func RoomTone() Source { return roomTone() }

// Typing is somebody at a keyboard, softly.
func Typing() Source { return typing() }

var (
	roomTone = sync.OnceValue(func() Source { return clip(makeRoomTone()) })
	typing   = sync.OnceValue(func() Source { return clip(makeTyping()) })
)

// makeRoomTone makes noise that falls with the frequency, about 50 dB below full scale, whose end goes over
// into its beginning.
func makeRoomTone() []int16 {
	const (
		length = 8 * rate
		seam   = rate // where the end and the beginning overlap
		level  = 100  // of a sample, on average
	)
	random := rand.New(rand.NewPCG(1, 1)) // the same for everybody
	noise := make([]float64, length+seam)
	slow, fast, sum := 0.0, 0.0, 0.0
	for i := range noise {
		x := random.NormFloat64()
		fast += 0.05 * (x - fast)       // below 400 Hz
		slow += 0.002 * (fast - slow)   // below 15 Hz, which nobody hears
		noise[i] = fast - slow + 0.01*x // and a breath of air
		sum += math.Abs(noise[i])
	}
	scale := level / (sum / float64(len(noise)))
	pcm := make([]int16, length)
	for i := range pcm {
		x := noise[i]
		if i < seam {
			at := float64(i) / seam // the sum of the squares stays 1: noise is no louder at the seam
			x = x*math.Sqrt(at) + noise[length+i]*math.Sqrt(1-at)
		}
		pcm[i] = clip16(x * scale)
	}
	return pcm
}

// makeTyping makes words of some keys each, with pauses between them. A key is a click and the thud of its
// way back.
func makeTyping() []int16 {
	const length = 6 * rate
	random := rand.New(rand.NewPCG(2, 2))
	between := func(from, to float64) float64 { return from + random.Float64()*(to-from) } // seconds
	sum := make([]float64, length)
	for at := 0.05; ; at += between(0.15, 0.5) {
		for range 3 + random.IntN(6) {
			if at > 5.8 { // seconds: the last key rings out before the end
				pcm := make([]int16, length)
				for i, x := range sum {
					pcm[i] = clip16(x)
				}
				return pcm
			}
			key(sum[int(at*rate):], random, between(1000, 2000))
			key(sum[int((at+0.06)*rate):], random, between(250, 500))
			at += between(0.09, 0.2)
		}
	}
}

// key adds a burst of noise that dies away within some milliseconds.
func key(sum []float64, random *rand.Rand, loud float64) {
	low := 0.0
	for i := range min(len(sum), rate/20) {
		low += 0.3 * (random.NormFloat64() - low)
		sum[i] += loud * low * math.Exp(-float64(i)/(rate*0.004))
	}
}
