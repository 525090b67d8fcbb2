package session

import "time"

// timer runs something on the loop after a while. It is used on the loop only. A generation number
// tells a firing that was overtaken by a stop or a new start.
type timer struct {
	s   *run
	gen int
	t   *time.Timer
}

// start replaces whatever the timer was waiting for.
func (t *timer) start(d time.Duration, f func()) {
	t.stop()
	gen := t.gen
	t.t = time.AfterFunc(max(d, 0), func() {
		t.s.post(func() {
			if t.gen == gen {
				t.t = nil
				f()
			}
		})
	})
}

// stop forgets what the timer was waiting for.
func (t *timer) stop() {
	t.gen++
	if t.t != nil {
		t.t.Stop()
		t.t = nil
	}
}

// running reports whether the timer waits for something.
func (t *timer) running() bool { return t.t != nil }
