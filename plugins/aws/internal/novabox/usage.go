package novabox

import (
	"encoding/json"
	"time"

	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model/fault"
)

type tally struct {
	Input  tokens `json:"input"`
	Output tokens `json:"output"`
}

type tokens struct {
	Speech int64 `json:"speechTokens"`
	Text   int64 `json:"textTokens"`
}

func (t *tally) add(x tally) {
	t.Input.Speech += x.Input.Speech
	t.Input.Text += x.Input.Text
	t.Output.Speech += x.Output.Speech
	t.Output.Text += x.Output.Text
}

// event is an entry of the ledger.
func (x tally) event(model string) *metrics.Realtime {
	e := &metrics.Realtime{
		InputTokens: x.Input.Speech + x.Input.Text, OutputTokens: x.Output.Speech + x.Output.Text,
		InputTokenDetails:  metrics.InputTokenDetails{AudioTokens: x.Input.Speech, TextTokens: x.Input.Text},
		OutputTokenDetails: metrics.OutputTokenDetails{AudioTokens: x.Output.Speech, TextTokens: x.Output.Text},
	}
	e.TotalTokens = e.InputTokens + e.OutputTokens
	e.Metadata = metrics.Metadata{ModelName: model, ModelProvider: "aws"}
	return e
}

// use bills what was used. With the lock.
func (t *conversation) use(x tally) {
	t.total.add(x)
	t.owed.add(x)
	t.c.Ledger.Bill(x.event(t.model))
}

// state tells what was used since it was last told. With the lock.
func (t *conversation) state(f fault.Kind) {
	if f == fault.UsageMissing {
		t.owed = tally{}
	}
	if t.owed == (tally{}) {
		return
	}
	all := t.total
	m := map[string]any{"details": map[string]any{"delta": t.owed, "total": all}, "totalInputTokens": all.Input.Speech + all.Input.Text,
		"totalOutputTokens": all.Output.Speech + all.Output.Text}
	if !t.tell("usageEvent", m, false) {
		return
	}
	t.c.Ledger.State(t.owed.event(t.model))
	t.owed = tally{}
	if f == fault.UsageRepeated {
		t.tell("usageEvent", m, false)
	}
}

// stating does f, which ends an answer, and states what that cost: before it, or behind it. With the lock.
func (t *conversation) stating(fault fault.Kind, f func() bool) bool {
	if !t.o.Late {
		t.state(fault)
	}
	ok := f()
	if t.o.Late {
		t.state(fault)
	}
	return ok
}

// tenths is what speech costs: a token for every begun tenth of a second.
func tenths(d time.Duration) int64 {
	return int64((d + 100*time.Millisecond - 1) / (100 * time.Millisecond))
}

// event is an event in JSON.
func event(name string, fields map[string]any) []byte {
	b, err := json.Marshal(map[string]any{"event": map[string]any{name: fields}})
	if err != nil {
		panic(err) // of our own types
	}
	return b
}
