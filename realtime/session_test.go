package realtime_test

import (
	"testing"
	"time"

	llm "github.com/parley-go/parley/llm/driver"
	"github.com/parley-go/parley/realtime"
	"github.com/parley-go/parley/realtime/scripted"
)

func TestTheModelAnswersWhatTheUserSays(t *testing.T) {
	o := &scripted.Options{
		Texts:   []string{"What is the weather?"},
		Replies: []scripted.Reply{{Text: "It is sunny. ", Calls: []llm.ToolCall{{Name: "look", Arguments: "{}"}}}},
		Acquire: &scripted.Acquire{Took: 50 * time.Millisecond},
	}
	run(t, o, nil, func(k *talk) {
		k.speak()
		if len(k.gens) != 1 {
			k.Fatalf("%d generations", len(k.gens))
		}
		g := k.gens[0]
		a := k.collect(g)
		if a.String() != `"It is sunny. " 650ms [look {}] <nil>` || g.Requested() {
			k.Errorf("%v, requested %v", a, g.Requested())
		}
		if st, err := g.Result(); st != realtime.Completed || err != nil {
			k.Error(st, err)
		}
		k.expect("events", k.told(),
			"started", "stopped user_0_1", `item user_0_1 after ""`, `transcript user_0_1 "What is the weather?" final true`,
			"generation resp_0_2")
		k.expect("errors", k.errorsTold())
	})
}

func TestGenerateAsksForAnAnswer(t *testing.T) {
	o := &scripted.Options{Replies: []scripted.Reply{{Text: "Hello there.", TTFT: 200 * time.Millisecond}}, Latency: 10 * time.Millisecond}
	run(t, o, &realtime.SessionOptions{Instructions: "Be kind."}, func(k *talk) {
		a := k.generate(&realtime.Request{Instructions: "Greet."})
		if a.String() != `"Hello there." 600ms [] <nil>` {
			k.Error(a)
		}
		l := k.script.Ledger()
		if len(l.Requests) != 1 || l.Requests[0].Instructions != "Greet." || l.Setups[0].Instructions != "Be kind." {
			k.Errorf("%+v", l.Requests)
		}
		k.expect("events", k.told())
	})
}
