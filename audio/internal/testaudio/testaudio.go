// Package testaudio makes audio for the tests of package audio and its codec. It imports neither,
// so that both can use it.
package testaudio

import (
	"math"
	"testing"

	"github.com/parley-go/parley/internal/golden"
)

// Tone is n samples of a sine at a quarter of full scale.
func Tone(hz float64, rate, n int) []int16 {
	out := make([]int16, n)
	for i := range out {
		out[i] = int16(math.Round(8192 * math.Sin(2*math.Pi*hz*float64(i)/float64(rate))))
	}
	return out
}

// Speech48 is four seconds of a synthetic voice at 48 kHz, mono.
func Speech48(tb testing.TB) []int16 {
	tb.Helper()
	const (
		times = 48000 / golden.Rate
		reach = 12 // samples of the input on each side of a sample of the output
	)
	in := golden.Samples(tb, "flite_slt_long.wav")[:4*golden.Rate]
	out := make([]int16, len(in)*times)
	for i := range out {
		var sum float64
		for j := max(i/times-reach, 0); j <= min(i/times+reach, len(in)-1); j++ {
			x := math.Pi * (float64(i)/times - float64(j))
			w := 1.0
			if x != 0 {
				w = math.Sin(x) / x * (0.5 + 0.5*math.Cos(x/(reach+1)))
			}
			sum += w * float64(in[j])
		}
		out[i] = int16(max(-32768, min(32767, math.Round(sum))))
	}
	return out
}
