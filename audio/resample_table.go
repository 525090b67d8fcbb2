package audio

import (
	"math"
	"sync"
)

// filterTable is the polyphase filter of a ratio of rates: a windowed sinc, cut into one row of
// coefficients per phase. It is never changed once built, so all streams share it.
type filterTable struct {
	up, down int       // out/in, reduced
	taps     int       // coefficients per phase
	stride   int       // taps rounded up to a multiple of 8; the oldest are zero
	coef     []float32 // rows of stride coefficients, oldest sample first
}

const (
	maxTableBytes   = 1 << 20
	maxCachedTables = 64 // more ratios than any program uses; beyond, tables are not shared
	rollOff         = 0.94
	kaiserBeta      = 8.5
)

type tableKey struct {
	up, down int
	quality  Quality
}

var tables = struct {
	sync.Mutex
	m map[tableKey]*filterTable
}{m: map[tableKey]*filterTable{}}

// filterFor returns the table for the two rates, built at most once per ratio.
func filterFor(in, out int, q Quality) (*filterTable, error) {
	g := gcd(in, out)
	key := tableKey{up: out / g, down: in / g, quality: q}
	tables.Lock()
	defer tables.Unlock()
	if t := tables.m[key]; t != nil {
		return t, nil
	}
	t, err := newFilterTable(key)
	if err == nil && len(tables.m) < maxCachedTables {
		tables.m[key] = t
	}
	return t, err
}

func newFilterTable(key tableKey) (*filterTable, error) {
	zeros := 16.0 // crossings of the sinc on each side
	if key.quality == High {
		zeros = 32
	}
	cutoff := min(1, float64(key.up)/float64(key.down)) * rollOff
	t := &filterTable{up: key.up, down: key.down, taps: 2 * int(math.Ceil(zeros/cutoff))}
	t.stride = (t.taps + 7) &^ 7
	if t.stride*t.up*4 > maxTableBytes {
		return nil, ErrRatio
	}
	t.coef = make([]float32, t.stride*t.up)
	for p := range t.up {
		t.fillPhase(p, cutoff)
	}
	return t, nil
}

// fillPhase computes a row. Dividing it by its own sum gives every phase the same gain for a
// constant input; otherwise the differences between phases would be heard as hum.
func (t *filterTable) fillPhase(p int, cutoff float64) {
	var (
		row    = make([]float64, t.taps)
		centre = float64(t.taps*t.up-1) / 2
		sum    float64
	)
	for j := range row {
		d := float64(p+j*t.up) - centre
		x := math.Pi * d / float64(t.up) * cutoff
		sinc := 1.0
		if x != 0 {
			sinc = math.Sin(x) / x
		}
		row[j] = cutoff * sinc * kaiser(d/(centre+1))
		sum += row[j]
	}
	out := t.coef[p*t.stride : (p+1)*t.stride]
	for j, v := range row {
		out[t.stride-1-j] = float32(v / sum)
	}
}

// kaiser is the Kaiser window at r, from -1 to 1, up to a constant factor.
func kaiser(r float64) float64 {
	return bessel0(kaiserBeta * math.Sqrt(1-r*r))
}

// bessel0 is the modified Bessel function of the first kind, of order 0.
func bessel0(x float64) float64 {
	sum, term := 1.0, 1.0
	for k := 1.0; term > sum*1e-16; k++ {
		term *= (x / 2 / k) * (x / 2 / k)
		sum += term
	}
	return sum
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}
