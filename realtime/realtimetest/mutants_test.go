package realtimetest_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/realtime/driver"
	"github.com/parley-go/parley/realtime/realtimetest"
	"github.com/parley-go/parley/realtime/scripted"
)

// conn is all that the scripted model's connections can do.
type conn interface {
	driver.Conn
	driver.Updater
	driver.Deleter
	driver.Truncater
	driver.Turner
	driver.Canceller
	driver.Sayer
	driver.Watcher
	driver.Connected
}

// mutant is a driver that does something wrong. What is nil is as it should be.
type mutant struct {
	driver.Realtime
	info     func(*model.Info)
	able     func(*driver.Capabilities)
	setup    func(*driver.Setup)
	quiet    bool                            // tells of no connections
	refusal  func(error) error               // of Connect
	event    func(driver.Event)              // changes what a connection tells
	last     func(error) error               // of Next
	more     func(driver.Event) driver.Event // comes after another event; nil for nothing
	generate func(*driver.Request)
	mute     error // of Generate
	add      func([]driver.Item) []driver.Item
	update   func(*driver.Update)
	pushes   func(n int) bool // the nth frame
	skips    map[string]bool  // methods that do nothing
	clings   bool             // Close does not end Next, for a while
	leaks    bool             // Close closes nothing
}

func (m *mutant) Info() model.Info {
	i := m.Realtime.Info()
	if m.info != nil {
		m.info(&i)
	}
	return i
}

func (m *mutant) Capabilities() driver.Capabilities {
	c := m.Realtime.Capabilities()
	if m.able != nil {
		m.able(&c)
	}
	return c
}

func (m *mutant) Connect(ctx context.Context, s *driver.Setup) (driver.Conn, error) {
	if m.setup != nil {
		x := *s
		m.setup(&x)
		s = &x
	}
	if m.quiet {
		ctx = metrics.WithRecorder(ctx, nil)
	}
	c, err := m.Realtime.Connect(ctx, s)
	if err != nil {
		if m.refusal != nil {
			err = m.refusal(err)
		}
		return nil, err
	}
	x := &mutated{conn: c.(conn), m: m}
	if m.skips["Truncater"] {
		return plain{x, x, x, x, x}, nil
	}
	return x, nil
}

// plain is a connection that cannot cut answers.
type plain struct {
	driver.Conn
	driver.Updater
	driver.Turner
	driver.Sayer
	driver.Connected
}

type mutated struct {
	conn
	m    *mutant
	next driver.Event
	n    int
}

func (c *mutated) Next(ctx context.Context) (driver.Event, error) {
	if e := c.next; e != nil {
		c.next = nil
		return e, nil
	}
	e, err := c.conn.Next(ctx)
	if err != nil {
		if c.m.clings {
			time.Sleep(time.Minute)
		}
		if c.m.last != nil {
			err = c.m.last(err)
		}
		return e, err
	}
	if c.m.event != nil {
		c.m.event(e)
	}
	if c.m.more != nil {
		c.next = c.m.more(e)
	}
	return e, nil
}

func (c *mutated) Push(ctx context.Context, f audio.Frame) error {
	c.n++
	if c.m.pushes != nil && !c.m.pushes(c.n) {
		return nil
	}
	return c.conn.Push(ctx, f)
}

func (c *mutated) Generate(ctx context.Context, r *driver.Request) error {
	x := *r
	if c.m.mute != nil {
		return c.m.mute
	}
	if c.m.generate != nil {
		c.m.generate(&x)
	}
	return c.conn.Generate(ctx, &x)
}

func (c *mutated) Add(ctx context.Context, items []driver.Item) error {
	if c.m.add != nil {
		items = c.m.add(items)
	}
	return c.conn.Add(ctx, items)
}

func (c *mutated) Update(ctx context.Context, u *driver.Update) error {
	x := *u
	if c.m.update != nil {
		c.m.update(&x)
	}
	return c.conn.Update(ctx, &x)
}

func (c *mutated) Delete(ctx context.Context, id string) error {
	if c.m.skips["Delete"] {
		id = "another"
	}
	return c.conn.Delete(ctx, id)
}

