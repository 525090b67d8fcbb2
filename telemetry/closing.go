package telemetry

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/session"
)

// chatLogger is the name of the logger of what is told when a session is over.
const chatLogger = "chat_history"

// closing has the report of s and the items of its conversation exported as log records when it closes.
func closing(s *session.Session, o Options) (cancel func()) {
	h := o.logger(chatLogger)
	return session.On(s, func(session.Closed) {
		rep, err := s.Report()
		if err != nil {
			return // it was never started, so nobody is told that it closed
		}
		emit(h, rep.StartedAt, levelNone, "session report",
			slog.Any("session.options", plain(rep.OptionsMap())),
			slog.Float64("session.report_timestamp", float64(rep.Timestamp.UnixMicro())/1e6),
			slog.Any("session.tags", tags(rep.Tags)),
			slog.String("agent_name", o.AgentName),
			slog.String("sdk_version", session.Version),
			slog.Any("usage", plain(rep.Usage.Models)))
		if o.Redact || !rep.Words() {
			return
		}
		for it := range rep.History.All() {
			item := protoItem(it)
			if item == nil {
				continue
			}
			level := levelNone
			if out, ok := it.(*chat.FunctionCallOutput); ok && out.IsError {
				level = slog.LevelError
			}
			emit(h, it.Head().CreatedAt, level, "chat item", slog.Any("chat.item", item))
		}
	})
}

// tags are those of a session, sorted: "key:value", or "key" without a value.
func tags(m map[string]string) (out []string) {
	for _, k := range slices.Sorted(maps.Keys(m)) {
		if v := m[k]; v != "" {
			k += ":" + v
		}
		out = append(out, k)
	}
	return out
}

func emit(h slog.Handler, at time.Time, level slog.Level, body string, attrs ...slog.Attr) {
	r := slog.NewRecord(at, level, body, 0)
	r.AddAttrs(attrs...)
	_ = h.Handle(context.Background(), r) // whoever exports tells of his own troubles
}

// plain is v as what JSON has: maps, slices, strings, booleans and numbers, which stay whole if they are.
func plain(v any) any {
	data, err := json.Marshal(v)
	if err != nil {
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var out any
	if d.Decode(&out) != nil {
		return nil
	}
	return numbers(out)
}

func numbers(v any) any {
	switch v := v.(type) {
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n
		}
		f, _ := v.Float64()
		return f
	case map[string]any:
		for k, x := range v {
			v[k] = numbers(x)
		}
	case []any:
		for i, x := range v {
			v[i] = numbers(x)
		}
	}
	return v
}
