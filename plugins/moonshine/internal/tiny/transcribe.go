package tiny

import (
	"context"
	"fmt"
	"math"

	"github.com/parley-go/parley/plugins/moonshine/internal/kernel"
)

// Transcript is what was heard in one run.
type Transcript struct {
	Text string
	// Tokens is the number of tokens that were chosen, with the one that ended the text.
	Tokens int
	// LogProb is the mean logarithm of the probability of these tokens.
	LogProb float64
}

// maxTokens is the longest text, in tokens.
const maxTokens = 194

// limitOf is the number of tokens that n samples may give: people do not speak faster.
func limitOf(n int) int {
	return min(int(math.Ceil(6.5*float64(n)/Rate))+1, maxTokens)
}

// Transcribe turns mono samples at Rate into text. Audio below MinSamples gives no text, above
// MaxSamples an error. The end of ctx is noticed within a layer and returned as its error.
func (m *Model) Transcribe(ctx context.Context, k kernel.Kernel, s *Scratch, samples []int16) (Transcript, error) {
	if len(samples) < MinSamples {
		return Transcript{}, ctx.Err()
	}
	if len(samples) > MaxSamples {
		return Transcript{}, fmt.Errorf("%d samples are more than one run takes, %d", len(samples), MaxSamples)
	}
	defer s.reset()
	frames, n, err := m.encode(ctx, k, s, samples)
	if err != nil {
		return Transcript{}, err
	}
	limit := limitOf(len(samples))
	w, err := m.newWriter(ctx, k, s, frames, n, limit)
	if err != nil {
		return Transcript{}, err
	}
	ids, logProb, err := w.greedy(ctx, limit)
	if err != nil {
		return Transcript{}, err
	}
	out := Transcript{Tokens: len(ids), LogProb: logProb / float64(len(ids))}
	out.Text = m.text(withoutRepeats(ids))
	return out, nil
}

// greedy writes the likeliest token after the likeliest token, at least one and at most limit. It
// returns them and the sum of the logarithms of their probabilities.
func (w *writer) greedy(ctx context.Context, limit int) (ids []int, logProb float64, err error) {
	for next := startToken; len(ids) < limit; {
		logits, err := w.step(ctx, next)
		if err != nil {
			return nil, 0, err
		}
		next = best(logits)
		ids = append(ids, next)
		logProb += logProbability(logits, next)
		if next == stopToken || repeated(ids) > 0 {
			break
		}
	}
	return ids, logProb, nil
}

// best is the index of the highest value, the first of them if several are equal.
func best(v []float32) int {
	at := 0
	for i, x := range v {
		if x > v[at] {
			at = i
		}
	}
	return at
}

// logProbability is the log-softmax of v at i, which has the highest value.
func logProbability(v []float32, i int) float64 {
	var sum float32
	for _, x := range v {
		if d := x - v[i]; d > -20 { // 32,768 of the others sum up to less than 1e-4
			sum += exp(d)
		}
	}
	return -math.Log(float64(sum))
}

// repeatLimit is how often a run of 1 to 4 tokens may follow itself. Single tokens may do so more
// often: a phone number has equal digits.
var repeatLimit = [...]int{1: 12, 2: 6, 3: 6, 4: 6}

// repeated is the length of the run of tokens that ids ends with too often, 0 if there is none.
func repeated(ids []int) int {
	for n := 1; n < len(repeatLimit); n++ {
		if endsWithRun(ids, n, repeatLimit[n]) {
			return n
		}
	}
	return 0
}

// endsWithRun reports whether the last n tokens stand there the given number of times.
func endsWithRun(ids []int, n, times int) bool {
	if len(ids) < n*times {
		return false
	}
	tail := ids[len(ids)-n*times:]
	for i := n; i < len(tail); i++ {
		if tail[i] != tail[i-n] {
			return false
		}
	}
	return true
}

// withoutRepeats leaves one of a run that is repeated too often at the end.
func withoutRepeats(ids []int) []int {
	if n := repeated(ids); n > 0 {
		return ids[:len(ids)-n*(repeatLimit[n]-1)]
	}
	return ids
}
