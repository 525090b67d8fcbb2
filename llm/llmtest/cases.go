package llmtest

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/parley-go/parley/llm"
	"github.com/parley-go/parley/llm/driver"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/model/fault"
	"github.com/parley-go/parley/opt"
)

// testCase is one expectation; rule is the sentence that explains it.
type testCase struct {
	name  string
	rule  string
	scene Scene
	check func(k *kit)
}

var cases = []testCase{
	{"info", `Info has a label of the form "plugin.Kind", a lower-case provider and a model.`, Scene{}, checkInfo},
	{"text", "a text arrives whole and ends with io.EOF, again and again.", Scene{}, checkText},
	{"tool call", "a tool call arrives complete: name, call id, and a JSON object as arguments.", Scene{Tool: true}, checkToolCall},
	{"usage", "the usage that the provider states is booked once, with the real model's name, and in its own words beside.", Scene{}, checkUsage},
	{"usage of a tool call", "a tool call costs what the provider states.", Scene{Tool: true}, func(k *kit) {
		if _, _, err := k.chat(0).Collect(); err != nil {
			k.broken("the request failed: %v", err)
		}
		k.booked()
	}},
	{"request id", "every chunk carries the provider's id of the answer, so that support can find it.", Scene{}, checkRequestID},
	{"connections", "every request tells in one event how it got its connection, and dials only when there is none.", Scene{}, checkConnections},
	{"request untouched", "the driver does not change the request.", Scene{}, checkUntouched},
	{"parallel requests", "requests at the same time do not get into each other's way.", Scene{}, checkParallel},
	{"close", "closing a stream ends a read that waits, may be done twice, and from another goroutine.", Scene{Fault: fault.Stall, Times: 1}, checkClose},
	{"cut", "an answer that is cut is read on in the background, so that what the provider states in the end is booked.",
		Scene{Fault: fault.Slow, Times: -1}, checkCut},
	{"cut in a stall", "of an answer that is cut and does not go on, what was not stated is estimated.", Scene{Fault: fault.Stall, Times: 1}, checkCutInAStall},
	{"context", "the end of the context ends the request at once.", Scene{Fault: fault.Stall, Times: 1}, checkContext},
	{"ended context", "nothing is sent when the context is over before.", Scene{}, checkEndedContext},
	{"refused", "a refused connection is a connection error, and trying again may help.", Scene{Fault: fault.Refuse, Times: 1}, retried(model.KindConnection)},
	{"no secure connection", "a connection that is not secure is not used: that is a connection error.", Scene{Fault: fault.TLSFailure, Times: -1}, checkInsecure},
	{"slow dial", "a connection whose opening is not answered is given up after the timeout, and trying again may help.",
		Scene{Fault: fault.SlowDial, Times: 1}, retried(model.KindTimeout)},
	{"oversized", "a message larger than anybody takes is a protocol error, and trying again may help.",
		Scene{Fault: fault.Oversized, Times: 1}, retried(model.KindProtocol)},
	{"hang up", "an answer that ends before it was said to end is an error after that text, and the request is not sent again.",
		Scene{Fault: fault.HangUp, Times: 99}, cutShort(model.KindConnection)},
	{"half open", "a connection on which nothing moves any more is given up after the timeout, and the request is not sent again.",
		Scene{Fault: fault.HalfOpen, Times: 99}, cutShort(model.KindTimeout)},
	{"closed early", "a connection that closes before the first byte is a connection error, and trying again may help.",
		Scene{Fault: fault.CloseEarly, Times: 1}, retried(model.KindConnection)},
	{"server error", "status 503 is a status error, and trying again may help.", Scene{Fault: fault.ServerError, Times: 1}, retried(model.KindStatus)},
	{"malformed", "what cannot be read is a protocol error, and trying again may help.", Scene{Fault: fault.Malformed, Times: 1}, retried(model.KindProtocol)},
	{"silence", "a provider that never answers is given up after the timeout, and trying again may help.", Scene{Fault: fault.Silence, Times: 1}, retried(model.KindTimeout)},
	{"rate limit", "status 429 is a status error with the provider's hint when to come back.", Scene{Fault: fault.RateLimit, Times: 1}, checkRateLimit},
	{"unauthorized", "status 401 is a status error that is not retried and gives no key away.", Scene{Fault: fault.Unauthorized, Times: 99}, checkUnauthorized},
	{"reset", "a connection that breaks in the middle of a text is an error after that text, and the request is not sent again.",
		Scene{Fault: fault.Reset, Times: 99}, cutShort(model.KindConnection)},
	{"stall", "a provider that falls silent in the middle of a text is given up after the timeout, and the request is not sent again.",
		Scene{Fault: fault.Stall, Times: 99}, cutShort(model.KindTimeout)},
	{"usage missing", "an answer whose usage is not stated is good, and its cost is estimated.", Scene{Fault: fault.UsageMissing, Times: 1}, whole},
	{"usage repeated", "usage that is stated twice is booked once.", Scene{Fault: fault.UsageRepeated, Times: 1}, whole},
	{"double final", "an answer that ends twice is the same as one that ends once.", Scene{Fault: fault.DoubleFinal, Times: 1}, whole},
}

