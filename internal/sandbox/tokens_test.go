package sandbox

import "testing"

// What OpenAI's tokenizers (o200k_base) make of these, by the examples of its own documents. Ours has no
// vocabulary, so it need only come close.
func TestTokensAreRealistic(t *testing.T) {
	var got, want int64
	for text, real := range map[string]int64{
		"tiktoken is great!":           6,
		"antidisestablishmentarianism": 6,
		"2 + 2 = 4":                    7,
		"お誕生日おめでとう":                    8,
	} {
		n := OpenAITokens.Count(text)
		if n < real-3 || n > real+3 {
			t.Errorf("%q is %d tokens, in truth %d", text, n, real)
		}
		got, want = got+n, want+real
	}
	if got < want*3/4 || got > want*5/4 {
		t.Errorf("%d tokens, in truth %d", got, want)
	}
}

func TestTokensAddUp(t *testing.T) {
	words := []string{"It ", "is ", "internationally ", "renowned, ", "in ", "42 ", "Städten ", "und ", "今天天气很好"}
	var sum int64
	all := ""
	for _, w := range words {
		sum += OpenAITokens.Count(w)
		all += w
	}
	if got := OpenAITokens.Count(all); got != sum {
		t.Errorf("%d tokens by words, %d as a whole", sum, got)
	}
	if a, o, g := AnthropicTokens.Count(all), sum, GoogleTokens.Count(all); a <= o || g > o {
		t.Errorf("%d, %d and %d tokens", a, o, g)
	}
}
