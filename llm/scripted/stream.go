package scripted

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/parley-go/parley/llm/driver"
)

// chunks is the script of an answer but for its final usage.
func (a Answer) chunks(id string) []driver.Chunk {
	out := make([]driver.Chunk, 0, len(a.Chunks)+len(a.Calls)+8)
	out = append(out, a.Chunks...)
	if a.Chunks == nil {
		for w := range strings.SplitAfterSeq(a.Text, " ") {
			if w != "" {
				out = append(out, driver.Chunk{Text: w})
			}
		}
		for i, c := range a.Calls {
			if c.CallID == "" {
				c.CallID = fmt.Sprintf("%s_call_%d", id, i)
			}
			out = append(out, driver.Chunk{ToolCalls: []driver.ToolCall{c}})
		}
	}
	if a.EarlyUsage != nil {
		if len(out) == 0 {
			out = append(out, driver.Chunk{})
		}
		u := *a.EarlyUsage
		out[0].Usage = &u
	}
	for i := range out {
		if out[i].ID == "" {
			out[i].ID = id
		}
	}
	return out
}

type stream struct {
	l      *LLM
	ctx    context.Context
	cancel context.CancelFunc
	a      Answer
	served *Served
	chunks []driver.Chunk
	n      int // chunks handed out
	end    error
}

func (s *stream) Next() (*driver.Chunk, error) {
	if s.end != nil {
		return nil, s.end
	}
	c, err := s.next()
	if err != nil {
		s.end = err
		s.cancel()
	}
	return c, err
}

func (s *stream) next() (*driver.Chunk, error) {
	if err := s.fault(); err != nil {
		return nil, err
	}
	if s.n > len(s.chunks) || (s.n == len(s.chunks) && s.a.NoUsage) {
		s.l.close(s.served, Whole)
		return nil, io.EOF
	}
	d := s.a.Delay
	if s.n == 0 {
		d = s.a.TTFT
	}
	if err := s.wait(d); err != nil {
		return nil, err
	}
	s.n++
	if s.n > len(s.chunks) {
		u := s.finalUsage()
		c := &driver.Chunk{ID: s.served.ID, Usage: &u}
		s.l.book(s.served, c, true)
		return c, nil
	}
	c := s.chunks[s.n-1]
	s.l.book(s.served, &c, false)
	return &c, nil
}

func (s *stream) fault() error {
	f := s.a.Fault
	if f == nil || s.n < f.After {
		return nil
	}
	switch {
	case f.Panic != nil:
		s.l.close(s.served, Broken)
		panic(f.Panic)
	case f.Stall:
		return s.wait(-1)
	case f.Err != nil:
		s.l.close(s.served, Broken)
		return f.Err
	}
	return nil
}

// wait waits for d, or for the end of the request if d is negative.
func (s *stream) wait(d time.Duration) error {
	var timer <-chan time.Time
	if d > 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		timer = t.C
	}
	if d == 0 {
		if s.ctx.Err() == nil {
			return nil
		}
	}
	select {
	case <-timer:
		return nil
	case <-s.ctx.Done():
		s.l.close(s.served, Cut)
		return s.ctx.Err()
	}
}

func (s *stream) finalUsage() driver.Usage {
	if s.a.Usage != nil {
		return *s.a.Usage
	}
	s.l.mu.Lock()
	defer s.l.mu.Unlock()
	return s.served.Usage
}

// Close implements driver.Stream.
func (s *stream) Close() error {
	s.l.close(s.served, Cut)
	s.cancel()
	return nil
}
