package metrics

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
)

// logged returns what log writes, without the time.
func logged(level slog.Level, log func(*slog.Logger)) string {
	var b bytes.Buffer
	log(slog.New(slog.NewJSONHandler(&b, &slog.HandlerOptions{Level: level, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}})))
	return b.String()
}

func TestLogGolden(t *testing.T) {
	var b strings.Builder
	for _, events := range []map[string]Event{fullEvents(), minimalEvents()} {
		for _, name := range []string{"llm", "realtime", "tts", "stt", "eou", "interruption", "avatar", "eot", "vad", "connection"} {
			b.WriteString(logged(slog.LevelDebug, func(l *slog.Logger) { Log(l, events[name]) }))
		}
	}
	golden(t, "log.txt", []byte(b.String()))
}

func TestLogKeepsIdleEventsAtDebug(t *testing.T) {
	for name, e := range fullEvents() {
		got := logged(slog.LevelInfo, func(l *slog.Logger) { Log(l, e) })
		quiet := name == "vad" || name == "eot" || name == "connection"
		if (got == "") != quiet {
			t.Errorf("%s at info level: %q", name, got)
		}
	}
}

func TestLogWithoutLogger(t *testing.T) {
	old := slog.Default()
	defer slog.SetDefault(old)
	got := logged(slog.LevelInfo, func(l *slog.Logger) {
		slog.SetDefault(l)
		Log(nil, &STT{AudioDuration: 1234567890})
	})
	if want := `"stt":{"audio_duration":1.23}`; !strings.Contains(got, want) {
		t.Errorf("%s lacks %s", got, want)
	}
}

func TestUsageLineLogsItself(t *testing.T) {
	got := logged(slog.LevelInfo, func(l *slog.Logger) {
		l.LogAttrs(context.Background(), slog.LevelInfo, "usage",
			slog.Any("model", TTSUsage{Provider: "cartesia", Model: "sonic-3", CharactersCount: 7, AudioDuration: second / 2}))
	})
	if want := `"model":{"type":"tts_usage","provider":"cartesia","model":"sonic-3","characters_count":7,"audio_duration":0.5}`; !strings.Contains(got, want) {
		t.Errorf("%s lacks %s", got, want)
	}
	if got, want := (EOTUsage{Model: "m", TotalRequests: 2}).String(), "EOTUsage(model='m', total_requests=2)"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
