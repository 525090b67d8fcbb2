package google

import (
	"context"
	"io"
	"strings"
	"testing"

	"github.com/parley-go/parley/internal/wire"
	"github.com/parley-go/parley/llm/driver"
)

func readGemini(text string) (chunks []*driver.Chunk, err error) {
	s := newGeminiStream(context.Background(), &wire.Client{}, io.NopCloser(strings.NewReader(text)))
	for {
		c, err := s.Next()
		if err != nil {
			return chunks, err
		}
		chunks = append(chunks, c)
	}
}

func TestGeminiStream(t *testing.T) {
	chunks, err := readGemini(`data: {"candidates":[{"content":{"parts":[{"text":"Hm","thought":true},{"text":"Hé"},{"executableCode":{}}]}},{"content":{"parts":[{"text":"other"}]}}],"more":1}

data: {"candidates":[{"content":{"parts":[{"functionCall":{"name":"f"}}]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":3}}

`)
	if err != io.EOF || len(chunks) != 3 || chunks[0].Text != "Hé" || chunks[1].ToolCalls[0].Arguments != "{}" || chunks[2].Usage.PromptTokens != 3 {
		t.Fatalf("%+v, %v", chunks, err)
	}
	if id := chunks[0].ID; id == "" || id != chunks[2].ID {
		t.Errorf("the ids are %q and %q", id, chunks[2].ID)
	}
}

// What is stated before the end of an answer does not count all of it.
func TestGeminiUsageBeforeTheEndIsPartial(t *testing.T) {
	chunks, _ := readGemini(`data: {"candidates":[{"content":{"parts":[{"text":"a"}]}}],"usageMetadata":{"promptTokenCount":3,"candidatesTokenCount":1}}

data: {"candidates":[{"content":{"parts":[{"text":"b"}]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":3,"candidatesTokenCount":2}}

`)
	if len(chunks) != 4 || !chunks[1].Usage.Partial || chunks[3].Usage.Partial {
		t.Errorf("%+v", chunks)
	}
}

func FuzzGeminiStream(f *testing.F) {
	f.Add(`data: {"candidates":[{"content":{"parts":[{"text":"a"},null,{"functionCall":{"args":[]}}]},"finishReason":"STOP"}]}` + "\n\n")
	f.Add(`data: {"error":{"code":"x"}}` + "\n\n")
	f.Add("data: {\"promptFeedback\":{}}\n\ndata: null\n\ndata: []\n\n")
	f.Fuzz(func(t *testing.T, text string) {
		if _, err := readGemini(text); err == nil {
			t.Error("there is no end")
		}
	})
}
