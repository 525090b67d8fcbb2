package anthropic

import (
	"context"
	"io"
	"strings"
	"testing"

	"github.com/parley-go/parley/internal/wire"
	"github.com/parley-go/parley/llm/driver"
)

func read(text string) (chunks []*driver.Chunk, err error) {
	s := newStream(context.Background(), &wire.Client{}, io.NopCloser(strings.NewReader(text)))
	for {
		c, err := s.Next()
		if err != nil {
			return chunks, err
		}
		chunks = append(chunks, c)
	}
}

func TestUsageCountsFromTheStart(t *testing.T) {
	chunks, err := read(`event: message_start
data: {"type":"message_start","message":{"id":"m","usage":{"input_tokens":10,"cache_creation_input_tokens":3,"cache_read_input_tokens":4,"output_tokens":1}}}

event: news
data: {"type":"news"}

data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hé"},"more":1}

data: {"type":"message_delta","delta":{},"usage":{"output_tokens":5}}

data: {"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":9}}
`)
	if err != io.EOF || len(chunks) != 4 {
		t.Fatalf("%+v, %v", chunks, err)
	}
	if u := *chunks[0].Usage; u != (driver.Usage{PromptTokens: 17, PromptCachedTokens: 4, CacheCreationTokens: 3, CompletionTokens: 1, TotalTokens: 18, Partial: true,
		Raw: `{"cache_creation_input_tokens":3,"cache_read_input_tokens":4,"input_tokens":10,"output_tokens":1}`}) {
		t.Errorf("at the start %+v", u)
	}
	if c := chunks[1]; c.Text != "Hé" || c.ID != "m" {
		t.Errorf("the text is %+v", c)
	}
	if u := *chunks[3].Usage; u.PromptTokens != 17 || u.CompletionTokens != 9 || u.TotalTokens != 26 || u.Partial ||
		u.Raw != `{"cache_creation_input_tokens":3,"cache_read_input_tokens":4,"input_tokens":10,"output_tokens":9}` {
		t.Errorf("in the end %+v", u)
	}
}

func TestCallWithoutDeltas(t *testing.T) {
	for _, input := range []string{`{}`, `{"a":1}`} {
		chunks, err := read(`data: {"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"x","name":"look","input":` + input + `}}

data: {"type":"content_block_stop","index":0}

data: {"type":"message_stop"}

`)
		if err != io.EOF || len(chunks) != 1 || chunks[0].ToolCalls[0].Arguments != input {
			t.Errorf("%+v, %v", chunks, err)
		}
	}
}

func FuzzStream(f *testing.F) {
	f.Add(`data: {"type":"message_start","message":{"usage":{"input_tokens":1}}}` + "\n\n")
	f.Add(`data: {"type":"content_block_start","content_block":{"type":"thinking"}}` + "\n\n" +
		`data: {"type":"content_block_delta","delta":{"type":"thinking_delta","thinking":"x"}}` + "\n\n" + `data: {"type":"content_block_stop"}` + "\n\n")
	f.Add("data: {\"type\":\"error\",\"error\":{\"type\":7}}\n\n")
	f.Add("data: {\"type\":\"message_delta\"}\n\ndata: null\n\ndata: []\n\n")
	f.Fuzz(func(t *testing.T, text string) {
		if _, err := read(text); err == nil {
			t.Error("there is no end")
		}
	})
}