func (c *mutated) Truncate(ctx context.Context, id string, d time.Duration, text string) error {
	if c.m.skips["Truncate"] {
		return nil
	}
	return c.conn.Truncate(ctx, id, d, text)
}

func (c *mutated) Cancel(ctx context.Context) error {
	if c.m.skips["Cancel"] {
		return nil
	}
	return c.conn.Cancel(ctx)
}

func (c *mutated) Say(ctx context.Context, r *driver.Request, text string) error {
	if c.m.skips["Say"] {
		text = "No."
	}
	return c.conn.Say(ctx, r, text)
}

func (c *mutated) Commit(ctx context.Context) error {
	if c.m.skips["Commit"] {
		return errors.Join(c.conn.Commit(ctx), c.conn.Generate(ctx, &driver.Request{}))
	}
	return c.conn.Commit(ctx)
}

func (c *mutated) Clear(ctx context.Context) error {
	if c.m.skips["Clear"] {
		return c.conn.Commit(ctx)
	}
	return c.conn.Clear(ctx)
}

func (c *mutated) PushImage(ctx context.Context, i *chat.Image) error {
	if c.m.skips["PushImage"] {
		return nil
	}
	return c.conn.PushImage(ctx, i)
}

func (c *mutated) Close() error {
	if c.m.leaks {
		return nil
	}
	return c.conn.Close()
}

// events has f change those of one type.
func events[T driver.Event](f func(T)) func(driver.Event) {
	return func(e driver.Event) {
		if t, ok := e.(T); ok {
			f(t)
		}
	}
}

// found is a mutant, and the cases that must find it.
type found struct {
	m     mutant
	cases []string
}

