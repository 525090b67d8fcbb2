package realtimetest_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/llm/chat"
	llm "github.com/parley-go/parley/llm/driver"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/model/fault"
	"github.com/parley-go/parley/realtime/driver"
	"github.com/parley-go/parley/realtime/realtimetest"
	"github.com/parley-go/parley/realtime/scripted"
)

const heard, secret = "Turn on the lights.", "key-to-the-house"

// harness acts out scenes with the scripted model; change, if set, changes the script, and wrap the driver.
func harness(change func(*scripted.Options), wrap func(driver.Realtime) driver.Realtime) realtimetest.Harness {
	speech := audio.Silence(1500*time.Millisecond, 16000, 1)
	for i := range audio.SamplesIn(time.Second, speech.Rate) {
		speech.Data[i] = 2000
	}
	return realtimetest.Harness{
		Start: func(_ testing.TB, s realtimetest.Scene) realtimetest.Provider {
			o := script(s)
			if change != nil {
				change(o)
			}
			r := scripted.New(o)
			var d driver.Realtime = r
			if wrap != nil {
				d = wrap(d)
			}
			return realtimetest.Provider{Driver: d, Served: func() realtimetest.Served { return served(r) }}
		},
		Speech: speech, Text: heard, Secret: secret,
	}
}

// script is that of a scene.
func script(s realtimetest.Scene) *scripted.Options {
	o := &scripted.Options{
		Texts: strings.SplitAfter(strings.Repeat(heard+"\n", 20), "\n"), TranscriptModel: "ear", Latency: 5 * time.Millisecond,
		Acquire: &scripted.Acquire{Took: time.Millisecond}, Speed: 1000,
		Respond: func(_ int, a scripted.Asked) scripted.Reply { return replied(s.Answer(asked(a))) },
	}
	for i, t := range o.Texts {
		o.Texts[i] = strings.TrimSpace(t)
	}
	conn := 0
	if s.Times < 0 {
		conn = -1
	}
	strike := func(when scripted.When, kind scripted.FaultKind, err error) {
		o.Faults = append(o.Faults, scripted.Fault{Conn: conn, When: when, Kind: kind, Err: err})
	}
	status := func(code int, after time.Duration) error {
		return &model.Error{Kind: model.KindStatus, Provider: "scripted", Op: "connect", Status: code, RetryAfter: after}
	}
	switch s.Kind {
	case fault.Refuse, fault.TLSFailure, fault.CloseEarly:
		strike(scripted.AtConnect, scripted.Fail, nil)
	case fault.SlowDial:
		strike(scripted.AtConnect, scripted.Stall, nil)
	case fault.Unauthorized:
		strike(scripted.AtConnect, scripted.Fail, status(401, 0))
	case fault.RateLimit:
		strike(scripted.AtConnect, scripted.Fail, status(429, time.Second))
	case fault.ServerError:
		strike(scripted.AtConnect, scripted.Fail, status(503, 0))
	case fault.Reset:
		strike(scripted.AtOutput, scripted.Fail, nil)
	case fault.HangUp:
		strike(scripted.AtOutput, scripted.Hangup, nil)
	case fault.Stall, fault.HalfOpen:
		strike(scripted.AtOutput, scripted.Stall, nil)
	case fault.Malformed, fault.Oversized:
		strike(scripted.AtOutput, scripted.Fail, &model.Error{Kind: model.KindProtocol, Provider: "scripted", Op: "receive"})
	case fault.Silence:
		strike(scripted.AtResponse, scripted.Stall, nil)
	case fault.DoubleFinal, fault.UsageRepeated:
		strike(scripted.AtResponse, scripted.Repeated, nil)
	case fault.UsageMissing:
		o.NoUsage = true
	case fault.Slow:
		o.Speed = 1
	}
	return o
}

func asked(a scripted.Asked) realtimetest.Asked {
	q := realtimetest.Asked{Instructions: a.Setup.Instructions + "\n" + a.Request.Instructions, Tools: a.Setup.Tools}
	if a.Request.Tools != nil {
		q.Tools = *a.Request.Tools
	}
	if c := a.Request.ToolChoice; c != nil && c.Mode == llm.ToolNone {
		q.Tools = nil
	}
	for _, it := range a.Items {
		switch it := it.(type) {
		case *chat.Message:
			q.Turns = append(q.Turns, realtimetest.Turn{Role: string(it.Role), Text: it.Text(), Audio: a.Truncated[it.ID]})
		case *chat.FunctionCall:
			q.Turns = append(q.Turns, realtimetest.Turn{Role: "call", Text: it.Arguments, Tool: it.Name})
		case *chat.FunctionCallOutput:
			q.Turns = append(q.Turns, realtimetest.Turn{Role: "output", Text: it.Output})
		}
	}
	if a.Images > 0 {
		q.Turns[0].Images = a.Images
	}
	return q
}

func replied(r realtimetest.Reply) scripted.Reply {
	out := scripted.Reply{Text: r.Text, Calls: r.Calls, Status: driver.Status(r.Status)}
	if r.Status != "" {
		out.Err = &model.Error{Kind: model.KindProtocol, Provider: "scripted", Op: "respond"}
	}
	return out
}

func served(r *scripted.Realtime) realtimetest.Served {
	l := r.Ledger()
	var billed, stated metrics.Collector
	book := func(c *metrics.Collector, id string, u driver.Usage) {
		e := &metrics.Realtime{InputTokens: u.InputTokens, OutputTokens: u.OutputTokens, TotalTokens: u.TotalTokens, InputTokenDetails: u.Input, OutputTokenDetails: u.Output}
		e.ID, e.Metadata = id, metrics.Metadata{ModelName: "script", ModelProvider: "scripted"}
		c.Add(e)
	}
	for _, x := range l.Responses {
		book(&billed, x.ID, x.Usage)
		book(&stated, x.ID, x.Stated)
	}
	for _, c := range []*metrics.Collector{&billed, &stated} {
		e := &metrics.STT{AudioDuration: l.Transcribed}
		e.ID, e.Metadata = "ear", metrics.Metadata{ModelName: "ear", ModelProvider: "scripted"}
		c.Add(e)
	}
	return realtimetest.Served{Billed: billed.Usage(), Stated: stated.Usage(), Dials: l.Dials, Open: l.Open}
}

func TestScriptedModelConforms(t *testing.T) {
	h := harness(nil, nil)
	for _, c := range realtimetest.Cases() {
		t.Run(c.Name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { c.Run(t, h) })
		})
	}
}
