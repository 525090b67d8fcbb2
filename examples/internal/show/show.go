// Package show shows on the terminal what happens in a session.
package show

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/session"
)

// view is one session on the terminal.
type view struct {
	mu    sync.Mutex
	start time.Time
}

// Session shows on the terminal who is speaking, what is said, and where the time of each turn goes.
func Session(s *session.Session) {
	v := &view{start: time.Now()}
	session.On(s, func(e session.UserStateChanged) { v.line(e.CreatedAt, "user", "is "+string(e.New)) })
	session.On(s, func(e session.AgentStateChanged) { v.line(e.CreatedAt, "agent", "is "+string(e.New)) })
	session.On(s, func(e session.UserInputTranscribed) {
		if !e.Final {
			v.line(e.CreatedAt, "user", e.Transcript+" ...")
		}
	})
	session.On(s, func(e session.ConversationItemAdded) { v.item(e.CreatedAt, e.Item) })
	session.On(s, func(e session.ToolExecutionUpdated) {
		if e.Status == session.ToolStarted {
			v.line(e.CreatedAt, "tool", e.Call.Name+e.Call.Arguments)
		} else {
			v.line(e.CreatedAt, "tool", fmt.Sprintf("%s is %s: %s", e.Call.Name, e.Status, e.Message))
		}
	})
	session.On(s, func(e session.TurnCompleted) { v.line(e.CreatedAt, "turn", latency(e.TurnLatency)) })
	session.On(s, func(e session.ErrorOccurred) { v.line(e.CreatedAt, "error", e.Err.Error()) })
	session.On(s, func(e session.Closed) {
		why := string(e.Reason)
		if e.Err != nil {
			why += ": " + e.Err.Error()
		}
		v.line(e.CreatedAt, "closed", why)
	})
}

func (v *view) item(at time.Time, it chat.Item) {
	switch it := it.(type) {
	case *chat.Message:
		who, text := "agent", it.Text()
		if it.Role == chat.User {
			who = "user"
		}
		if it.Interrupted {
			text += " [interrupted]"
		}
		v.line(at, who, fmt.Sprintf("“%s”", text))
	case *chat.Handoff:
		v.line(at, "agent", it.NewAgentID+" takes over")
	}
}

func (v *view) line(at time.Time, who, what string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	fmt.Printf("%6.2fs  %-6s  %s\n", at.Sub(v.start).Seconds(), who, what)
}

func latency(l session.TurnLatency) string {
	parts := make([]string, len(l.Stages))
	for i, s := range l.Stages {
		parts[i] = fmt.Sprintf("%s %.2f", strings.ReplaceAll(s.Name, "_", " "), s.Duration.Seconds())
	}
	return fmt.Sprintf("answered after %.2f s: %s (slowest: %s)", l.Total.Seconds(), strings.Join(parts, ", "),
		strings.ReplaceAll(l.Slowest().Name, "_", " "))
}

// Usage shows what a session has spent, per provider and model.
func Usage(u metrics.Usage) {
	fmt.Println("\nusage:")
	if len(u.Models) == 0 {
		fmt.Println("  none")
	}
	w := tabwriter.NewWriter(os.Stdout, 2, 0, 2, ' ', 0)
	defer w.Flush()
	for _, m := range u.Models {
		switch m := m.(type) {
		case metrics.LLMUsage:
			fmt.Fprintf(w, "  llm\t%s/%s\t%d tokens in, %d cached, %d out", m.Provider, m.Model, m.InputTokens, m.InputCachedTokens, m.OutputTokens)
			if m.InputAudioTokens+m.OutputAudioTokens > 0 {
				fmt.Fprintf(w, ", of audio %d in, %d out", m.InputAudioTokens, m.OutputAudioTokens)
			}
			fmt.Fprintln(w)
		case metrics.STTUsage:
			fmt.Fprintf(w, "  stt\t%s/%s\t", m.Provider, m.Model)
			if m.InputTokens > 0 { // what it is billed by
				fmt.Fprintf(w, "%d tokens in, %d out\n", m.InputTokens, m.OutputTokens)
			} else {
				fmt.Fprintf(w, "%.1f s of audio\n", m.AudioDuration.Seconds())
			}
		case metrics.TTSUsage:
			fmt.Fprintf(w, "  tts\t%s/%s\t%d characters, %.1f s of audio\n", m.Provider, m.Model, m.CharactersCount, m.AudioDuration.Seconds())
		default:
			fmt.Fprintf(w, "  %v\n", m)
		}
	}
}