func checkInfo(k *kit) {
	i := k.stage.LLM.Info()
	if plugin, kind, ok := strings.Cut(i.Label, "."); !ok || plugin == "" || kind == "" {
		k.broken("the label is %q", i.Label)
	}
	if i.Provider == "" || i.Provider != strings.ToLower(i.Provider) || i.Model == "" {
		k.broken("provider and model are %q and %q", i.Provider, i.Model)
	}
}

func checkText(k *kit) {
	s := k.chat(0)
	k.text(s)
	for range 2 {
		if _, err := s.Next(); err != io.EOF {
			k.broken("reading on gave %v", err)
		}
	}
	k.attempts(0)
}

func checkToolCall(k *kit) {
	_, calls, err := k.chat(0).Collect()
	if err != nil || len(calls) != 1 {
		k.broken("there were calls %+v and error %v", calls, err)
		return
	}
	var args map[string]any
	if c := calls[0]; c.Name != Tool || c.CallID == "" || json.Unmarshal([]byte(c.Arguments), &args) != nil {
		k.broken("the call was %+v", c)
	}
	if _, ok := args["location"].(string); !ok {
		k.broken("the arguments were %v", args)
	}
}

func checkUsage(k *kit) {
	k.text(k.chat(0))
	k.booked()
	e, i := k.event(), k.model.Info()
	if e.Metadata != (metrics.Metadata{ModelName: i.Model, ModelProvider: i.Provider}) || e.Outcome != metrics.Delivered {
		k.broken("the event was %+v", e)
	}
	if k.stage.Usage != nil && e.Raw == "" {
		k.broken("what the provider wrote about the usage is not there")
	}
	if e.TTFT < 0 || e.TTFT > e.Duration {
		k.broken("the first token came after %v of %v", e.TTFT, e.Duration)
	}
	if e.PromptCachedTokens+e.CacheCreationTokens > e.PromptTokens {
		k.broken("cached tokens are not part of the prompt's: %+v", e)
	}
}

func checkRequestID(k *kit) {
	s := k.chat(0)
	ids := map[string]bool{}
	for c, err := range s.All() {
		if err != nil {
			k.broken("the request failed: %v", err)
			return
		}
		ids[c.ID] = true
	}
	if len(ids) != 1 || ids[""] {
		k.broken("the ids were %v", ids)
	}
}

func checkConnections(k *kit) {
	if k.stage.Dials == nil {
		k.Skip("the harness does not count connections")
	}
	for range 3 {
		k.text(k.chat(0))
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	fresh, i := 0, k.model.Info()
	for _, c := range k.conns {
		if c.Kind != "llm" || c.Metadata != (metrics.Metadata{ModelName: i.Model, ModelProvider: i.Provider}) || c.AcquireTime < 0 || c.Reused && c.Dial != 0 {
			k.broken("an event was %+v", c)
		}
		if !c.Reused {
			fresh++
		}
	}
	if len(k.conns) != 3 || fresh != k.stage.Dials() || fresh > 1 {
		k.broken("3 requests made %d events and %d dials, of which the provider saw %d", len(k.conns), fresh, k.stage.Dials())
	}
}

func checkUntouched(k *kit) {
	r := request(true)
	before, _ := json.Marshal(r.Messages)
	if _, _, err := k.model.Chat(k.ctx, r).Collect(); err != nil {
		k.broken("the request failed: %v", err)
	}
	if after, _ := json.Marshal(r.Messages); string(after) != string(before) {
		k.broken("it was\n%s\nand is\n%s", before, after)
	}
}

func checkParallel(k *kit) {
	var wg sync.WaitGroup
	for range 8 {
		s := k.chat(0)
		wg.Go(func() { k.text(s) })
	}
	wg.Wait()
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.events) != 8 {
		k.broken("8 requests made %d events", len(k.events))
	}
}

// open gets a stream of the driver itself, past its first text.
func (k *kit) open(ctx context.Context) driver.Stream {
	tools, err := llm.NewToolContext(weather)
	if err != nil {
		k.Fatal(err)
	}
	s, err := k.stage.LLM.Chat(ctx, &driver.Request{Messages: request(false).Messages, Tools: tools.Specs()})
	if err != nil {
		k.Fatalf("the request failed: %v", err)
	}
	for {
		c, err := s.Next()
		if err != nil {
			k.Fatalf("there was no text: %v", err)
		}
		if c.Text != "" {
			return s
		}
	}
}

