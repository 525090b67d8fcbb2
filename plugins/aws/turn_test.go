package aws

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/realtime/driver"
)

// told feeds events, as "contentStart id TYPE ROLE STAGE", "textOutput id text", "contentEnd id STOP", and returns
// what comes of them, in short.
func told(t testing.TB, c *conversation, lines ...string) (got []string) {
	t.Helper()
	for _, line := range lines {
		f := strings.SplitN(line, " ", 3)
		body := map[string]any{}
		switch rest := f[min(2, len(f)-1)]; f[0] {
		case "contentStart":
			p := strings.Fields(rest)
			body = map[string]any{"contentId": f[1], "type": p[0], "role": p[1]}
			if len(p) > 2 {
				body["additionalModelFields"] = fmt.Sprintf("{\"generationStage\":%q}", p[2])
			}
		case "contentEnd":
			body = map[string]any{"contentId": f[1], "stopReason": rest}
		case "textOutput", "audioOutput":
			body = map[string]any{"contentId": f[1], "content": rest}
		case "toolUse":
			body = map[string]any{"contentId": f[1], "toolUseId": "id", "toolName": "f", "content": rest}
		}
		raw, err := json.Marshal(map[string]any{"event": map[string]any{f[0]: body}})
		if err != nil {
			t.Fatal(err)
		}
		if err := c.turn.take(t.Context(), raw); err != nil {
			t.Fatal(err)
		}
	}
	c.turn.release()
	for e := c.queue.take(); e != nil; e = c.queue.take() {
		s := strings.TrimPrefix(reflect.TypeOf(e).String(), "*driver.")
		switch e := e.(type) {
		case *driver.Text:
			s += " " + e.Delta
		case *driver.Transcript:
			s += fmt.Sprintf(" %s %v", e.Text, e.Final)
		case *driver.ToolCall:
			s += " " + e.Call.Arguments
		case *driver.ResponseDone:
			s += " " + string(e.Status)
		}
		got = append(got, s)
	}
	return got
}

func scene(t testing.TB) *conversation {
	t.Helper()
	d, err := newRealtime(nil)
	if err != nil {
		t.Fatal(err)
	}
	c := newConversation(d, &d.Client, nil)
	t.Cleanup(c.die)
	return c
}

func TestContentsBecomeTurns(t *testing.T) {
	const spoken = "AAAA"
	begin := []string{"contentStart u TEXT USER FINAL", "textOutput u hello", "contentEnd u PARTIAL_TURN",
		"contentStart s TEXT ASSISTANT SPECULATIVE", "textOutput s Hi.", "contentEnd s PARTIAL_TURN", "contentStart a AUDIO ASSISTANT", "audioOutput a " + spoken}
	began := []string{"SpeechStarted", "Transcript hello false", "SpeechStopped", "Transcript hello true", "ResponseCreated", "MessageStarted", "Text Hi.", "Audio"}
	for name, x := range map[string]struct{ in, out []string }{
		"whole": {[]string{"contentEnd a END_TURN", "contentStart f TEXT ASSISTANT FINAL", "textOutput f Hi.", "contentEnd f END_TURN"},
			[]string{"MessageDone", "ResponseDone completed"}},
		"two sentences": {[]string{"contentEnd a PARTIAL_TURN", "contentStart f TEXT ASSISTANT FINAL", "textOutput f Hi.", "contentEnd f PARTIAL_TURN",
			"contentStart s2 TEXT ASSISTANT SPECULATIVE", "textOutput s2 You?", "contentEnd s2 PARTIAL_TURN", "contentStart a2 AUDIO ASSISTANT", "audioOutput a2 " + spoken, "contentEnd a2 END_TURN"},
			[]string{"Text  You?", "Audio", "MessageDone", "ResponseDone completed"}},
		"cut by the end of the audio": {[]string{"contentEnd a INTERRUPTED", "audioOutput a " + spoken, `textOutput f { "interrupted" : true }`},
			[]string{"SpeechStarted", "Interrupted", "MessageDone", "ResponseDone cancelled"}},
		"cut by the text": {[]string{"contentStart f TEXT ASSISTANT FINAL", `textOutput f { "interrupted" : true }`, "contentEnd f INTERRUPTED", "contentEnd a END_TURN"},
			[]string{"SpeechStarted", "Interrupted", "MessageDone", "ResponseDone cancelled"}},
		"late news of a cut": {[]string{"contentStart f TEXT ASSISTANT FINAL", "contentEnd a END_TURN", "contentStart u2 TEXT USER FINAL", "textOutput u2 and", "contentStart s2 TEXT ASSISTANT SPECULATIVE",
			"textOutput s2 Yes.", "contentEnd f INTERRUPTED", "contentStart a2 AUDIO ASSISTANT", "contentEnd a2 END_TURN"},
			[]string{"MessageDone", "ResponseDone completed", "SpeechStarted", "Transcript and false", "SpeechStopped", "Transcript and true", "ResponseCreated", "MessageStarted", "Text Yes.", "MessageDone", "ResponseDone completed"}},
		"a call after words": {[]string{"contentEnd a PARTIAL_TURN", "contentStart t TOOL TOOL", `toolUse t "{\"a\":\"b\"}"`, "contentEnd t TOOL_USE"},
			[]string{`ToolCall {"a":"b"}`, "MessageDone", "ResponseDone completed"}},
		"a call after the turn": {[]string{"contentEnd a END_TURN", "contentStart t TOOL TOOL", `toolUse t {"a":"b"}`, "contentEnd t TOOL_USE"},
			[]string{"MessageDone", "ResponseDone completed", "ResponseCreated", `ToolCall {"a":"b"}`, "ResponseDone completed"}},
		"the end of everything":    {[]string{"completionEnd"}, []string{"MessageDone", "ResponseDone completed"}},
		"what nobody understands":  {[]string{"newEvent x y", "completionStart", "contentStart x IMAGE ASSISTANT", "textOutput x y", "contentEnd x END_TURN"}, nil},
		"an interruption in words": {[]string{"contentStart s2 TEXT ASSISTANT SPECULATIVE", "textOutput s2 You interrupted me."}, []string{"Text  You interrupted me."}},
	} {
		want := append(append([]string{}, began...), x.out...)
		c := scene(t)
		if got := told(t, c, append(append([]string{}, begin...), x.in...)...); !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\n%q, want\n%q", name, got[min(len(began), len(got)):], x.out)
		}
	}
}

