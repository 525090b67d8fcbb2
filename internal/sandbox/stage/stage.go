// Package stage has the sandboxes of realtime models act out the scenes of package realtimetest.
package stage

import (
	"github.com/parley-go/parley/internal/sandbox"
	"github.com/parley-go/parley/realtime/realtimetest"
)

// Talk answers as the scene wants it.
func Talk(s realtimetest.Scene) sandbox.Talk {
	return sandbox.Talk{Answer: func(r sandbox.TalkRequest) sandbox.Reply {
		a := realtimetest.Asked{Instructions: r.Instructions, Tools: r.Tools}
		for _, t := range r.Turns {
			a.Turns = append(a.Turns, realtimetest.Turn(t))
		}
		return sandbox.Reply(s.Answer(a))
	}}
}

// Served is the ledger of the sandbox. A conversation is open until it is billed, which some are at their end.
func Served(s *sandbox.Server) func() realtimetest.Served {
	return func() realtimetest.Served {
		open := max(s.Sockets(), s.Open())
		return realtimetest.Served{Billed: s.Ledger.Billed(), Stated: s.Ledger.Stated(), Untold: s.Unanswered.Billed(), Dials: s.Dials(), Open: open}
	}
}
