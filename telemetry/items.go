package telemetry

import (
	"fmt"
	"time"

	"github.com/parley-go/parley/llm/chat"
)

// protoItem is an item of the conversation in the JSON form of LiveKit's agent.ChatContext.ChatItem, with
// the names of the message's fields; nil for one that has none.
func protoItem(it chat.Item) map[string]any {
	h := it.Head()
	m := map[string]any{"id": h.ID, "created_at": protoTime(h.CreatedAt)}
	switch it := it.(type) {
	case *chat.Message:
		if it.Role != chat.Developer { // which is the default
			m["role"] = map[chat.Role]string{chat.System: "SYSTEM", chat.User: "USER", chat.Assistant: "ASSISTANT"}[it.Role]
		}
		m["content"] = protoContent(it)
		m["metrics"] = protoMetrics(&it.Metrics)
		if it.Interrupted {
			m["interrupted"] = true
		}
		if it.Confidence > 0 {
			m["transcript_confidence"] = it.Confidence
		}
		extra := map[string]any{}
		for k, v := range it.Extra {
			extra[k] = fmt.Sprint(v)
		}
		m["extra"] = extra
		return oneOf("message", m)
	case *chat.FunctionCall:
		m["call_id"], m["name"], m["arguments"] = it.CallID, it.Name, it.Arguments
		return oneOf("function_call", m)
	case *chat.FunctionCallOutput:
		m["call_id"], m["name"], m["output"], m["is_error"] = it.CallID, it.Name, it.Output, it.IsError
		return oneOf("function_call_output", m)
	case *chat.Handoff:
		m["old_agent_id"], m["new_agent_id"] = it.OldAgentID, it.NewAgentID
		return oneOf("agent_handoff", m)
	case *chat.ConfigUpdate:
		m["instructions"], m["tools_added"], m["tools_removed"] = it.Instructions, it.ToolsAdded, it.ToolsRemoved
		return oneOf("agent_config_update", m)
	}
	return nil
}

// oneOf is a message with m as its only field, less what m has no value for.
func oneOf(name string, m map[string]any) map[string]any {
	for k, v := range m {
		switch v := v.(type) {
		case string:
			if v == "" {
				delete(m, k)
			}
		case bool:
			if !v {
				delete(m, k)
			}
		case []string:
			if len(v) == 0 {
				delete(m, k)
			}
		case []any:
			if len(v) == 0 {
				delete(m, k)
			}
		case map[string]any:
			if len(v) == 0 {
				delete(m, k)
			}
		}
	}
	return map[string]any{name: m}
}

// protoContent is what m says in words.
func protoContent(m *chat.Message) (out []any) {
	for _, p := range m.Content {
		text := ""
		switch p := p.(type) {
		case chat.Text:
			text = string(p)
		case *chat.Audio:
			text = p.Transcript
		}
		if text != "" {
			out = append(out, map[string]any{"text": text})
		}
	}
	return out
}

func protoMetrics(t *chat.TurnMetrics) map[string]any {
	m := map[string]any{}
	for key, v := range map[string]time.Time{"started_speaking_at": t.StartedSpeakingAt, "stopped_speaking_at": t.StoppedSpeakingAt} {
		if s := protoTime(v); s != "" {
			m[key] = s
		}
	}
	for key, v := range map[string]*time.Duration{
		"transcription_delay": t.TranscriptionDelay, "end_of_turn_delay": t.EndOfTurnDelay,
		"on_user_turn_completed_delay": t.OnUserTurnCompletedDelay, "llm_node_ttft": t.LLMNodeTTFT,
		"llm_node_ttfs": t.LLMNodeTTFS, "tts_node_ttfb": t.TTSNodeTTFB, "e2e_latency": t.E2ELatency,
	} {
		if v != nil {
			m[key] = v.Seconds()
		}
	}
	if t.LLMNodeTPS > 0 {
		m["llm_node_tps"] = t.LLMNodeTPS
	}
	return m
}

func protoTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}
