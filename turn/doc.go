// Package turn decides how long to wait before a user's turn counts as over: detectors of the end
// of a turn, and the delays of endpointing.
//
// A Model is what sessions hold over a detector, which judges by text or by audio. NewText is a
// detector by text for English that needs no download. Endpointing keeps the two delays: the
// shorter one is waited when a turn looks finished, the longer one when the user seems to go on.
//
//	m := turn.NewText(nil)
//	p, err := m.Predict(ctx, history, "en") // history ends with what the user said so far
//	switch {
//	case err == nil && !p.Over():
//		wait(e.MaxDelay())
//	default: // without an opinion the turn counts as finished
//		wait(e.MinDelay())
//	}
package turn
