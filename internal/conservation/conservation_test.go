package conservation

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
)

var (
	seedFlag     = flag.Uint64("conservation.seed", 0, "replay the random sessions with this `SEED`; 0 takes fresh ones")
	sessionsFlag = flag.Int("conservation.sessions", 120, "how many random sessions TestUsageConservation runs")
)

// TestUsageConservation drives sessions on the sandboxes of all providers with everything that can happen to
// them, and checks that nothing of what the providers bill is lost or invented.
func TestUsageConservation(t *testing.T) {
	if *seedFlag != 0 {
		inBubble(t, *seedFlag)
		return
	}
	t.Logf("replay a world with -conservation.seed=SEED")
	for done := 0; done < *sessionsFlag; {
		seed := rand.Uint64()
		done += sessionsOf(seed)
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			t.Parallel()
			inBubble(t, seed)
		})
	}
}

func inBubble(t *testing.T, seed uint64) {
	synctest.Test(t, func(t *testing.T) { run(t, seed, sessionsOf(seed)) })
}

// sessionsOf is how many sessions there are at once.
func sessionsOf(seed uint64) int { return 1 + int(seed%4) }
