package metrics

import (
	"math/rand/v2"
	"testing"
)

// Every id is told from every other, whatever its form, and however those of a block are spread.
func TestEveryIDIsNewOnce(t *testing.T) {
	ids := []string{"a", "b", "me_", "response-1", "me_AAAAAAAAAAAAAAA", "me_AAAAAAAAAAAAAAAA", "me_AAAAAAAAAAAAAAAB", "me_AAAAAAAAAAAAAAA7",
		"me_AAAAAAAAAAAAAAA1", "me_AAAAAAAAAAAAAAAa", "xx_AAAAAAAAAAAAAAAA", "me_AAAAAAAAAAAAAAAAA"}
	for range 1000 {
		ids = append(ids, newEventID(), NewID("me_"))
	}
	rand.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
	var s seen
	for _, want := range []bool{true, false} {
		for _, id := range ids {
			if s.first(id) != want {
				t.Fatalf("%q is new: %v, want %v", id, !want, want)
			}
		}
	}
	for range 2 {
		if !s.first("") {
			t.Error("an empty id was there before")
		}
	}
}
