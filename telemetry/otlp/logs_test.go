package otlp_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	logspb "go.opentelemetry.io/proto/otlp/logs/v1"

	"github.com/parley-go/parley/internal/observed"
	"github.com/parley-go/parley/telemetry"
	"github.com/parley-go/parley/telemetry/otlp"
)

func TestRecordsOfASessionReachACollector(t *testing.T) {
	c := newCollector(t)
	began := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) // of every bubble
	converse(t, c, otlp.Options{NoMetrics: true, NoTraces: true}, telemetry.Options{})
	items := map[string]int{}
	seen := map[string]bool{}
	var last uint64
	for _, r := range c.records() {
		if r.scope.Name == telemetry.LoggerName {
			continue
		}
		body := text(r.Body)
		want := slices.Sorted(slices.Values(observed.Always))
		for _, o := range observed.Records {
			if o.Logger == r.scope.Name && o.Body == body {
				want = slices.Sorted(slices.Values(slices.Concat(o.Attributes, observed.Always)))
				seen[body] = true
			}
		}
		if got := keys(r.Attributes); got != strings.Join(want, " ") {
			t.Errorf("%s %q has %q, want %q", r.scope.Name, body, got, want)
		}
		if got := keys(r.scope.Attributes); got != strings.Join(observed.Scope, " ") {
			t.Errorf("scope has %q", got)
		}
		switch body {
		case "session report":
			if r.SeverityNumber != 0 || r.SeverityText != "unspecified" || r.TimeUnixNano < uint64(began.UnixNano()) || value(r.Attributes, "agent_name") != "helper" {
				t.Errorf("%v", r)
			}
			for _, part := range []string{`key:"usage"`, `"llm_usage"`, `key:"input_tokens"`, `key:"session.options"`, `key:"min_endpointing_delay"`, "int_value"} {
				if all := strings.ReplaceAll(r.LogRecord.String(), "  ", " "); !strings.Contains(all, part) {
					t.Errorf("no %s in %s", part, all)
				}
			}
			if tags := strings.ReplaceAll(value(r.Attributes, "session.tags"), "  ", " "); last == 0 && tags != `array_value:{values:{string_value:"beta"} values:{string_value:"plan:gold"}}` {
				t.Errorf("tags %s", tags)
			}
			last = 0
		case "chat item":
			if r.TimeUnixNano <= last {
				t.Errorf("items of one time, or not in order: %v", r)
			}
			last = r.TimeUnixNano
			kind := value(r.Attributes, "chat.item")
			for _, k := range []string{"message", "function_call_output", "function_call", "agent_handoff"} {
				if strings.Contains(kind, `key:"`+k+`"`) {
					items[k]++
					break
				}
			}
			failed := strings.Contains(kind, `key:"is_error"`)
			if (r.SeverityNumber == logspb.SeverityNumber_SEVERITY_NUMBER_ERROR) != failed {
				t.Errorf("severity %v of %s", r.SeverityNumber, kind)
			}
		}
	}
	// Two users' turns, two texts and the answers to them, and what the task said; then the detour, and the realtime model.
	if want := map[string]int{"message": 10 + 2 + 5, "function_call": 3 + 1, "function_call_output": 3 + 1, "agent_handoff": 3 + 1 + 1}; !maps.Equal(items, want) {
		t.Errorf("items %v, want %v", items, want)
	}
	for _, o := range observed.Records {
		if !seen[o.Body] {
			t.Errorf("no record %q", o.Body)
		}
	}
}

