package turn_test

import (
	"math"
	"testing"
	"time"

	"github.com/parley-go/parley/opt"
	"github.com/parley-go/parley/turn"
)

// at is a moment, in seconds of the story.
func at(seconds float64) time.Time {
	return time.Unix(1000, 0).Add(time.Duration(math.Round(seconds * float64(time.Second))))
}

func seconds(s float64) time.Duration { return time.Duration(math.Round(s * float64(time.Second))) }

// talk is an Endpointing that is told a story.
type talk struct {
	*turn.Endpointing
	t *testing.T
}

func dynamic(t *testing.T, minDelay, maxDelay float64) talk {
	return talk{turn.NewEndpointing(turn.EndpointingOptions{
		Mode: turn.Dynamic, MinDelay: opt.Some(seconds(minDelay)), MaxDelay: opt.Some(seconds(maxDelay)),
	}), t}
}

// says is an utterance from a to b.
func (e talk) says(a, b float64) {
	e.UserStarted(at(a), false)
	e.UserEnded(at(b), false)
}

// interrupts is an utterance over the agent from a to b.
func (e talk) interrupts(a, b float64) {
	e.UserStarted(at(a), true)
	e.UserEnded(at(b), false)
}

func (e talk) want(minDelay float64, when string) {
	e.t.Helper()
	if got := e.MinDelay(); (got - seconds(minDelay)).Abs() > time.Microsecond {
		e.t.Errorf("%s: min delay is %v, want %v", when, got, seconds(minDelay))
	}
}

func TestDefaultsFollowTheDetector(t *testing.T) {
	for kind, want := range map[turn.Kind][2]float64{"": {0.5, 3}, turn.Text: {0.5, 3}, turn.Audio: {0.3, 2.5}} {
		e := turn.NewEndpointing(turn.EndpointingDefaults(kind))
		if e.MinDelay() != seconds(want[0]) || e.MaxDelay() != seconds(want[1]) {
			t.Errorf("%q: %v and %v, want %v s", kind, e.MinDelay(), e.MaxDelay(), want)
		}
	}
	e := turn.NewEndpointing(turn.EndpointingOptions{})
	if e.MinDelay() != seconds(0.5) || e.MaxDelay() != seconds(3) {
		t.Errorf("without options: %v and %v", e.MinDelay(), e.MaxDelay())
	}
}