// mutants are drivers that do wrong.
func mutants() map[string]found {
	noUsage := events(func(e *driver.ResponseDone) { e.Usage = nil })
	lessUsage := events(func(e *driver.ResponseDone) {
		if e.Usage != nil {
			e.Usage.Output.AudioTokens--
		}
	})
	noEnd := func(e driver.Event) {
		switch e := e.(type) {
		case *driver.Interrupted:
			e.ResponseID = "another"
		case *driver.ResponseDone:
			e.Status = driver.Completed
		}
	}
	return map[string]found{
		"has no kind":                   {mutant{info: func(i *model.Info) { i.Label = "scripted" }}, []string{"info"}},
		"promises what it cannot do":    {mutant{skips: map[string]bool{"Truncater": true}}, []string{"capabilities"}},
		"keeps usage to itself":         {mutant{event: noUsage}, []string{"spoken turn", "close"}},
		"states tokens of another kind": {mutant{event: lessUsage}, []string{"spoken turns", "two sessions"}},
		"does not say what was heard": {mutant{event: events(func(e *driver.Transcript) { e.Text = "Hm." })},
			[]string{"spoken turn", "spoken over"}},
		"bills transcripts to nobody":      {mutant{event: events(func(e *driver.TranscriptUsage) { e.Model = "" })}, []string{"spoken turn"}},
		"repeats usage":                    {mutant{more: repeated}, []string{"usage repeated", "double final"}},
		"answers what is committed":        {mutant{skips: map[string]bool{"Commit": true}}, []string{"client turns"}},
		"clears nothing":                   {mutant{skips: map[string]bool{"Clear": true}}, []string{"client clears"}},
		"forgets what was asked for":       {mutant{event: events(func(e *driver.ResponseCreated) { e.RequestID = "" })}, []string{"asked", "asked twice", "withdrawn"}},
		"drops instructions of one answer": {mutant{generate: func(r *driver.Request) { r.Instructions = "" }}, []string{"asked"}},
		"heeds no tool choice":             {mutant{generate: func(r *driver.Request) { r.ToolChoice = nil }}, []string{"no tools"}},
		"tells of no connection":           {mutant{quiet: true}, []string{"connections", "refused once"}},
		"mixes calls up":                   {mutant{event: events(func(e *driver.ToolCall) { e.Call.CallID = "call" })}, []string{"words and two calls"}},
		"takes short answers for failures": {mutant{event: events(func(e *driver.ResponseDone) {
			if e.Status == driver.Incomplete {
				e.Status = driver.Failed
			}
		})}, []string{"incomplete"}},
		"loses arguments": {mutant{event: events(func(e *driver.ToolCall) { e.Call.Arguments = "" })}, []string{"tool call"}},
		"loses outputs": {mutant{add: func(items []driver.Item) []driver.Item {
			for i, it := range items {
				if o, ok := it.Item.(*chat.FunctionCallOutput); ok {
					x := *o
					x.Output = ""
					items[i].Item = &x
				}
			}
			return items
		}}, []string{"tool call"}},
		"begins without history":     {mutant{setup: func(s *driver.Setup) { s.History = &chat.Context{} }}, []string{"history", "reconnect", "max age"}},
		"deletes nothing":            {mutant{skips: map[string]bool{"Delete": true}}, []string{"context", "removed"}},
		"adds at the end":            {mutant{add: atTheEnd}, []string{"context"}},
		"keeps its instructions":     {mutant{update: func(u *driver.Update) { u.Instructions = nil }}, []string{"instructions"}},
		"keeps its tools":            {mutant{update: func(u *driver.Update) { u.Tools = nil }}, []string{"tools"}},
		"begins without tools":       {mutant{setup: func(s *driver.Setup) { s.Tools = nil }}, []string{"reconnect", "tool call"}},
		"goes on talking":            {mutant{skips: map[string]bool{"Cancel": true}}, []string{"interrupted"}},
		"does not cut answers":       {mutant{skips: map[string]bool{"Truncate": true}}, []string{"truncated"}},
		"speaks over the user":       {mutant{event: noEnd}, []string{"spoken over"}},
		"says something else":        {mutant{skips: map[string]bool{"Say": true}}, []string{"say"}},
		"speaks instead of writing":  {mutant{setup: func(s *driver.Setup) { s.TextOnly = false }}, []string{"text only"}},
		"does not look":              {mutant{skips: map[string]bool{"PushImage": true}}, []string{"image"}},
		"leaks connections":          {mutant{leaks: true}, []string{"spoken turn", "context ends"}},
		"does not close":             {mutant{clings: true}, []string{"driver connection"}},
		"ends in its own way":        {mutant{last: func(error) error { return &model.Error{Kind: model.KindStatus, Status: 400, Provider: "scripted"} }}, []string{"reset", "hung up", "malformed", "oversized"}},
		"never notices":              {mutant{last: func(error) error { time.Sleep(time.Minute); return errors.New("late") }}, []string{"stalled", "half open"}},
		"is deaf on new connections": {mutant{pushes: func(n int) bool { return n > 20 }}, []string{"reconnect in a turn"}},
		"takes refusals for bad luck": {mutant{refusal: func(error) error {
			return &model.Error{Kind: model.KindConnection, Provider: "scripted"}
		}}, []string{"wrong key", "status 429 once"}},
		"takes bad luck for refusals": {mutant{refusal: func(error) error {
			return &model.Error{Kind: model.KindStatus, Status: 400, Provider: "scripted"}
		}}, []string{"refused once", "slow dial", "closed early once", "status 503 once", "refused always", "no secure connection"}},
		"gives its key away": {mutant{refusal: func(err error) error { return fmt.Errorf("%s: %w", secret, err) }}, []string{"refused once"}},
		"asks for nothing":   {mutant{mute: &model.Error{Kind: model.KindStatus, Status: 400, Provider: "scripted"}}, []string{"silence", "asked"}},
		"hides failures": {mutant{event: events(func(e *driver.ResponseDone) { e.Status, e.Err = driver.Completed, nil })},
			[]string{"failed once", "failed always"}},
		"makes up answers": {mutant{more: func(e driver.Event) driver.Event {
			if _, ok := e.(*driver.ItemAdded); ok {
				return &driver.ResponseCreated{ResponseID: "made up"}
			}
			return nil
		}}, []string{"spoken turn"}},
		"counts for itself": {mutant{event: events(func(e *driver.ResponseDone) {
			if e.Usage == nil {
				e.Usage = &driver.Usage{InputTokens: 1, OutputTokens: 1, Raw: []byte("{}")}
			}
		})}, []string{"usage missing"}},
	}
}

