package audio

import "math"

// RMS is the root mean square of the samples, as a fraction of full scale: 0 for silence and for
// no samples, 1 for the loudest.
func RMS(pcm []int16) float64 {
	if len(pcm) == 0 {
		return 0
	}
	var sum int64
	for _, s := range pcm {
		sum += int64(s) * int64(s)
	}
	return math.Sqrt(float64(sum)/float64(len(pcm))) / 32768
}

// silentLevel is the level of silence, and of everything fainter than 127 dB below full scale.
const silentLevel = 127

// Level is the loudness of the samples as packets state it (RFC 6464): how many decibels it is
// below full scale, from 0 to 127.
func Level(pcm []int16) uint8 {
	rms := RMS(pcm)
	if rms == 0 {
		return silentLevel
	}
	return uint8(min(max(math.Round(-20*math.Log10(rms)), 0), silentLevel))
}
