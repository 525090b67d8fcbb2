package room

import (
	"context"
	"log/slog"
	"slices"

	"github.com/livekit/protocol/logger"
	lksdk "github.com/livekit/server-sdk-go/v2"
)

// The SDK gives WebRTC its global logger, whatever the logger of the room, and by default that prints
// every step of every connection to standard error. Who wants to see it calls lksdk.SetLogger.
func init() { lksdk.SetLogger(silence()) }

// silence is a logger whose level drops everything. With any other kind, also with one that discards, what WebRTC
// logs is formatted first, which reads tracks without their lock while a second offer writes them.
func silence() logger.Logger {
	l, err := logger.NewZapLogger(&logger.Config{Level: "fatal"})
	if err != nil {
		return logger.GetDiscardLogger()
	}
	return l
}

// sdkLog is the SDK's logger, bridged to slog. What the SDK calls a warning or an error is a warning
// to us, as it retries by itself; the rest is dropped. Unless inside says that the room is joined, warnings are
// debug lines: before, Join returns the same thing as an error, and after, what is cut off by leaving is meant to be.
type sdkLog struct {
	to     *slog.Logger
	inside func() bool
	fixed  []any
}

func newSDKLog(to *slog.Logger, inside func() bool) logger.Logger {
	return &sdkLog{to: to, inside: inside}
}

func (l *sdkLog) Debugw(string, ...any) {}
func (l *sdkLog) Infow(string, ...any)  {}

func (l *sdkLog) Warnw(msg string, err error, kv ...any)  { l.warn(msg, err, kv) }
func (l *sdkLog) Errorw(msg string, err error, kv ...any) { l.warn(msg, err, kv) }

func (l *sdkLog) warn(msg string, err error, kv []any) {
	level := slog.LevelDebug
	if l.inside() {
		level = slog.LevelWarn
	}
	ctx := context.Background()
	if !l.to.Enabled(ctx, level) {
		return
	}
	var attrs []slog.Attr
	if err != nil {
		attrs = append(attrs, slog.String("error", err.Error()))
	}
	attrs = appendPlain(attrs, l.fixed)
	attrs = appendPlain(attrs, kv)
	l.to.LogAttrs(ctx, level, "livekit: "+msg, attrs...)
}

// appendPlain keeps texts, numbers and truths. The rest of what the SDK logs are structs of
// connections, with tokens in them.
func appendPlain(attrs []slog.Attr, kv []any) []slog.Attr {
	for i := 0; i+1 < len(kv); i += 2 {
		key, ok := kv[i].(string)
		if !ok {
			continue
		}
		switch v := kv[i+1].(type) {
		case string, bool, int, int64, uint32, uint64, float64:
			attrs = append(attrs, slog.Any(key, v))
		}
	}
	return attrs
}

func (l *sdkLog) WithValues(kv ...any) logger.Logger {
	return &sdkLog{to: l.to, inside: l.inside, fixed: append(slices.Clip(l.fixed), kv...)}
}

func (l *sdkLog) WithUnlikelyValues(kv ...any) logger.UnlikelyLogger {
	return logger.NewUnlikelyLogger(l, kv...)
}

func (l *sdkLog) WithName(string) logger.Logger      { return l }
func (l *sdkLog) WithComponent(string) logger.Logger { return l }
func (l *sdkLog) WithCallDepth(int) logger.Logger    { return l }
func (l *sdkLog) WithItemSampler() logger.Logger     { return l }
func (l *sdkLog) WithoutSampler() logger.Logger      { return l }

func (l *sdkLog) WithDeferredValues() (logger.Logger, logger.DeferredFieldResolver) {
	return l, discardFields{}
}

type discardFields struct{}

func (discardFields) Resolve(...any) {}
func (discardFields) Reset()         {}
