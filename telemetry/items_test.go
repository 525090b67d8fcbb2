package telemetry

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/livekit/protocol/livekit/agent"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/parley-go/parley/llm/chat"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The items of a conversation are read by LiveKit's own messages.
func TestItemsAreLiveKitsMessages(t *testing.T) {
	at := time.Date(2026, 11, 21, 10, 0, 0, 250_000_000, time.UTC)
	half, h, stamp := 500*time.Millisecond, chat.Header{ID: "item_1", CreatedAt: at}, timestamppb.New(at)
	sec := proto.Float64(0.5)
	for _, x := range []struct {
		item chat.Item
		want *agent.ChatContext_ChatItem
	}{
		{&chat.Message{Header: h, Role: chat.Assistant, Content: []chat.Part{chat.Text("Hello"), &chat.Image{URL: "https://x"}, &chat.Audio{Transcript: "there"}},
			Interrupted: true, Confidence: 0.5, Extra: map[string]any{"a": 1},
			Metrics: chat.TurnMetrics{StartedSpeakingAt: at, StoppedSpeakingAt: at, TranscriptionDelay: &half, EndOfTurnDelay: &half,
				OnUserTurnCompletedDelay: &half, LLMNodeTTFT: &half, LLMNodeTTFS: &half, LLMNodeTPS: 0.5, TTSNodeTTFB: &half, E2ELatency: &half}},
			&agent.ChatContext_ChatItem{Item: &agent.ChatContext_ChatItem_Message{Message: &agent.ChatMessage{Id: "item_1", CreatedAt: stamp, Role: agent.ChatRole_ASSISTANT,
				Content:     []*agent.ChatMessage_ChatContent{{Payload: &agent.ChatMessage_ChatContent_Text{Text: "Hello"}}, {Payload: &agent.ChatMessage_ChatContent_Text{Text: "there"}}},
				Interrupted: true, TranscriptConfidence: sec, Extra: map[string]string{"a": "1"},
				Metrics: &agent.MetricsReport{StartedSpeakingAt: stamp, StoppedSpeakingAt: stamp, TranscriptionDelay: sec, EndOfTurnDelay: sec,
					OnUserTurnCompletedDelay: sec, LlmNodeTtft: sec, LlmNodeTtfs: sec, LlmNodeTps: sec, TtsNodeTtfb: sec, E2ELatency: sec}}}}},
		{&chat.Message{Header: h, Role: chat.Developer},
			&agent.ChatContext_ChatItem{Item: &agent.ChatContext_ChatItem_Message{Message: &agent.ChatMessage{Id: "item_1", CreatedAt: stamp}}}},
		{&chat.FunctionCall{Header: h, CallID: "c", Name: "f", Arguments: "{}"},
			&agent.ChatContext_ChatItem{Item: &agent.ChatContext_ChatItem_FunctionCall{FunctionCall: &agent.FunctionCall{Id: "item_1", CreatedAt: stamp, CallId: "c", Name: "f", Arguments: "{}"}}}},
		{&chat.FunctionCallOutput{Header: h, CallID: "c", Name: "f", Output: "x", IsError: true},
			&agent.ChatContext_ChatItem{Item: &agent.ChatContext_ChatItem_FunctionCallOutput{FunctionCallOutput: &agent.FunctionCallOutput{Id: "item_1", CreatedAt: stamp, CallId: "c", Name: "f", Output: "x", IsError: true}}}},
		{&chat.Handoff{Header: h, OldAgentID: "a", NewAgentID: "b"},
			&agent.ChatContext_ChatItem{Item: &agent.ChatContext_ChatItem_AgentHandoff{AgentHandoff: &agent.AgentHandoff{Id: "item_1", CreatedAt: stamp, OldAgentId: proto.String("a"), NewAgentId: "b"}}}},
		{&chat.ConfigUpdate{Header: h, Instructions: "x", ToolsAdded: []string{"a"}, ToolsRemoved: []string{"b"}},
			&agent.ChatContext_ChatItem{Item: &agent.ChatContext_ChatItem_AgentConfigUpdate{AgentConfigUpdate: &agent.AgentConfigUpdate{Id: "item_1", CreatedAt: stamp, Instructions: proto.String("x"), ToolsAdded: []string{"a"}, ToolsRemoved: []string{"b"}}}}},
	} {
		data, err := json.Marshal(protoItem(x.item))
		if err != nil {
			t.Fatal(err)
		}
		var got agent.ChatContext_ChatItem
		if err := protojson.Unmarshal(data, &got); err != nil || !proto.Equal(&got, x.want) {
			t.Errorf("%s: %v\n got %v\nwant %v", data, err, &got, x.want)
		}
	}
}

// Numbers of a report stay whole where they are.
func TestPlainKeepsWholeNumbers(t *testing.T) {
	got, _ := plain(map[string]any{"a": []any{int64(1 << 60), 0.5}, "b": true}).(map[string]any)
	list, _ := got["a"].([]any)
	if len(list) != 2 || list[0] != int64(1<<60) || list[1] != 0.5 || got["b"] != true {
		t.Errorf("got %#v", got)
	}
}