// repeated tells the usage of every answer once more, as that of no answer.
func repeated(e driver.Event) driver.Event {
	if d, ok := e.(*driver.ResponseDone); ok && d.Usage != nil {
		return &driver.ResponseUsage{Usage: *d.Usage}
	}
	return nil
}

func atTheEnd(items []driver.Item) []driver.Item {
	for i := range items {
		items[i].After, items[i].First = "", false
	}
	return items
}

// probe notes whether a case fails.
type probe struct {
	testing.TB
	failed, skipped bool
	said            []string
}

func (p *probe) Helper() {}

func (p *probe) Logf(format string, args ...any) {
	p.said = append(p.said, fmt.Sprintf(format, args...))
}

func (p *probe) Fatalf(format string, args ...any) {
	p.Logf(format, args...)
	p.failed = true
	runtime.Goexit()
}

func (p *probe) Skip(...any) {
	p.skipped = true
	runtime.Goexit()
}

func (p *probe) Skipf(string, ...any) { p.Skip() }

func TestMutantsAreFound(t *testing.T) {
	cases := map[string]realtimetest.Case{}
	for _, c := range realtimetest.Cases() {
		cases[c.Name] = c
	}
	unshaken := maps.Clone(cases)
	for name, mu := range mutants() {
		for _, of := range mu.cases {
			c, ok := cases[of]
			if !ok {
				t.Errorf("there is no case %q", of)
				continue
			}
			delete(unshaken, of)
			t.Run(name+"/"+of, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					m := mu.m
					p, done := &probe{TB: t}, make(chan bool)
					go func() {
						defer close(done)
						c.Run(p, harness(nil, func(d driver.Realtime) driver.Realtime { m.Realtime = d; return &m }))
					}()
					<-done
					time.Sleep(2 * time.Minute) // until the last of its waits is over
					if !p.failed || len(p.said) < 2 || !strings.Contains(p.said[0], c.Why) {
						t.Errorf("the case failed: %v, skipped: %v; it said %q", p.failed, p.skipped, p.said)
					}
				})
			})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(unshaken)) {
		t.Errorf("no mutant fails the case %q", name)
	}
}

// What a model cannot do by its capabilities is not asked of it.
func TestCasesHeedCapabilities(t *testing.T) {
	for name, c := range map[string]struct {
		able func(*driver.Capabilities)
		skip []string
	}{
		"finds no turns":  {func(c *driver.Capabilities) { c.ServerTurns = false }, []string{"spoken over"}},
		"finds all turns": {func(c *driver.Capabilities) { c.ClientTurns = false }, []string{"client clears", "client turns"}},
		"does not write":  {func(c *driver.Capabilities) { c.UserTranscription = false }, nil},
		"answers outputs": {func(c *driver.Capabilities) { c.AutoToolReply = true }, nil},
		"cannot be changed": {func(c *driver.Capabilities) {
			c.MutableContext, c.MutableInstructions, c.MutableTools, c.ToolsPerResponse, c.Truncation, c.Say = false, false, false, false, false, false
		}, []string{"context", "no tools", "removed", "say", "truncated"}},
	} {
		t.Run(name, func(t *testing.T) {
			var skipped []string
			able := scripted.All
			c.able(&able)
			h := harness(func(o *scripted.Options) {
				o.Capabilities = &able
				if !able.UserTranscription {
					o.TranscriptModel = ""
				}
			}, nil)
			for _, cs := range realtimetest.Cases() {
				t.Run(cs.Name, func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						p, done := &probe{TB: t}, make(chan bool)
						go func() {
							defer close(done)
							cs.Run(p, h)
						}()
						<-done
						if p.failed {
							t.Errorf("%q", p.said)
						}
						if p.skipped {
							skipped = append(skipped, cs.Name)
						}
					})
				})
			}
			slices.Sort(skipped)
			if !slices.Equal(skipped, c.skip) {
				t.Errorf("skipped %q, want %q", skipped, c.skip)
			}
		})
	}
}
