package session

import "time"

// unheard is speech of the user's present turn that has brought no words yet. It is used on the loop
// only.
type unheard struct {
	wait  timer
	burst time.Time     // when the present burst of speech began; zero when it is not of this turn
	first time.Time     // when the first one did
	spoke time.Duration // of all that are over
	words bool          // there are some
}

// reset begins a new turn. A burst that goes on belongs to the old one.
func (u *unheard) reset() {
	u.wait.stop()
	u.burst, u.first, u.spoke, u.words = time.Time{}, time.Time{}, 0, false
}

// said notes that there are words.
func (u *unheard) said() {
	u.wait.stop()
	u.words = true
}

// started notes that the VAD hears the user since onset.
func (u *unheard) started(onset time.Time) {
	u.wait.stop()
	u.burst = onset
	if u.first.IsZero() {
		u.first = onset
	}
}

// missWords waits for the words of a burst of speech that has ended at end.
func (r *run) missWords(end time.Time) {
	u := &r.heard.unheard
	if u.burst.IsZero() {
		return
	}
	u.spoke += max(end.Sub(u.burst), 0)
	u.burst = time.Time{}
	if limit := r.opt.TranscriptionTimeout; limit > 0 && !u.words && r.hasSTT() && r.closing == nil {
		u.wait.start(limit-now().Sub(end), func() {
			r.emit(UserTranscriptionTimeout{At: at(now()), SpeechDuration: u.spoke, SpeechStartedAt: u.first})
		})
	}
}
