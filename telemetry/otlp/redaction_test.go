package otlp_test

import (
	"bytes"
	"strings"
	"testing"

	common "go.opentelemetry.io/proto/otlp/common/v1"

	"github.com/parley-go/parley/telemetry"
	"github.com/parley-go/parley/telemetry/otlp"
)

func TestRedactionKeepsContentOut(t *testing.T) {
	c := newCollector(t)
	converse(t, c, otlp.Options{}, telemetry.Options{Redact: true, GenAI: true})
	if len(c.spans()["llm_request"]) == 0 || len(c.instruments()) == 0 || len(c.records()) == 0 {
		t.Fatal("nothing was exported")
	}
	if i := bytes.Index(c.raw, []byte(canary)); i >= 0 {
		t.Errorf("content was exported: %q", c.raw[max(i-80, 0):min(i+80, len(c.raw))])
	}
}

// Without redaction, content is in attributes whose names say so, in the events of requests, in the items of
// the conversation and in what errors say, and nowhere else.
func TestContentIsWhereItsNameSaysSo(t *testing.T) {
	c := newCollector(t)
	converse(t, c, otlp.Options{}, telemetry.Options{GenAI: true})
	found := map[string]bool{}
	check := func(where string, kvs []*common.KeyValue, allowed ...string) {
		for _, kv := range kvs {
			if !strings.Contains(kv.Value.String(), canary) && !strings.Contains(kv.Key, canary) {
				continue
			}
			ok := strings.HasPrefix(kv.Key, "lk.pii.")
			for _, a := range allowed {
				ok = ok || kv.Key == a
			}
			found[kv.Key] = true
			if !ok {
				t.Errorf("%s: %s has content: %v", where, kv.Key, kv.Value)
			}
		}
	}
	clean := func(where, text string) {
		if strings.Contains(text, canary) {
			t.Errorf("%s has content: %q", where, text)
		}
	}
	for _, rm := range c.metrics {
		clean("a measurement", rm.String())
	}
	for name, all := range c.spans() {
		clean("a span's name", name)
		for _, s := range all {
			check(name, s.Attributes, "exception.message")
			for _, e := range s.Events {
				clean("an event's name", e.Name)
				switch {
				case e.Name == "exception":
					check(e.Name, e.Attributes, "exception.message")
				default:
					check(e.Name, e.Attributes, "content", "tool_calls")
				}
			}
		}
	}
	for _, r := range c.records() {
		clean("a log record's text", text(r.Body))
		check(text(r.Body), r.Attributes, "exception.message", "chat.item")
	}
	for _, k := range []string{"lk.pii.user_transcript", "lk.pii.response.text", "lk.pii.chat_ctx", "content", "tool_calls", "chat.item", "exception.message"} {
		if !found[k] {
			t.Errorf("no content in %s", k)
		}
	}
}
