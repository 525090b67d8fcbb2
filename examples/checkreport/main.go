// Checkreport reads a session report of basic_agent, or of realtime_agent, and says what is missing in it.
package main

import (
	"encoding/json"
	"fmt"
	"os"
)

type report struct {
	CloseReason string           `json:"close_reason"`
	Duration    float64          `json:"duration"`
	Usage       []map[string]any `json:"usage"`
	History     struct {
		Items []struct {
			Type        string `json:"type"`
			Role        string `json:"role"`
			Interrupted bool   `json:"interrupted"`
		} `json:"items"`
	} `json:"chat_history"`
}

func main() {
	if len(os.Args) != 2 {
		fail("usage: checkreport FILE")
	}
	data, err := os.ReadFile(os.Args[1])
	if err != nil {
		fail(err)
	}
	var r report
	if err := json.Unmarshal(data, &r); err != nil {
		fail("report is not JSON:", err)
	}
	kinds, spoken := map[any]bool{}, false
	for _, u := range r.Usage {
		kinds[u["type"]] = true
		spoken = spoken || u["output_audio_tokens"] != nil
		if len(u) <= 3 {
			fail("no figures in usage line", u)
		}
	}
	users, interrupted := 0, 0
	for _, it := range r.History.Items {
		if it.Role == "user" {
			users++
		}
		if it.Role == "assistant" && it.Interrupted {
			interrupted++
		}
	}
	switch {
	case !kinds["llm_usage"] || !kinds["stt_usage"] || kinds["tts_usage"] == spoken: // a model that speaks needs no voice
		fail("usage lines:", kinds)
	case users < 4:
		fail("user messages:", users)
	case interrupted != 1:
		fail("interrupted messages:", interrupted)
	case r.CloseReason == "" || r.Duration <= 0:
		fail("close reason", r.CloseReason, "duration", r.Duration)
	}
	fmt.Printf("report is complete: %d user messages, %d usage lines, %.1f s, closed because of %s\n", users, len(r.Usage), r.Duration, r.CloseReason)
}

func fail(args ...any) {
	fmt.Fprintln(os.Stderr, args...)
	os.Exit(1)
}
