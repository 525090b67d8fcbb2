package account

import (
	"fmt"
	"slices"
)

// Notes are what there is to say of the files besides the sums.
type Notes struct {
	// Damage is what was not counted although it may have been usage: the sums are too small.
	Damage []string
	// Remarks are how things were counted.
	Remarks []string
	more    int // kinds of damage that were left out
}

const maxNotes = 20

func (n *Notes) damage(format string, args ...any) {
	if len(n.Damage) >= maxNotes {
		n.more++
		return
	}
	n.Damage = append(n.Damage, fmt.Sprintf(format, args...))
}

func (n *Notes) remark(format string, args ...any) {
	if s := fmt.Sprintf(format, args...); !slices.Contains(n.Remarks, s) {
		n.Remarks = append(n.Remarks, s)
	}
}

// finish says how much was left out.
func (n *Notes) finish() {
	if n.more > 0 {
		n.Damage = append(n.Damage, fmt.Sprintf("and %d more of the kind", n.more))
	}
}

// sessions is "1 session" or "5 sessions".
func sessions(n int) string {
	if n == 1 {
		return "1 session"
	}
	return fmt.Sprintf("%d sessions", n)
}
