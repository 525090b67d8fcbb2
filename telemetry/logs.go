package telemetry

import (
	"context"
	"log/slog"
)

// The levels of log records besides those of package slog.
const (
	LevelTrace slog.Level = -8
	LevelDev   slog.Level = 1 // worth seeing while developing
	LevelFatal slog.Level = 12

	// levelNone is of records that are no messages, and have no severity.
	levelNone slog.Level = -9
)

// LoggerName is the name of the logger that a job's log records are exported as.
const LoggerName = "livekit.agents"

// LogHandler returns a handler that exports what is logged, at every level, as of the logger of that
// name; nil if o has no Logs. Use it with worker.Job.ExportLogs, or beside another one with
// slog.NewMultiHandler. Errors become exception.type and exception.message. With Redact they keep their type
// alone, and neither stacks nor names of rooms and people are exported; what an application writes into
// messages and attributes of its own is its own affair.
func LogHandler(name string, o Options) slog.Handler {
	if o.Logs == nil {
		return nil
	}
	return &logHandler{to: o.logger(name, slog.String("logger.name", name)), redact: o.Redact}
}

// logger is the handler of the logger of that name, with attrs on every record.
func (o *Options) logger(name string, attrs ...slog.Attr) slog.Handler {
	var scope []slog.Attr
	if o.RoomName != "" && !o.Redact {
		scope = append(scope, slog.String("room", o.RoomName))
	}
	return o.Logs(name, scope...).WithAttrs(append(attrs, o.always()...))
}

// always are the attributes of every record and span.
func (o *Options) always() []slog.Attr {
	out := []slog.Attr{slog.Bool("lk.simulation.enabled", o.Simulation), slog.Bool("lk.redaction.enabled", o.Redact)}
	for _, kv := range o.Attributes {
		out = append(out, slog.Any(string(kv.Key), kv.Value.AsInterface()))
	}
	return out
}

// logHandler gives attributes their names of OpenTelemetry, and takes out what is redacted.
type logHandler struct {
	to     slog.Handler
	redact bool
}

// Enabled implements slog.Handler.
func (h *logHandler) Enabled(ctx context.Context, l slog.Level) bool { return h.to.Enabled(ctx, l) }

// Handle implements slog.Handler.
func (h *logHandler) Handle(ctx context.Context, r slog.Record) error {
	out := slog.NewRecord(r.Time, r.Level, r.Message, r.PC)
	r.Attrs(func(a slog.Attr) bool {
		out.AddAttrs(h.rename(a)...)
		return true
	})
	return h.to.Handle(ctx, out)
}

// WithAttrs implements slog.Handler.
func (h *logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &logHandler{h.to.WithAttrs(h.renameAll(attrs)), h.redact}
}

// WithGroup implements slog.Handler.
func (h *logHandler) WithGroup(name string) slog.Handler {
	return &logHandler{h.to.WithGroup(name), h.redact}
}

func (h *logHandler) renameAll(attrs []slog.Attr) (out []slog.Attr) {
	for _, a := range attrs {
		out = append(out, h.rename(a)...)
	}
	return out
}

// privateNames are the names of what our own records tell about people.
var privateNames = map[string]string{
	"identity": "lk.pii.participant_identity", "sender": "lk.pii.participant_identity", "participant": "lk.pii.participant_identity",
	"room": "lk.pii.room_name",
}

// rename is a as it is exported: none, one or more attributes.
func (h *logHandler) rename(a slog.Attr) []slog.Attr {
	v := a.Value.Resolve()
	if v.Kind() == slog.KindGroup {
		return []slog.Attr{{Key: a.Key, Value: slog.GroupValue(h.renameAll(v.Group())...)}}
	}
	if name, ok := privateNames[a.Key]; ok {
		a.Key = name
	}
	err, isError := v.Any().(error)
	switch {
	case a.Key == "stack" && h.redact, h.redact && private(a.Key):
		return nil
	case a.Key == "stack":
		return []slog.Attr{{Key: "exception.stacktrace", Value: v}}
	case isError:
		return h.exception(exceptionType(err), err.Error())
	case a.Key == "panic":
		return h.exception("panic", v.String())
	case a.Key == "err", a.Key == "error":
		return h.exception("error", v.String())
	}
	return []slog.Attr{{Key: a.Key, Value: v}}
}

func (h *logHandler) exception(kind, text string) []slog.Attr {
	if h.redact {
		text = redacted
	}
	return []slog.Attr{slog.String("exception.type", kind), slog.String("exception.message", text)}
}
