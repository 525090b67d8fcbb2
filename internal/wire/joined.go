package wire

import (
	"sync/atomic"
	"unicode/utf8"
)

// Joined counts text that is sent in pieces, for providers that want a space behind each: what counts is the
// text that the pieces make, with one space between two of them and none at its end. The zero value is ready;
// its methods may be called from any goroutine.
type Joined struct{ count atomic.Int64 }

// Piece counts a piece, which has no space around it.
func (j *Joined) Piece(text string) {
	n := int64(utf8.RuneCountInString(text))
	if !j.count.CompareAndSwap(0, n) {
		j.count.Add(1 + n)
	}
}

// Sent implements driver.Counter of package tts.
func (j *Joined) Sent() int64 { return j.count.Load() }
