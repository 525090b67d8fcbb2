package realtime

import (
	"sync"
	"time"
)

// Sampler thins out the pictures of a video for Session.PushImage. It is safe for concurrent use.
type Sampler struct {
	speaking, quiet time.Duration // between pictures; 0 is never

	mu   sync.Mutex
	last time.Time // zero before the first
}

// NewSampler returns a sampler of so many pictures a second while the user speaks and while he does not; LiveKit's
// rates are 1 and 0.3. A rate of 0 keeps none.
func NewSampler(speaking, quiet float64) *Sampler {
	return &Sampler{speaking: every(speaking), quiet: every(quiet)}
}

func every(rate float64) time.Duration {
	if rate <= 0 {
		return 0
	}
	return time.Duration(float64(time.Second) / rate)
}

// Keep reports whether the picture of now is to be sent. The first one is, unless no rate is above 0.
func (s *Sampler) Keep(speaking bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	pause, now := s.quiet, time.Now()
	if speaking {
		pause = s.speaking
	}
	switch {
	case s.last.IsZero():
		if s.speaking == 0 && s.quiet == 0 {
			return false
		}
	case pause == 0 || now.Sub(s.last) < pause:
		return false
	}
	s.last = now
	return true
}
