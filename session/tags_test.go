package session_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/agent"
	"github.com/parley-go/parley/ledger"
	"github.com/parley-go/parley/llm"
	"github.com/parley-go/parley/llm/scripted"
	"github.com/parley-go/parley/session"
)

func TestTagsAreInTheReportAndTheLedger(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger")
	synctest.Test(t, func(t *testing.T) {
		l, err := ledger.Open(path, ledger.Options{})
		if err != nil {
			t.Fatal(err)
		}
		given := map[string]string{"customer": "acme", "campaign": ""}
		tag := llm.NewTool("tag", "", func(_ context.Context, rc *agent.RunContext, _ struct{}) (any, error) {
			return nil, rc.Session().SetTag("resolved", "yes")
		})
		o := session.Options{LLM: llm.New(scripted.New(&scripted.Options{Answers: []scripted.Answer{calling("tag")}}), nil),
			Tags: given, Recorder: l, PriceBooks: priced(t), Logger: slog.New(slog.DiscardHandler)}
		s := session.New(o)
		given["customer"] = "changed later"
		if err := s.SetTag("before", "the start"); err != nil {
			t.Fatal(err)
		}
		l.Begin(ledger.Start{SessionID: s.ID(), At: time.Now()})
		if err := s.Start(t.Context(), &agent.Agent{Tools: []llm.Tool{tag}}, nil); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Run(t.Context(), "Hello"); err != nil {
			t.Fatal(err)
		}
		s.RemoveTag("campaign")
		_ = s.Close(t.Context())
		if err := s.SetTag("after", "the end"); err != nil {
			t.Error(err)
		}
		want := map[string]string{"customer": "acme", "before": "the start", "resolved": "yes", "after": "the end"}
		rep, err := s.Report()
		if err != nil || !maps.Equal(rep.Tags, want) || !maps.Equal(s.Tags(), want) {
			t.Errorf("tags in the report %v, %v, want %v", rep.Tags, err, want)
		}
		s.Tags()["x"] = "a copy"
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}

		dead, err := ledger.Recover(path)
		if err != nil || len(dead) != 1 {
			t.Fatalf("recovered %v, %v", dead, err)
		}
		again := session.Recovered(dead[0], o.PriceBooks...)
		if !maps.Equal(again.Tags, want) {
			t.Errorf("recovered tags %v, want %v", again.Tags, want)
		}
		if len(rep.Usage.Models) == 0 || !reflect.DeepEqual(again.Usage, rep.Usage) || !reflect.DeepEqual(again.UsageBy, rep.UsageBy) || !reflect.DeepEqual(again.Cost, rep.Cost) {
			t.Errorf("recovered %v %v %v\nwant %v %v %v", again.Usage, again.UsageBy, again.Cost, rep.Usage, rep.UsageBy, rep.Cost)
		}
		data, err := json.Marshal(again)
		if err != nil || !strings.Contains(string(data), `"tags":{"after":"the end","before":"the start","customer":"acme","resolved":"yes"}`) {
			t.Errorf("%v, %s", err, data)
		}
	})
}

func TestTagsAreBounded(t *testing.T) {
	s := session.New(session.Options{Logger: slog.New(slog.DiscardHandler)})
	for name, tag := range map[string][2]string{
		"no key":             {"", "v"},
		"129 bytes":          {strings.Repeat("k", 129), "v"},
		"1025 bytes":         {"k", strings.Repeat("v", 1025)},
		"control characters": {"a\nb", "v"},
		"key has control":    {"a\xff", "v"},
		"value is no UTF-8":  {"k", "\xff"},
	} {
		err := s.SetTag(tag[0], tag[1])
		var te *session.TagError
		if !errors.As(err, &te) || te.Key != tag[0] || !strings.Contains(err.Error(), name) || len(err.Error()) > 300 {
			t.Errorf("%s: %v", name, err)
		}
	}
	for i := range session.MaxTags {
		if err := s.SetTag(fmt.Sprint(i), ""); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.SetTag("0", "another value"); err != nil {
		t.Error(err)
	}
	if err := s.SetTag("one more", ""); err == nil || !strings.Contains(err.Error(), "64 tags") {
		t.Errorf("one tag too many: %v", err)
	}
	s.RemoveTag("5")
	if err := s.SetTag("one more", ""); err != nil || len(s.Tags()) != session.MaxTags {
		t.Errorf("%v, %d tags", err, len(s.Tags()))
	}
	many := map[string]string{}
	for i := range session.MaxTags + 1 {
		many[fmt.Sprint(i)] = ""
	}
	for _, tags := range []map[string]string{many, {"": "v"}} {
		s := session.New(session.Options{Tags: tags, Logger: slog.New(slog.DiscardHandler)})
		if err := s.Start(t.Context(), &agent.Agent{}, nil); err == nil || !strings.Contains(err.Error(), "tag") {
			t.Errorf("start with %d tags: %v", len(tags), err)
		}
	}
}

func TestTagsStayOverARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := session.New(session.Options{Tags: map[string]string{"a": "1"}, Logger: slog.New(slog.DiscardHandler)})
		for _, want := range []string{"map[a:1]", "map[a:1 b:2]"} {
			if err := s.Start(t.Context(), &agent.Agent{}, nil); err != nil {
				t.Fatal(err)
			}
			if rep, err := s.Report(); err != nil || fmt.Sprint(rep.Tags) != want {
				t.Errorf("tags %v, %v, want %s", rep.Tags, err, want)
			}
			if err := s.SetTag("b", "2"); err != nil {
				t.Error(err)
			}
			_ = s.Close(t.Context())
		}
	})
}
