package aws

import (
	"encoding/json"

	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/realtime/driver"
)

// usage is what the service states from time to time.
type usage struct {
	Details struct {
		Delta tally  `json:"delta"` // since the last one
		Total *tally `json:"total"` // of the connection
	} `json:"details"`
}

type tally struct {
	Input  tokens `json:"input"`
	Output tokens `json:"output"`
}

type tokens struct {
	Speech int64 `json:"speechTokens"`
	Text   int64 `json:"textTokens"`
}

func (t *tokens) add(x tokens, sign int64) {
	t.Speech += sign * x.Speech
	t.Text += sign * x.Text
}

func (t *tally) add(x tally, sign int64) {
	t.Input.add(x.Input, sign)
	t.Output.add(x.Output, sign)
}

// account adds up what is used. What the user's speech costs comes before the answer to it and is told with it.
type account struct {
	total, told tally
	known       bool // something was stated since it was last taken
	ever        bool // or before
	guessed     bool // what was not stated is estimated by whoever asked
	mixed       bool // what goes on was stated together with what was estimated
}

// add takes a statement, which may be for an answer that is not told yet. The totals say what a delta that comes
// twice, or is lost, does not.
func (a *account) add(u *usage, untold bool) {
	now := a.total
	if u.Details.Total != nil {
		now = *u.Details.Total
	} else {
		now.add(u.Details.Delta, 1)
	}
	if a.ever && now == a.total {
		return
	}
	a.known, a.mixed = true, false
	if a.guessed {
		before := now
		before.add(u.Details.Delta, -1)
		if before == (tally{}) || !untold { // it has in it what was estimated
			before, a.known, a.mixed = now, false, untold
		}
		a.told = before
	}
	a.total, a.ever, a.guessed = now, true, false
}

// close is what an answer cost; nil when nothing was stated that is its alone, so that it is to be estimated. What is
// stated later than the end of an answer is told with the next one.
func (a *account) close() *driver.Usage {
	if !a.known && a.ever && !a.mixed {
		return &driver.Usage{}
	}
	a.guessed, a.mixed = !a.known, false
	return a.take()
}

// take is what was used since it was last told; nil if nothing was stated.
func (a *account) take() *driver.Usage {
	if !a.known {
		return nil
	}
	a.known = false
	now := a.total
	now.add(a.told, -1)
	a.told = a.total
	raw, _ := json.Marshal(now) // of numbers
	u := &driver.Usage{
		InputTokens: now.Input.Speech + now.Input.Text, OutputTokens: now.Output.Speech + now.Output.Text,
		Input:  metrics.InputTokenDetails{AudioTokens: now.Input.Speech, TextTokens: now.Input.Text},
		Output: metrics.OutputTokenDetails{AudioTokens: now.Output.Speech, TextTokens: now.Output.Text},
		Raw:    raw,
	}
	u.TotalTokens = u.InputTokens + u.OutputTokens
	return u
}
