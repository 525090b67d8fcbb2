package tokenize_test

import (
	"testing"

	"github.com/parley-go/parley/tokenize"
)

func TestThinking(t *testing.T) {
	for text, want := range map[string]string{
		"Hello.":                             "Hello.",
		"<think>hm, what?</think>Hello.":     "Hello.",
		"One <think>two</think>three":        "One three",
		"1 < 2 <thin":                        "1 < 2 <thin",
		"<think>never closed":                "",
		"<think>a</think>b<think>c</think>d": "bd",
		"</think>closed only":                "</think>closed only",
	} {
		for size := 1; size <= len(text); size++ {
			var f tokenize.Thinking
			got := ""
			for at := 0; at < len(text); at += size {
				got += f.Push(text[at:min(at+size, len(text))])
			}
			if got += f.Flush(); got != want {
				t.Fatalf("%q in pieces of %d gives %q, want %q", text, size, got, want)
			}
		}
	}
}

func TestThinkingInAnotherTag(t *testing.T) {
	f := tokenize.Thinking{Tag: "thinking"}
	got := f.Push("<thinking>a</think") + f.Push("ing>b") + f.Flush()
	got += f.Push("<thinking>c</thinking>d <think>") + f.Flush() // the tag stays
	if got != "bd <think>" {
		t.Errorf("got %q", got)
	}
}
