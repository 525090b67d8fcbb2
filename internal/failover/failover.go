// Package failover has what the fallbacks of all kinds of models share: which of the models are
// believed to work, in what order to ask them, and when one that failed may be probed.
package failover

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/parley-go/parley/model"
)

const (
	firstPause = 10 * time.Second
	maxPause   = 5 * time.Minute
)

// Group is the models of one fallback, the preferred one first. It is safe for concurrent use.
type Group[M interface{ Info() model.Info }] struct {
	kind     string
	pause    time.Duration
	onChange func(model.AvailabilityEvent)
	members  []*Member[M]
}

// Member is one of the models of a group.
type Member[M interface{ Info() model.Info }] struct {
	Model M

	g       *Group[M]
	mu      sync.Mutex
	down    bool
	probing bool
	due     time.Time     // no probe before
	pause   time.Duration // before the next one
}

// New makes the group of models, which are of a kind as in model.ErrorEvent. The first probe of a model
// comes pause after its failure, 0 means 10 s; each that fails doubles the pause, up to 5 minutes.
// onChange may be nil.
func New[M interface{ Info() model.Info }](kind string, pause time.Duration, onChange func(model.AvailabilityEvent), models []M) *Group[M] {
	if pause <= 0 {
		pause = firstPause
	}
	g := &Group[M]{kind: kind, pause: pause, onChange: onChange}
	for _, m := range models {
		g.members = append(g.members, &Member[M]{Model: m, g: g})
	}
	return g
}

// Models are the models of the group.
func (g *Group[M]) Models() []M {
	var out []M
	for _, m := range g.members {
		out = append(out, m.Model)
	}
	return out
}

// Order is the order in which to ask: models that failed come last, each time in their own order.
func (g *Group[M]) Order() []*Member[M] {
	var good, bad []*Member[M]
	for _, m := range g.members {
		if m.isDown() {
			bad = append(bad, m)
		} else {
			good = append(good, m)
		}
	}
	return append(good, bad...)
}

// Ready is Order for groups that nobody probes: a model that failed is asked in its own place once the pause
// after its failure is over.
func (g *Group[M]) Ready() []*Member[M] {
	var good, bad []*Member[M]
	for _, m := range g.members {
		if pause, down := m.Pause(); down && pause > 0 {
			bad = append(bad, m)
		} else {
			good = append(good, m)
		}
	}
	return append(good, bad...)
}

// First is the model that would be asked now.
func (g *Group[M]) First() M { return g.Order()[0].Model }

// Passed are the models that are passed over although they come before the first of Order.
func (g *Group[M]) Passed() []*Member[M] {
	for i, m := range g.members {
		if !m.isDown() {
			return g.members[:i]
		}
	}
	return nil // all are asked
}

func (m *Member[M]) isDown() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.down
}

// Failed says that the model failed in a call with context ctx.
func (m *Member[M]) Failed(ctx context.Context) {
	m.mu.Lock()
	was := m.down
	m.down = true
	if !was {
		m.pause = m.g.pause
		m.due = time.Now().Add(m.pause)
	}
	m.mu.Unlock()
	if !was {
		m.tell(ctx, false)
	}
}

// Works says that the model did well in a call with context ctx.
func (m *Member[M]) Works(ctx context.Context) {
	m.mu.Lock()
	was := m.down
	m.down = false
	m.mu.Unlock()
	if was {
		m.tell(ctx, true)
	}
}

func (m *Member[M]) tell(ctx context.Context, available bool) {
	e := model.AvailabilityEvent{Kind: m.g.kind, Info: m.Model.Info(), Available: available, Time: time.Now()}
	model.ReportAvailability(ctx, e)
	if m.g.onChange != nil {
		m.g.onChange(e)
	}
}

// Probe reserves the model for a probe. It reports false when the model works, when it is being probed,
// or when it is too early. The caller probes and says by end what came of it.
func (m *Member[M]) Probe() (end func(ctx context.Context, works bool), ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.down || m.probing || time.Now().Before(m.due) {
		return nil, false
	}
	m.probing = true
	return m.probed, true
}

// Pause is how long to wait before it is worth trying to Probe; false when the model works.
func (m *Member[M]) Pause() (time.Duration, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.probing {
		return m.g.pause, m.down
	}
	return max(time.Until(m.due), 0), m.down
}

func (m *Member[M]) probed(ctx context.Context, works bool) {
	m.mu.Lock()
	m.probing = false
	m.pause = min(2*m.pause, maxPause)
	m.due = time.Now().Add(m.pause)
	m.mu.Unlock()
	if works {
		m.Works(ctx)
	}
}

// Failure is the error of a call in which all models of a fallback failed, with errs in the order in
// which they were asked.
func Failure(info model.Info, op string, began time.Time, errs []error) error {
	if len(errs) == 1 {
		return errs[0]
	}
	texts := make([]string, len(errs))
	for i, err := range errs {
		texts[i] = err.Error()
	}
	cause := &failure{
		text: fmt.Sprintf("all %d models failed within %s: %s", len(errs), time.Since(began).Round(time.Millisecond), strings.Join(texts, "; ")),
		errs: errors.Join(errs...),
	}
	return &model.Error{Kind: model.KindConnection, Provider: info.Provider, Op: op, Err: cause}
}

// failure says in one line what errors.Join says in many.
type failure struct {
	text string
	errs error
}

func (f *failure) Error() string { return f.text }
func (f *failure) Unwrap() error { return f.errs }
