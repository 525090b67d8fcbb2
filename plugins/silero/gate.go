package silero

import "time"

// windowTime is the audio time of one window.
const windowTime = windowLen * time.Second / rate

// change is what a window did to the state of speech.
type change uint8

const (
	none change = iota
	started
	ended
)

// gate turns probabilities into starts and ends of speech. Durations are counted in windows, so
// that nothing is lost by rounding.
type gate struct {
	primed        bool // smoothed has a value
	smoothed      float64
	speaking      bool
	speech        int64 // unbroken speech
	silence       int64 // unbroken silence
	publicSpeech  int64 // since the start of the segment
	publicSilence int64 // since its end
}

// smooth takes the probability of the next window and books the window as speech or silence of the
// segment it may belong to.
func (g *gate) smooth(p float32) {
	const alpha = 0.35
	if g.primed {
		g.smoothed = alpha*g.smoothed + (1-alpha)*float64(p)
	} else {
		g.primed, g.smoothed = true, float64(p)
	}
	if g.speaking {
		g.publicSpeech++
	} else {
		g.publicSilence++
	}
}

// decide says what the window that was smoothed last changes. After ended, publicSpeech is the
// length of the segment until the caller resets it.
func (g *gate) decide(o *settings) change {
	if g.smoothed >= o.activation || g.speaking && g.smoothed > o.deactivation {
		g.speech, g.silence = g.speech+1, 0
		if g.speaking || windows(g.speech) < o.minSpeech {
			return none
		}
		g.speaking, g.publicSilence, g.publicSpeech = true, 0, g.speech
		return started
	}
	g.silence, g.speech = g.silence+1, 0
	if !g.speaking || windows(g.silence) < o.minSilence {
		return none
	}
	g.speaking, g.publicSilence = false, g.silence
	g.publicSpeech = max(0, g.publicSpeech-g.silence)
	return ended
}

// windows is the audio time of n windows.
func windows(n int64) time.Duration { return time.Duration(n) * windowTime }