func TestBrokenEvents(t *testing.T) {
	c := scene(t)
	told(t, c, "contentStart a AUDIO ASSISTANT")
	for _, raw := range []string{`{"event":`, `{"event":{"audioOutput":{"contentId":"a","content":"?"}}}`} {
		var e *model.Error
		if err := c.turn.take(t.Context(), []byte(raw)); !errors.As(err, &e) || e.Kind != model.KindProtocol {
			t.Errorf("%s: %v", raw, err)
		}
	}
}

func TestExceptions(t *testing.T) {
	s := &stream{client: &scene(t).d.Client}
	for _, x := range []struct {
		name, text string
		status     int
		retryable  bool
	}{
		{"validationException", "Invalid input request", 400, false},
		{"validationException", "System instability detected. Please retry your request.", 503, true},
		{"ThrottlingException", "Too many requests", 429, true},
		{"modelTimeoutException", "", 408, true},
		{"accessDeniedException", "no", 403, false},
		{"modelStreamErrorException", "", 500, true},
		{"somethingNew", "", 500, true},
	} {
		err := s.exception(x.name, x.text)
		var e *model.Error
		if !errors.As(err, &e) || e.Status != x.status || model.Retryable(err) != x.retryable || !strings.Contains(err.Error(), x.name) {
			t.Errorf("%+v: %v", x, err)
		}
	}
}

func TestUsage(t *testing.T) {
	state := func(delta, total int64) *usage {
		u := &usage{}
		u.Details.Delta.Output.Speech = delta
		if total >= 0 {
			u.Details.Total = &tally{Output: tokens{Speech: total}}
		}
		return u
	}
	for name, x := range map[string]struct {
		stated []*usage // nil is the end of an answer
		want   []int64  // of every answer, and what is left at the end; -1 for nothing
	}{
		"as it goes":            {[]*usage{state(3, 3), state(4, 7), nil, state(5, 12), nil}, []int64{7, 5, -1}},
		"said twice":            {[]*usage{state(3, 3), state(3, 3), nil}, []int64{3, -1}},
		"one was lost":          {[]*usage{state(3, 3), nil, state(2, 9), nil}, []int64{3, 6, -1}},
		"without totals":        {[]*usage{state(3, -1), state(4, -1), nil, state(1, -1), nil}, []int64{7, 1, -1}},
		"after the answer":      {[]*usage{state(3, 3), nil, nil, state(4, 7)}, []int64{3, 0, 4}},
		"never":                 {[]*usage{nil}, []int64{-1, -1}},
		"after one was guessed": {[]*usage{nil, state(4, 10), nil}, []int64{-1, 4, -1}},
		"of what was guessed":   {[]*usage{nil, state(4, 4), state(3, 7), nil}, []int64{-1, 3, -1}},
		"without totals, too":   {[]*usage{nil, state(4, -1), state(3, -1), nil}, []int64{-1, 3, -1}},
	} {
		var a account
		var got []int64
		note := func(u *driver.Usage) {
			n := int64(-1)
			if u != nil {
				if n = u.OutputTokens; u.Output != (metrics.OutputTokenDetails{AudioTokens: n}) || u.TotalTokens != n {
					t.Errorf("%s: %+v", name, u)
				}
			}
			got = append(got, n)
		}
		for _, u := range x.stated {
			if u != nil {
				a.add(u, true)
				continue
			}
			note(a.close())
		}
		note(a.take())
		if !reflect.DeepEqual(got, x.want) {
			t.Errorf("%s: %v, want %v", name, got, x.want)
		}
	}
}

