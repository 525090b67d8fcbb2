package otlp

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/log"

	"github.com/parley-go/parley/telemetry"
)

// Handler returns a handler for the log records of the logger of that name, which must not be ""; scope,
// besides the ids of job and room, is told once for all of them. It takes all levels and never blocks: what
// the collector does not take in time is dropped. Without logs it drops everything. It is what Into sets;
// most want telemetry.LogHandler.
func (j *Job) Handler(logger string, scope ...slog.Attr) slog.Handler {
	if j.loggers == nil {
		return slog.DiscardHandler
	}
	all := slices.Clone(j.scope)
	for _, a := range scope {
		all = append(all, attribute.String(a.Key, a.Value.String()))
	}
	return &handler{to: j.loggers.Logger(logger, log.WithInstrumentationAttributes(all...))}
}

// handler makes OpenTelemetry's log records of those of package slog.
type handler struct {
	to     log.Logger
	groups []group // the open ones, outermost first; the first has no name
}

// group is attributes that belong together.
type group struct {
	name  string
	attrs []log.KeyValue
}

// Enabled implements slog.Handler.
func (h *handler) Enabled(context.Context, slog.Level) bool { return true }

// Handle implements slog.Handler.
func (h *handler) Handle(ctx context.Context, r slog.Record) error {
	var out log.Record
	out.SetTimestamp(r.Time)
	out.SetObservedTimestamp(time.Now())
	out.SetBody(log.StringValue(r.Message))
	out.SetSeverity(severity(r.Level))
	out.SetSeverityText(severityText(r.Level))
	var own []log.KeyValue
	r.Attrs(func(a slog.Attr) bool {
		own = attr(own, a)
		return true
	})
	for i := len(h.groups) - 1; i >= 0; i-- {
		g := h.groups[i]
		own = append(slices.Clone(g.attrs), own...)
		if g.name != "" && len(own) > 0 {
			own = []log.KeyValue{log.Map(g.name, own...)}
		}
	}
	out.AddAttributes(own...)
	h.to.Emit(ctx, out)
	return nil
}

// WithAttrs implements slog.Handler.
func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	groups := slices.Clone(h.groups)
	if len(groups) == 0 {
		groups = []group{{}}
	}
	last := &groups[len(groups)-1]
	last.attrs = slices.Clone(last.attrs)
	for _, a := range attrs {
		last.attrs = attr(last.attrs, a)
	}
	return &handler{h.to, groups}
}

// WithGroup implements slog.Handler.
func (h *handler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	return &handler{h.to, append(slices.Clone(h.groups), group{name: name})}
}

// severity is OpenTelemetry's number for l: its levels are four apart, too.
func severity(l slog.Level) log.Severity {
	return log.Severity(min(max(int(l)-int(telemetry.LevelTrace)+int(log.SeverityTrace1), 0), int(log.SeverityFatal4)))
}

func severityText(l slog.Level) string {
	switch {
	case l < telemetry.LevelTrace:
		return "unspecified"
	case l < slog.LevelDebug:
		return "TRACE"
	case l < slog.LevelInfo:
		return "DEBUG"
	case l < telemetry.LevelDev:
		return "INFO"
	case l < slog.LevelWarn:
		return "DEV"
	case l < slog.LevelError:
		return "WARN"
	case l < telemetry.LevelFatal:
		return "ERROR"
	}
	return "FATAL"
}

// attr appends a to kvs: a group is a map, one without a name its attributes, and an empty attribute
// nothing.
func attr(kvs []log.KeyValue, a slog.Attr) []log.KeyValue {
	v := a.Value.Resolve()
	if v.Kind() == slog.KindGroup && a.Key == "" {
		for _, x := range v.Group() {
			kvs = attr(kvs, x)
		}
		return kvs
	}
	if a.Key == "" && v.Any() == nil {
		return kvs
	}
	return append(kvs, log.KeyValue{Key: a.Key, Value: value(v)})
}

func value(v slog.Value) log.Value {
	switch v.Kind() {
	case slog.KindString:
		return log.StringValue(v.String())
	case slog.KindBool:
		return log.BoolValue(v.Bool())
	case slog.KindInt64:
		return log.Int64Value(v.Int64())
	case slog.KindUint64:
		return log.Int64Value(int64(min(v.Uint64(), math.MaxInt64)))
	case slog.KindFloat64:
		return log.Float64Value(v.Float64())
	case slog.KindDuration:
		return log.Float64Value(v.Duration().Seconds())
	case slog.KindTime:
		return log.StringValue(v.Time().UTC().Format(time.RFC3339Nano))
	case slog.KindGroup:
		var kvs []log.KeyValue
		for _, a := range v.Group() {
			kvs = attr(kvs, a)
		}
		return log.MapValue(kvs...)
	}
	return anyValue(v.Any())
}

// anyValue writes what has no form of its own as JSON.
func anyValue(v any) (out log.Value) {
	defer func() {
		if p := recover(); p != nil { // in the code of who logs it
			out = log.StringValue(fmt.Sprintf("!PANIC: %v", p))
		}
	}()
	switch v := v.(type) {
	case nil:
		return log.Value{}
	case []string:
		var out []log.Value
		for _, s := range v {
			out = append(out, log.StringValue(s))
		}
		return log.SliceValue(out...)
	case []any:
		var out []log.Value
		for _, x := range v {
			out = append(out, value(slog.AnyValue(x)))
		}
		return log.SliceValue(out...)
	case map[string]any:
		var kvs []log.KeyValue
		for k, x := range v {
			kvs = append(kvs, log.KeyValue{Key: k, Value: value(slog.AnyValue(x))})
		}
		return log.MapValue(kvs...)
	case attribute.Value:
		return log.ValueFromAttribute(v)
	case error:
		return log.StringValue(v.Error())
	case fmt.Stringer:
		return log.StringValue(v.String())
	}
	data, err := json.Marshal(v)
	if err != nil {
		return log.StringValue(fmt.Sprintf("%+v", v))
	}
	return log.StringValue(string(data))
}
