package wire

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/parley-go/parley/model"
)

var peer = &Peer{Info: model.Info{Label: "x.LLM", Provider: "x", Model: "m"}, Kind: "llm", Secrets: []string{"sk-secret"}}

func TestExplain(t *testing.T) {
	for body, want := range map[string]string{
		`{"error":{"message":"no such model","code":404}}`: "no such model",
		`{"error":"bad key"}`:                              "bad key",
		`{"detail":[{"msg":"field required"}]}`:            "field required",
		`[{"error":{"message":"quota"}}]`:                  "quota",
		`{"err_msg":"slow down"}`:                          "slow down",
		`plain text`:                                       "plain text",
		`<html>busy</html>`:                                "",
		``:                                                 "",
		`{"a":1}`:                                          "",
	} {
		if got := Explain([]byte(body)); got != want {
			t.Errorf("%s: %q, want %q", body, got, want)
		}
	}
}

func TestErrorsAreTypedAndCleaned(t *testing.T) {
	var e *model.Error
	err := peer.refused("chat", http.Header{"Retry-After": {"3"}, "X-Request-Id": {"req-1"}}, 401, []byte(`{"error":{"message":"wrong key sk-secret"}}`))
	if !errors.As(err, &e) || e.Kind != model.KindStatus || e.Status != 401 || e.RetryAfter != 3*time.Second || e.RequestID != "req-1" {
		t.Errorf("refused: %+v", err)
	}
	texts := []string{
		err.Error(),
		peer.Error(model.KindConnection, "dial", errors.New("wss://x?key=sk-secret")).Error(),
		peer.Protocol("read", "cannot read %q", "sk-secret").Error(),
		peer.closed("read", &websocket.CloseError{Code: 1008, Text: "sk-secret is not allowed"}).Error(),
		fmt.Sprintf("%+v", peer.Status("x", 500, strings.Repeat("sk-secret ", 200))),
	}
	for _, text := range texts {
		if strings.Contains(text, "sk-secret") || len(text) > 700 {
			t.Errorf("%q", text)
		}
	}
	if err := peer.Error(model.KindConnection, "dial", context.DeadlineExceeded); !errors.As(err, &e) || e.Kind != model.KindTimeout {
		t.Errorf("a deadline became %v", err)
	}
	if err := peer.Error(model.KindConnection, "dial", context.Canceled); err != context.Canceled {
		t.Errorf("a cancellation became %v", err)
	}
	if err := peer.closed("read", websocket.ErrReadLimit); !errors.As(err, &e) || e.Kind != model.KindProtocol {
		t.Errorf("a message that is too large became %v", err)
	}
	if err := peer.closed("read", &websocket.CloseError{Code: websocket.CloseNormalClosure}); !errors.As(err, &e) || e.Kind != model.KindConnection {
		t.Errorf("an early end became %v", err)
	}
}

func TestRetryAfter(t *testing.T) {
	for value, want := range map[string]time.Duration{"2": 2 * time.Second, "0.5": time.Second / 2, "-1": 0, "soon": 0, "": 0, "1e99": 0} {
		if got := retryAfter(http.Header{"Retry-After": {value}}); got != want {
			t.Errorf("%q: %v, want %v", value, got, want)
		}
	}
	date := time.Now().Add(time.Minute).UTC().Format(http.TimeFormat)
	if got := retryAfter(http.Header{"Retry-After": {date}}); got < 50*time.Second || got > time.Minute {
		t.Errorf("a date: %v", got)
	}
	if got := retryAfter(http.Header{"Retry-After-Ms": {"250"}}); got != 250*time.Millisecond {
		t.Errorf("milliseconds: %v", got)
	}
}

func TestKeyAndBase(t *testing.T) {
	t.Setenv("X_API_KEY", "")
	t.Setenv("Y_API_KEY", " from-env ")
	t.Setenv("X_BASE_URL", "")
	if _, err := Key("x", "Options.APIKey", "", "X_API_KEY"); err == nil || !strings.Contains(err.Error(), "X_API_KEY") || !strings.Contains(err.Error(), "Options.APIKey") {
		t.Errorf("a missing key: %v", err)
	}
	if k, err := Key("x", "Options.APIKey", "", "X_API_KEY", "Y_API_KEY"); err != nil || k != "from-env" {
		t.Errorf("%q, %v", k, err)
	}
	if k, _ := Key("x", "Options.APIKey", "given", "Y_API_KEY"); k != "given" {
		t.Errorf("the option must win: %q", k)
	}
	for _, bad := range []string{"host:80", "ftp://x", "http://", "://sk-secret"} {
		if _, err := Base("x", bad, "https://x.test", "X_BASE_URL"); err == nil || strings.Contains(err.Error(), "sk-secret") {
			t.Errorf("%q: %v", bad, err)
		}
	}
	u, err := Base("x", "", "https://x.test/v1/", "X_BASE_URL")
	if err != nil {
		t.Fatal(err)
	}
	if got := Join(u, "/chat", map[string][]string{"a": {"1 2"}}); got != "https://x.test/v1/chat?a=1+2" {
		t.Error(got)
	}
	if got := JoinSocket(u, "/ws", nil); got != "wss://x.test/v1/ws" {
		t.Error(got)
	}
	t.Setenv("X_BASE_URL", "http://127.0.0.1:1/p?q=1")
	if u, _ = Base("x", "", "https://x.test", "X_BASE_URL"); Join(u, "/a", map[string][]string{"b": {"2"}}) != "http://127.0.0.1:1/p/a?b=2&q=1" {
		t.Error(Join(u, "/a", map[string][]string{"b": {"2"}}))
	}
}
