// Package background plays sounds behind the agent's voice, on a track of their own: something that
// goes on all the time, as in an office, something while the agent thinks, and whatever the application
// plays.
//
//	bg := background.New(background.Options{
//		Ambient:  []background.Sound{{Source: background.RoomTone()}},
//		Thinking: []background.Sound{{Source: background.Typing(), Gain: -6}},
//	})
//	if err := bg.Start(ctx, s, job.Room()); err != nil { ... }
//
// The sounds are mixed here and sent as one voice: 48 kHz, mono. While nothing is to be heard, nothing
// is sent.
package background
