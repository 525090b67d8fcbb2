package silero

import (
	"testing"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/internal/golden"
	"github.com/parley-go/parley/vad/driver"
	"github.com/parley-go/parley/vad/vadtest"
)

// words is speech that begins and ends with a word.
func words(t testing.TB) []int16 {
	t.Helper()
	// The file has zeros in its first 0.25 s and its last 0.75 s.
	in := golden.Samples(t, "flite_awb_yes.wav")
	return in[golden.Rate/4 : len(in)-golden.Rate*3/4]
}

func TestConformance(t *testing.T) {
	in := words(t)
	quadrupled := make([]int16, 0, 4*len(in))
	for _, v := range in {
		quadrupled = append(quadrupled, v, v, v, v)
	}
	for name, speech := range map[string]audio.Frame{
		"mono at 16 kHz":   {Data: in, Rate: golden.Rate, Channels: 1},
		"stereo at 32 kHz": {Data: quadrupled, Rate: 2 * golden.Rate, Channels: 2},
	} {
		t.Run(name, func(t *testing.T) {
			vadtest.Run(t, vadtest.Harness{
				New:    func(t testing.TB) driver.VAD { return newDetector(t, nil) },
				Speech: speech,
			})
		})
	}
}
