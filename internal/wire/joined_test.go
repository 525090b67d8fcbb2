package wire

import "testing"

func TestJoinedCountsTheText(t *testing.T) {
	var j Joined
	if j.Sent() != 0 {
		t.Error("nothing was sent")
	}
	for _, p := range []string{"¿Sí?", "Ja,", "so."} {
		j.Piece(p)
	}
	if n, want := j.Sent(), int64(len([]rune("¿Sí? Ja, so."))); n != want {
		t.Errorf("%d characters, want %d", n, want)
	}
}