func checkCut(k *kit) {
	// Longer than by default: on a machine that stalls, a late word is not the driver's fault.
	m := llm.New(k.stage.LLM, &llm.Options{DrainUsage: opt.Some(10 * time.Second)})
	defer m.Close()
	k.cut(m)
	k.booked()
	e := k.event()
	if k.stage.Usage != nil && e.Source == metrics.Estimated {
		k.broken("the event was %+v", e)
	}
	if k.stage.Billed == nil {
		return
	}
	if u, ok := k.billed(func(u driver.Usage) bool { return u.TotalTokens == e.TotalTokens }); !ok {
		k.broken("%d tokens were booked, and the provider bills %+v", e.TotalTokens, u)
	}
}

func checkCutInAStall(k *kit) {
	m := llm.New(k.stage.LLM, &llm.Options{DrainUsage: opt.Some(patience / 2)})
	defer m.Close()
	k.cut(m)
	k.estimated()
}

// cut reads some text of m and leaves.
func (k *kit) cut(m *llm.Model) {
	k.Helper()
	s := m.Chat(k.ctx, request(false))
	for {
		c, err := s.Next()
		if err != nil {
			k.Fatalf("there was no text: %v", err)
		}
		if c.Text != "" {
			break
		}
	}
	s.Close()
	<-s.Done()
	if e := k.event(); e.Outcome != metrics.Interrupted || !e.Cancelled {
		k.broken("the event was %+v", e)
	}
	k.attempts(0)
}

// drained reads on in the background and tells the error at the end.
func drained(s driver.Stream) <-chan error {
	end := make(chan error, 1)
	go func() {
		for {
			if _, err := s.Next(); err != nil {
				end <- err
				return
			}
		}
	}()
	return end
}

func checkClose(k *kit) {
	s := k.open(k.ctx)
	end := drained(s)
	for range 2 {
		if err := s.Close(); err != nil {
			k.broken("close gave %v", err)
		}
	}
	k.await(end)
}

func checkContext(k *kit) {
	ctx, cancel := context.WithCancel(k.ctx)
	s := k.open(ctx)
	defer s.Close()
	end := drained(s)
	cancel()
	k.await(end)
}

func (k *kit) await(end <-chan error) {
	select {
	case err := <-end:
		if err == io.EOF {
			k.broken("the stream ended as if it were whole")
		}
	case <-time.After(5 * time.Second):
		k.broken("the read still waits after 5 s")
	}
}

func checkEndedContext(k *kit) {
	ctx, cancel := context.WithCancel(k.ctx)
	cancel()
	s, err := k.stage.LLM.Chat(ctx, &driver.Request{Messages: request(false).Messages})
	if err == nil {
		_, err = s.Next()
		s.Close()
	}
	if !errors.Is(err, context.Canceled) {
		k.broken("the error was %v", err)
	}
	if k.stage.Usage != nil && k.stage.Usage() != (driver.Usage{}) {
		k.broken("the provider billed %+v", k.stage.Usage())
	}
}

// retried expects one failed attempt, reported with its kind, and then the answer.
func retried(kind model.ErrorKind) func(k *kit) {
	return func(k *kit) {
		k.text(k.chat(2))
		k.attempts(1)
		k.booked()
		if len(k.errs) == 0 {
			return
		}
		var e *model.Error
		if !errors.As(k.errs[0].Err, &e) || e.Kind != kind || !k.errs[0].Recoverable {
			k.broken("the attempt failed with %v", k.errs[0].Err)
		}
	}
}

func checkInsecure(k *kit) { k.failure(k.chat(0), model.KindConnection) }

func checkRateLimit(k *kit) {
	_, e := k.failure(k.chat(0), model.KindStatus)
	if e.Status != 429 || e.RetryAfter != RetryAfter || !e.Retryable() {
		k.broken("status %d, come back after %v: %v", e.Status, e.RetryAfter, e)
	}
}

func checkUnauthorized(k *kit) {
	_, e := k.failure(k.chat(3), model.KindStatus)
	if e.Status != 401 {
		k.broken("the status was %d", e.Status)
	}
	k.attempts(1)
}

// cutShort expects part of the text and then an error, and about that to be booked.
func cutShort(kind model.ErrorKind) func(k *kit) {
	return func(k *kit) {
		text, _ := k.failure(k.chat(3), kind)
		if text == "" || (k.stage.Text != "" && !strings.HasPrefix(k.stage.Text, text)) {
			k.broken("the text before was %q", text)
		}
		k.attempts(1)
		k.estimated()
		if e := k.event(); e.Outcome != metrics.Failed || e.Cancelled {
			k.broken("the event was %+v", e)
		}
	}
}

func whole(k *kit) {
	k.text(k.chat(0))
	k.booked()
}
