package earlylog

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

// text returns a handler that writes what it gets, without times, and what it has written so far.
func text(l slog.Level) (slog.Handler, func() string) {
	var b bytes.Buffer
	h := slog.NewTextHandler(&b, &slog.HandlerOptions{Level: l, ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey && len(groups) == 0 {
			return slog.Attr{}
		}
		return a
	}})
	return h, func() string { return strings.TrimSpace(b.String()) }
}

func same(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s:\n%s\nwant:\n%s", what, got, want)
	}
}

func TestExportGetsWhatCameBefore(t *testing.T) {
	base, console := text(slog.LevelInfo)
	h := New(base)
	log := slog.New(h).With("job", 1).WithGroup("g").With("a", 2)
	log.Debug("quiet", "b", 3)
	log.Info("early")
	to, exported := text(slog.LevelDebug)
	stop := h.Export(to)
	log.Info("later")
	want := "level=INFO msg=early job=1 g.a=2\nlevel=INFO msg=later job=1 g.a=2"
	same(t, "console", console(), want)
	same(t, "exported", exported(), "level=DEBUG msg=quiet job=1 g.a=2 g.b=3\n"+want)
	stop()
	log.Info("too late")
	same(t, "exported", exported(), "level=DEBUG msg=quiet job=1 g.a=2 g.b=3\n"+want)
}

func TestTwoExports(t *testing.T) {
	base, _ := text(slog.LevelInfo)
	h := New(base)
	slog.New(h).Info("early")
	one, first := text(slog.LevelInfo)
	two, second := text(slog.LevelInfo)
	h.Export(one)
	h.Export(two)
	slog.New(h).Info("later")
	for _, got := range []string{first(), second()} {
		same(t, "exported", got, "level=INFO msg=early\nlevel=INFO msg=later")
	}
}

func TestForget(t *testing.T) {
	base, _ := text(slog.LevelInfo)
	h := New(base)
	slog.New(h).Info("early")
	h.Forget()
	if h.Enabled(context.Background(), slog.LevelDebug) {
		t.Error("debug records are made although nobody wants them")
	}
	to, exported := text(slog.LevelDebug)
	h.Export(to)
	slog.New(h).Debug("later")
	same(t, "exported", exported(), "level=DEBUG msg=later")
}

func TestTheOldestIsDropped(t *testing.T) {
	h := New(slog.DiscardHandler)
	for i := range limit + 7 {
		slog.New(h).Info(fmt.Sprint(i))
	}
	to, exported := text(slog.LevelInfo)
	h.Export(to)
	lines := strings.Split(exported(), "\n")
	if len(lines) != limit+1 {
		t.Fatalf("%d records", len(lines))
	}
	same(t, "first", lines[0], `level=WARN msg="log records from before were dropped" count=7`)
	same(t, "oldest", lines[1], "level=INFO msg=7")
	same(t, "newest", lines[limit], fmt.Sprintf("level=INFO msg=%d", limit+6))
}