// logged exports what f logs, and returns it.
func logged(t *testing.T, o telemetry.Options, f func(log *slog.Logger)) []record {
	c := newCollector(t)
	exporting(t, c, otlp.Options{}, func(t *testing.T, exp *otlp.Exporter) {
		job := exp.Job(otlp.Identity{JobID: "AJ_1", RoomID: "RM_1"})
		job.Into(&o)
		f(slog.New(telemetry.LogHandler("livekit.test", o)))
		if err := job.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return c.records()
}

func TestLevelsOfLogRecords(t *testing.T) {
	want := []struct {
		level  slog.Level
		number logspb.SeverityNumber
		text   string
	}{
		{-20, 0, "unspecified"}, {telemetry.LevelTrace, 1, "TRACE"}, {slog.LevelDebug, 5, "DEBUG"}, {slog.LevelInfo, 9, "INFO"},
		{telemetry.LevelDev, 10, "DEV"}, {slog.LevelWarn, 13, "WARN"}, {slog.LevelError, 17, "ERROR"}, {telemetry.LevelFatal, 21, "FATAL"}, {99, 24, "FATAL"},
	}
	got := logged(t, telemetry.Options{}, func(log *slog.Logger) {
		for _, w := range want {
			log.Log(context.Background(), w.level, "text")
		}
	})
	if len(got) != len(want) {
		t.Fatalf("%d records", len(got))
	}
	for i, w := range want {
		if got[i].SeverityNumber != w.number || got[i].SeverityText != w.text {
			t.Errorf("%v: %v %s, want %v %s", w.level, got[i].SeverityNumber, got[i].SeverityText, w.number, w.text)
		}
	}
}

// told is the attributes of r that are not of every record, as text.
func told(r record) string {
	var out []string
	for _, kv := range r.Attributes {
		if !slices.Contains(observed.Always, kv.Key) && kv.Key != "logger.name" {
			out = append(out, kv.Key+"="+strings.Join(strings.Fields(text(kv.Value)), " "))
		}
	}
	slices.Sort(out)
	return strings.Join(out, "; ")
}

func TestAttributesOfLogRecords(t *testing.T) {
	say := func(log *slog.Logger) {
		log.With("a", 1).WithGroup("g").With("b", true).Info("text", "c", 1.5, slog.Group("h", "d", time.Second), "list", []string{"x"})
		log.Error("text", "err", fmt.Errorf("%s: %w", canary, errCanary), "stack", canary+".go:1")
		log.Error("text", "panic", canary, "room", canary, "identity", canary)
		log.Error("text", "error", canary, "lk.pii.chat_ctx", canary)
		log.Info("text", "broken", badValue{})
	}
	got := logged(t, telemetry.Options{}, say)
	for i, want := range []string{
		`a=int_value:1; g=kvlist_value:{values:{key:"b" value:{bool_value:true}} values:{key:"c" value:{double_value:1.5}} ` +
			`values:{key:"h" value:{kvlist_value:{values:{key:"d" value:{double_value:1}}}}} values:{key:"list" value:{array_value:{values:{string_value:"x"}}}}}`,
		"exception.message=canary: the canary is gone; exception.stacktrace=canary.go:1; exception.type=*errors.errorString",
		"exception.message=canary; exception.type=panic; lk.pii.participant_identity=canary; lk.pii.room_name=canary",
		"exception.message=canary; exception.type=error; lk.pii.chat_ctx=canary",
		"broken=!PANIC: too bad",
	} {
		if told := told(got[i]); told != want {
			t.Errorf("record %d:\n%s\nwant\n%s", i, told, want)
		}
		for _, k := range slices.Concat(observed.Always, observed.Logged) {
			if value(got[i].Attributes, k) == "" {
				t.Errorf("record %d has no %s", i, k)
			}
		}
	}
	redacted := logged(t, telemetry.Options{Redact: true}, say)
	for i, want := range []string{
		told(got[0]),
		"exception.message=exception details redacted; exception.type=*errors.errorString",
		"exception.message=exception details redacted; exception.type=panic",
		"exception.message=exception details redacted; exception.type=error",
		"broken=!PANIC: too bad",
	} {
		if told := told(redacted[i]); told != want {
			t.Errorf("redacted record %d:\n%s\nwant\n%s", i, told, want)
		}
	}
}

type badValue struct{}

func (badValue) MarshalJSON() ([]byte, error) { panic(errors.New("too bad")) }

func newRecord(text string) slog.Record { return slog.NewRecord(time.Now(), slog.LevelInfo, text, 0) }
