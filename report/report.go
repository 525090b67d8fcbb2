// Package report delivers the reports of sessions: to a file, a folder, a webhook, LiveKit Cloud or a
// function. A worker does it for every job (worker.Options.Reports); a program with sessions of its own
// opens a Courier.
//
//	worker.Options{Reports: []report.Sink{
//		report.Dir("reports"),
//		report.Webhook("https://example.com/calls", report.WebhookOptions{Secret: secret, Outbox: "outbox"}),
//	}}
//
// docs/report.md has the JSON, field by field, and what receivers of webhooks do.
package report

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/parley-go/parley/session"
)

// Sink is a place that reports are delivered to: make one with File, Dir, Webhook, LiveKit or Func. It
// holds nothing before a Courier, or a worker, is opened with it, and is for one at a time.
type Sink struct {
	name    string
	err     error         // what is wrong with how it was made
	limit   time.Duration // of a delivery
	check   func() error  // nil: nothing to check
	open    func(log *slog.Logger) (func() error, error)
	deliver func(ctx context.Context, d *document) error
	backlog func() Backlog
}

const (
	deliveryTime = 30 * time.Second
	atOnce       = 8 // deliveries of a sink
)

// Backlog is what a sink keeps on disk.
type Backlog struct {
	Waiting int // reports that are to be tried again
	Dead    int // reports that were given up since the sink was opened
}

// Name tells the sink from others in logs, figures and ledgers.
func (s Sink) Name() string { return s.name }

// Named returns the sink under another name. Sinks of one worker need different ones, the same after
// a restart.
func (s Sink) Named(name string) Sink {
	s.name = name
	return s
}

// Func delivers reports to f, which has 30 s and may be called from several goroutines at once. It must
// not change the report. An error means that the report was not delivered.
func Func(name string, f func(ctx context.Context, r *session.Report) error) Sink {
	s := Sink{name: name, limit: deliveryTime, deliver: func(ctx context.Context, d *document) error { return f(ctx, d.Report) }}
	if f == nil {
		s.err = errors.New("no function")
	}
	return s
}

// ID is the id of what a report is about: of the session or, if there was none, of the job. Who gets
// two reports with one ID has got one of them twice.
func ID(r *session.Report) string {
	if r.SessionID != "" {
		return r.SessionID
	}
	return r.JobID
}

// Check tells what is wrong with sinks: how they were made, folders that are not there, names that are
// there twice.
func Check(sinks ...Sink) error {
	names := make(map[string]bool, len(sinks))
	for _, s := range sinks {
		err := s.err
		switch {
		case s.deliver == nil:
			return errors.New("report sink without a destination")
		case s.name == "":
			return errors.New("report sink without a name")
		case names[s.name]:
			return fmt.Errorf("two report sinks are named %q: give one another name with Named", s.name)
		case err == nil && s.check != nil:
			err = s.check()
		}
		if err != nil {
			return fmt.Errorf("report sink %q: %w", s.name, err)
		}
		names[s.name] = true
	}
	return nil
}

// document is a report on its way to several sinks, encoded once.
type document struct {
	*session.Report
	json func() ([]byte, error)
}

func newDocument(r *session.Report) *document {
	return &document{r, sync.OnceValues(func() ([]byte, error) {
		data, err := json.Marshal(r)
		if err != nil {
			return nil, fmt.Errorf("encoding session report: %w", err)
		}
		return data, nil
	})}
}

const maxSafe = 80 // letters of an id in the name of a file

// safe is an id as a part of the name of a file. Ids that come from LiveKit and Parley stay as they are;
// others keep apart by a hash.
func safe(id string) string {
	ok := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' || r == '-'
	}
	if id != "" && len(id) <= maxSafe && !strings.ContainsFunc(id, func(r rune) bool { return !ok(r) }) {
		return id
	}
	h := fnv.New64a()
	h.Write([]byte(id))
	short := strings.Map(func(r rune) rune {
		if ok(r) {
			return r
		}
		return '_'
	}, id[:min(len(id), maxSafe)])
	return fmt.Sprintf("%s_%016x", short, h.Sum64())
}
