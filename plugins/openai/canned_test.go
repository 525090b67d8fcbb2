package openai

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/llm/driver"
)

// canned answers every request with the same, and keeps the last request and its body.
type canned struct {
	status      int
	contentType string
	body        string

	request *http.Request
	sent    []byte
}

func (c *canned) RoundTrip(r *http.Request) (*http.Response, error) {
	c.request = r
	c.sent = nil
	if r.Body != nil {
		c.sent, _ = io.ReadAll(r.Body)
	}
	status := c.status
	if status == 0 {
		status = http.StatusOK
	}
	kind := c.contentType
	if kind == "" {
		kind = "text/event-stream"
	}
	return &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {kind}},
		Body: io.NopCloser(strings.NewReader(c.body)), Request: r}, nil
}

func (c *canned) client() *http.Client { return &http.Client{Transport: c} }

// fields is the JSON body of the last request.
func (c *canned) fields(t *testing.T) map[string]any {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal(c.sent, &v); err != nil {
		t.Fatalf("%v: %s", err, c.sent)
	}
	return v
}

// answer is what a driver made of an answer.
type answer struct {
	text  string
	calls []driver.ToolCall
	usage *driver.Usage
	ids   map[string]bool
	err   error // nil for a good end
}

func collect(d driver.LLM, r *driver.Request) answer {
	a := answer{ids: map[string]bool{}}
	s, err := d.Chat(context.Background(), r)
	if err != nil {
		a.err = err
		return a
	}
	defer s.Close()
	for {
		c, err := s.Next()
		if err == io.EOF {
			return a
		}
		if err != nil {
			a.err = err
			return a
		}
		a.text += c.Text
		a.calls = append(a.calls, c.ToolCalls...)
		a.ids[c.ID] = true
		if c.Usage != nil {
			a.usage = c.Usage
		}
	}
}

func question(tools ...string) *driver.Request {
	c := &chat.Context{}
	c.Add(chat.NewMessage(chat.System, "Be brief."), chat.NewMessage(chat.User, "What is the weather?"))
	r := &driver.Request{Messages: c}
	for _, t := range tools {
		r.Tools = append(r.Tools, driver.ToolSpec{Name: t, Description: "Does it.", Parameters: json.RawMessage(`{"type":"object"}`)})
	}
	return r
}

// events are server-sent events with these data.
func events(data ...string) string {
	var b bytes.Buffer
	for _, d := range data {
		b.WriteString("data: " + d + "\n\n")
	}
	return b.String()
}
