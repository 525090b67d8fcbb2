package conservation

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
)

var (
	seedFlag     = flag.Uint64("conservation.seed", 0, "replay the sessions of this `SEED`; 0 takes those that -conservation.from begins with")
	fromFlag     = flag.Uint64("conservation.from", 1, "begin the row of seeds with this `SEED`; 0 takes a fresh one")
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
	from := *fromFlag
	for from == 0 {
		from = rand.Uint64()
	}
	seeds := rand.New(rand.NewPCG(from, 0))
	for done := 0; done < *sessionsFlag; {
		seed := seeds.Uint64()
		done += sessionsOf(seed)
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			t.Parallel()
			inBubble(t, seed)
		})
	}
}

// In this world the sound of a user's item is replaced by its text, and that of an answer deleted, before an answer is
// cut off whose usage has to be estimated.
func TestSoundThatIsGoneIsNotEstimated(t *testing.T) { inBubble(t, 12732366474733976671) }

func inBubble(t *testing.T, seed uint64) {
	synctest.Test(t, func(t *testing.T) { run(t, seed, sessionsOf(seed)) })
}

// sessionsOf is how many sessions there are at once.
func sessionsOf(seed uint64) int { return 1 + int(seed%4) }