func TestOptionsAreLaidOverEachOtherByKey(t *testing.T) {
	session := turn.EndpointingOptions{Mode: turn.Dynamic, MinDelay: opt.Some(seconds(0.4)), Alpha: opt.Some(0.5)}
	agent := turn.EndpointingOptions{MinDelay: opt.Some(seconds(0.7))}
	got := agent.Over(session).Over(turn.EndpointingDefaults(turn.Audio))
	want := turn.EndpointingOptions{
		Mode: turn.Dynamic, MinDelay: opt.Some(seconds(0.7)), MaxDelay: opt.Some(seconds(2.5)), Alpha: opt.Some(0.5),
	}
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestOddDelays(t *testing.T) {
	for name, c := range map[string]struct {
		o        turn.EndpointingOptions
		min, max float64
	}{
		"min off":          {turn.EndpointingOptions{MinDelay: opt.Off[time.Duration]()}, 0, 3},
		"max off":          {turn.EndpointingOptions{MaxDelay: opt.Off[time.Duration]()}, 0.5, 0.5},
		"min above max":    {turn.EndpointingOptions{MinDelay: opt.Some(seconds(4))}, 4, 4},
		"dynamic, the two": {turn.EndpointingOptions{Mode: turn.Dynamic, MinDelay: opt.Some(seconds(4))}, 4, 4},
		"negative":         {turn.EndpointingOptions{MinDelay: opt.Some(seconds(-1))}, 0, 3},
	} {
		e := turn.NewEndpointing(c.o)
		if e.MinDelay() != seconds(c.min) || e.MaxDelay() != seconds(c.max) {
			t.Errorf("%s: %v and %v, want %v s and %v s", name, e.MinDelay(), e.MaxDelay(), c.min, c.max)
		}
	}
}

func TestFixedLearnsNothing(t *testing.T) {
	e := talk{turn.NewEndpointing(turn.EndpointingOptions{}), t}
	e.says(0, 1)
	e.says(2, 3)
	e.want(0.5, "after a pause of 1 s")
}

func TestC033LearnsThePauseBetweenUtterances(t *testing.T) {
	e := dynamic(t, 0.3, 1)
	e.says(0, 1)
	e.want(0.3, "after one utterance")
	e.UserStarted(at(1.6), false)
	e.want(0.3, "before the second has ended")
	e.UserEnded(at(2), false)
	e.want(0.9*0.3+0.1*0.6, "after a pause of 0.6 s")
	if e.MaxDelay() != time.Second {
		t.Errorf("max delay moved to %v", e.MaxDelay())
	}
}

func TestC033APauseAcrossAnAgentTurnTeachesNothing(t *testing.T) {
	e := dynamic(t, 0.3, 1)
	e.says(0, 1)
	e.AgentStarted(at(1.4))
	e.AgentEnded(at(1.5))
	e.says(1.6, 2)
	e.want(0.3, "after the agent's turn")
	e.says(2.6, 3)
	e.want(0.33, "after a pause of the user's own: the agent's turn is forgotten")
}

func TestC033TheAverageStaysWithinItsBounds(t *testing.T) {
	e := dynamic(t, 0.3, 0.5)
	now := 0.0
	for range 50 {
		e.says(now, now+1)
		now += 3
	}
	e.want(0.5, "after many pauses of 2 s")
	for range 100 {
		e.says(now, now+1)
		now += 1.001
	}
	e.want(0.3, "after many pauses of 1 ms")
	e.says(now-5, now-4) // clocks that go back
	e.want(0.3, "after a pause that is not one")
}

func TestC034AnImmediateInterruptionIsLearned(t *testing.T) {
	e := dynamic(t, 0.3, 1)
	e.says(0, 1)
	e.AgentStarted(at(1.5))
	e.UserStarted(at(1.7), true)
	e.AgentEnded(at(1.9)) // interrupted
	e.UserEnded(at(3), false)
	e.want(0.9*0.3+0.1*0.7, "the agent had cut in after 0.5 s, the user went on after 0.7 s")
}

func TestC034TheUserMayHaveBegunJustBeforeTheAgent(t *testing.T) {
	e := dynamic(t, 0.3, 1)
	e.says(0, 1)
	e.UserStarted(at(1.5), false)
	e.AgentStarted(at(1.6))
	e.AgentEnded(at(1.8))
	e.UserEnded(at(3), false)
	e.want(0.9*0.3+0.1*0.5, "agent and user began together")
}

func TestC034ADelayedInterruptionIsNot(t *testing.T) {
	for name, c := range map[string]struct{ agent, user float64 }{
		"the user listened for a while": {1.5, 1.9},
		"the agent answered late":       {2.1, 2.3},
		"both at once":                  {1.5, 1.5},
	} {
		e := dynamic(t, 0.3, 1)
		e.says(0, 1)
		e.AgentStarted(at(c.agent))
		e.interrupts(c.user, 4)
		e.want(0.3, name)
	}
}

func TestC034ConsecutiveInterruptionsCountTheFirst(t *testing.T) {
	e := dynamic(t, 0.3, 1)
	e.says(0, 1)
	e.AgentStarted(at(1.5))
	e.UserStarted(at(1.7), true)
	e.UserStarted(at(1.75), true)
	e.UserStarted(at(1.79), false)
	e.UserEnded(at(3), false)
	e.want(0.9*0.3+0.1*0.7, "later starts are ignored")
}

func TestC034AnInterruptionThatIsNoticedLateCountsFromItsBeginning(t *testing.T) {
	e := dynamic(t, 0.3, 1)
	e.says(0, 1)
	e.AgentStarted(at(1.5))
	e.UserStarted(at(1.7), false)
	e.UserStarted(at(2.2), true) // long enough to interrupt
	e.UserEnded(at(3), false)
	e.want(0.9*0.3+0.1*0.7, "the utterance began at 1.7 s")
}

func TestC034AnAgentThatCutInMovesTheEndBeforeIt(t *testing.T) {
	e := dynamic(t, 0.05, 1)
	e.says(0, 1)
	e.says(1.9, 2)
	learned := 0.9*0.05 + 0.1*0.9
	e.want(learned, "after a pause of 0.9 s")
	e.UserStarted(at(5), false) // its end is never told
	e.AgentStarted(at(8))
	e.UserStarted(at(8.04), true)
	e.UserEnded(at(9), false)
	e.want(0.9*learned+0.1*0.041, "the last end became 7.999, 1 ms before the agent")
}

func TestC034TheSecondOfTwoAgentSpeechesSpansATurn(t *testing.T) {
	e := dynamic(t, 0.3, 5)
	e.says(0, 1)
	e.AgentStarted(at(1.5))
	e.AgentEnded(at(2.5))
	e.AgentStarted(at(3))
	e.interrupts(3.1, 4)
	e.want(0.3, "the pause of 2.1 s holds a whole speech of the agent")
}

func TestC035ABackchannelTeachesNothing(t *testing.T) {
	e := dynamic(t, 0.3, 5)
	e.says(0, 1)
	e.AgentStarted(at(1.5))
	e.UserStarted(at(1.78), true)
	e.UserEnded(at(2), true)
	e.want(0.3, "after the backchannel")
	e.AgentEnded(at(2.2))
	e.says(2.6, 3)
	e.want(0.3, "after the next utterance: the times before were dropped, and the agent spoke between")
	e.says(3.5, 4)
	e.want(0.9*0.3+0.1*0.5, "later pauses are learned again")
}

func TestC035ABackchannelWithinTheLeadingSilenceIsAnUtterance(t *testing.T) {
	e := dynamic(t, 0.3, 5)
	e.says(0, 1)
	e.AgentStarted(at(1.5))
	e.UserStarted(at(1.74), true)
	e.UserEnded(at(2), true)
	e.want(0.9*0.3+0.1*0.74, "nobody had heard the agent yet")
}

func TestC035AVerdictWithoutOverlapIsIgnored(t *testing.T) {
	e := dynamic(t, 0.3, 5)
	e.says(0, 1)
	e.UserStarted(at(1.6), false)
	e.UserEnded(at(2), true)
	e.want(0.33, "a pause of 0.6 s")
}

func TestUpdateOfDelaysThatLearn(t *testing.T) {
	e := dynamic(t, 0.3, 1)
	learned := 0.9*0.3 + 0.1*0.9
	e.says(0, 1)
	e.says(1.9, 2)
	e.want(learned, "at first")
	e.Update(turn.EndpointingOptions{MaxDelay: opt.Some(seconds(0.35))})
	e.want(0.35, "a lower ceiling bounds")
	e.Update(turn.EndpointingOptions{MaxDelay: opt.Some(seconds(2))})
	e.want(learned, "a higher one bounds no longer")
	e.Update(turn.EndpointingOptions{Alpha: opt.Some(0.5)})
	e.want(learned, "alpha changes what comes")
	e.says(2.8, 3)
	e.want(0.5*learned+0.5*0.8, "with the new alpha")
	e.Update(turn.EndpointingOptions{Alpha: opt.Some(math.NaN())})
	e.Update(turn.EndpointingOptions{Alpha: opt.Some(1.5)})
	e.says(3.8, 4)
	e.want(0.5*(0.5*learned+0.5*0.8)+0.5*0.8, "odd alphas are ignored")
	e.Update(turn.EndpointingOptions{MinDelay: opt.Some(seconds(0.2))})
	e.want(0.2, "a new floor begins again")
	e.Update(turn.EndpointingOptions{})
	e.says(4.4, 5)
	e.want(0.5*0.2+0.5*0.4, "from the new floor")
	e.Update(turn.EndpointingOptions{Mode: turn.Fixed})
	e.want(0.2, "fixed")
	e.Update(turn.EndpointingOptions{Mode: turn.Dynamic})
	e.want(0.2, "dynamic begins again")
}