// Whenever the first usage of a connection comes, nothing is both told and left to be estimated: the end of the first
// answer waits for it, a moment, and unless something else goes on.
func TestFirstUsage(t *testing.T) {
	const usage, end, next = `{"event":{"usageEvent":{"details":{"delta":{"output":{"speechTokens":4}},"total":{"output":{"speechTokens":%d}}}}}}`,
		`{"event":{"contentEnd":{"contentId":"a","stopReason":"END_TURN"}}}`, `{"event":{"contentStart":{"contentId":"a","type":"AUDIO","role":"ASSISTANT"}}}`
	first, second, third := fmt.Sprintf(usage, 4), fmt.Sprintf(usage, 8), fmt.Sprintf(usage, 12)
	for name, x := range map[string]struct {
		said []string // "" is half a second
		want []string // when answers ended, and with what usage; then what was left
	}{
		"before the end":     {[]string{next, first, end, ""}, []string{"0s 4"}},
		"behind the end":     {[]string{next, end, first, "", next, second, end}, []string{"0s 4", "500ms 4"}},
		"a moment later":     {[]string{next, end, "", "", first, next, second, end}, []string{"500ms nil", "1s 4"}},
		"in the next one":    {[]string{next, end, next, first, second, end}, []string{"0s nil", "0s 4"}},
		"after both":         {[]string{next, end, next, end, first, second, ""}, []string{"0s nil", "0s nil"}},
		"never":              {[]string{next, end, "", "", next, end, ""}, []string{"500ms nil", "1.5s nil"}},
		"one was lost":       {[]string{next, end, "", next, end, second, ""}, []string{"500ms nil", "500ms 4"}},
		"late, and one lost": {[]string{next, end, "", "", second, next, third, end}, []string{"500ms nil", "1s 4"}},
		"always behind":      {[]string{next, end, first, next, end, second, next, end, third}, []string{"0s 4", "0s 4", "0s 4"}},
		"at the very end":    {[]string{next, end}, []string{"0s nil"}},
		"for an open one":    {[]string{next, first}, []string{"left 4"}},
		"behind a user's":    {[]string{next, end, `{"event":{"textOutput":{"contentId":"u","content":"{\"interrupted\":true}"}}}`, first}, []string{"0s nil"}},
		"for a cut one":      {[]string{next, `{"event":{"contentEnd":{"contentId":"a","stopReason":"INTERRUPTED"}}}`, first}, []string{"0s 4"}},
	} {
		synctest.Test(t, func(t *testing.T) {
			c := scene(t)
			began := time.Now()
			got := make(chan []string, 1)
			go func() {
				var all []string
				spent := func(u *driver.Usage) string {
					if u == nil {
						return "nil"
					}
					return fmt.Sprint(u.OutputTokens)
				}
				for {
					switch e, err := c.Next(t.Context()); e := e.(type) {
					case nil:
						if err == nil {
							t.Error("nothing was told")
						}
						got <- all
						return
					case *driver.ResponseDone:
						all = append(all, time.Since(began).String()+" "+spent(e.Usage))
					case *driver.ResponseUsage:
						all = append(all, "left "+spent(&e.Usage))
					}
				}
			}()
			for _, s := range x.said {
				if s == "" {
					time.Sleep(unstated)
				} else {
					c.in <- arrival{event: []byte(s)}
				}
				synctest.Wait()
			}
			close(c.in)
			if all := <-got; !reflect.DeepEqual(all, x.want) {
				t.Errorf("%s: %q, want %q", name, all, x.want)
			}
		})
	}
}

func FuzzEvents(f *testing.F) {
	f.Add([]byte(`{"event":{"contentStart":{"contentId":"a","type":"AUDIO","role":"ASSISTANT","additionalModelFields":"{}"}}}`))
	f.Add([]byte(`{"event":{"usageEvent":{"details":{"delta":{"input":{"speechTokens":1}},"total":null}}}}`))
	f.Add([]byte(`{"event":{"textOutput":{"contentId":"a","content":"{ \"interrupted\" : true }"}}}`))
	d := scene(f).d
	f.Fuzz(func(t *testing.T, raw []byte) {
		c := newConversation(d, &d.Client, nil)
		defer c.die()
		for range 2 {
			_ = c.turn.take(t.Context(), raw)
		}
		c.turn.flush()
	})
}
