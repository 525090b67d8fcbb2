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
	// The sentence stands between half a second of zeros and nine tenths of a second of them.
	in := golden.Samples(t, "flite_slt_weather.wav")
	return in[golden.Rate/2 : len(in)-golden.Rate*9/10]
}

func TestConformance(t *testing.T) {
	in := words(t)
	doubled := make([]int16, 0, 2*len(in))
	for _, v := range in {
		doubled = append(doubled, v, v)
	}
	for name, speech := range map[string]audio.Frame{
		"mono at 16 kHz":   {Data: in, Rate: golden.Rate, Channels: 1},
		"stereo at 16 kHz": {Data: doubled, Rate: golden.Rate, Channels: 2},
		"mono at 32 kHz":   {Data: doubled, Rate: 2 * golden.Rate, Channels: 1},
	} {
		t.Run(name, func(t *testing.T) {
			vadtest.Run(t, vadtest.Harness{
				New:    func(t testing.TB) driver.VAD { return newDetector(t, nil) },
				Speech: speech,
			})
		})
	}
}
