package telemetry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"

	"github.com/parley-go/parley/llm"
	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/model"
)

// redacted stands for what an error says.
const redacted = "exception details redacted"

// private reports whether attributes of that name tell what was said, or by whom.
func private(key string) bool { return strings.Contains(key, ".pii.") }

// convert makes an attribute of a; false for one that is empty. What has no form of its own is written
// as JSON.
func convert(a slog.Attr) (kv attribute.KeyValue, ok bool) {
	v := a.Value.Resolve()
	switch v.Kind() {
	case slog.KindString:
		return attribute.String(a.Key, v.String()), v.String() != ""
	case slog.KindBool:
		return attribute.Bool(a.Key, v.Bool()), true
	case slog.KindInt64:
		return attribute.Int64(a.Key, v.Int64()), true
	case slog.KindUint64:
		return attribute.Int64(a.Key, int64(v.Uint64())), true
	case slog.KindFloat64:
		return attribute.Float64(a.Key, v.Float64()), true
	case slog.KindDuration:
		return attribute.Float64(a.Key, v.Duration().Seconds()), true
	case slog.KindTime:
		return attribute.String(a.Key, v.Time().UTC().Format(time.RFC3339Nano)), true
	}
	switch x := v.Any().(type) {
	case nil:
		return kv, false
	case []string:
		return attribute.StringSlice(a.Key, x), len(x) > 0
	case []llm.ToolCall:
		return attribute.StringSlice(a.Key, callTexts(x)), len(x) > 0
	case error:
		return attribute.String(a.Key, x.Error()), true
	default:
		b, err := json.Marshal(x)
		return attribute.String(a.Key, string(b)), err == nil && string(b) != "null"
	}
}

// callText is a call of a tool as spans and events have it.
func callText(id, name, arguments string) string {
	b, err := json.Marshal(map[string]any{
		"function": map[string]string{"name": name, "arguments": arguments}, "id": id, "type": "function",
	})
	if err != nil {
		return ""
	}
	return string(b)
}

func callTexts(calls []llm.ToolCall) (out []string) {
	for _, c := range calls {
		out = append(out, callText(c.CallID, c.Name, c.Arguments))
	}
	return out
}

// exceptionType is the type of the error that err is, or was made of.
func exceptionType(err error) string {
	var e *model.Error
	if errors.As(err, &e) {
		return fmt.Sprintf("%T", e)
	}
	for next := err; next != nil; next = errors.Unwrap(next) {
		err = next
	}
	return fmt.Sprintf("%T", err)
}

// errorType is a name for err with few values.
func errorType(err error) string {
	var e *model.Error
	switch {
	case errors.As(err, &e) && e.Status != 0:
		return fmt.Sprint(e.Status)
	case errors.As(err, &e):
		return string(e.Kind)
	case errors.Is(err, context.DeadlineExceeded):
		return "timeout"
	case errors.Is(err, context.Canceled):
		return "cancelled"
	}
	return "error"
}

// message is an item of the conversation as an event of a request.
type message struct {
	name  string
	attrs []attribute.KeyValue
}

// messages are the events that tell what a model was asked. They are text only.
func messages(c *chat.Context) (out []message) {
	for it := range c.All() {
		switch it := it.(type) {
		case *chat.Message:
			name := "gen_ai." + string(it.Role) + ".message"
			if it.Role == chat.Developer {
				name = "gen_ai.system.message"
			}
			out = append(out, message{name, []attribute.KeyValue{attribute.String("content", it.Text())}})
		case *chat.FunctionCall:
			out = append(out, message{"gen_ai.assistant.message", []attribute.KeyValue{
				attribute.String("role", string(chat.Assistant)),
				attribute.StringSlice("tool_calls", []string{callText(it.CallID, it.Name, it.Arguments)}),
			}})
		case *chat.FunctionCallOutput:
			out = append(out, message{"gen_ai.tool.message", []attribute.KeyValue{
				attribute.String("content", it.Output), attribute.String("name", it.Name), attribute.String("id", it.CallID),
			}})
		}
	}
	return out
}
