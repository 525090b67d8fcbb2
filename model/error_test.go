package model_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/parley-go/parley/model"
)

func TestRetryable(t *testing.T) {
	status := func(n int) error { return &model.Error{Kind: model.KindStatus, Status: n} }
	for _, c := range []struct {
		name string
		err  error
		want bool
	}{
		{"nil", nil, false},
		{"connection", &model.Error{Kind: model.KindConnection}, true},
		{"timeout", &model.Error{Kind: model.KindTimeout}, true},
		{"protocol", &model.Error{Kind: model.KindProtocol}, true},
		{"request", &model.Error{Kind: model.KindRequest}, false},
		{"permanent", &model.Error{Kind: model.KindConnection, Permanent: true}, false},
		{"400", status(400), false},
		{"401", status(401), false},
		{"404", status(404), false},
		{"408", status(408), true},
		{"429", status(429), true},
		{"499", status(499), true},
		{"500", status(500), true},
		{"503", status(503), true},
		{"websocket close 1011", status(1011), true},
		{"unknown kind", &model.Error{}, false},
		{"other type", io.ErrUnexpectedEOF, false},
		{"wrapped", fmt.Errorf("chat: %w", status(503)), true},
		{"cancelled", &model.Error{Kind: model.KindConnection, Err: context.Canceled}, false},
		{"deadline of the attempt", &model.Error{Kind: model.KindTimeout, Err: context.DeadlineExceeded}, true},
	} {
		if got := model.Retryable(c.err); got != c.want {
			t.Errorf("%s: retryable is %v, want %v", c.name, got, c.want)
		}
	}
}

func TestErrorText(t *testing.T) {
	for want, err := range map[string]*model.Error{
		"openai chat: status error (status 429): slow down": {
			Kind: model.KindStatus, Provider: "openai", Op: "chat", Status: 429, Err: errors.New("slow down"),
		},
		"model: timeout error":            {Kind: model.KindTimeout},
		"deepgram dial: connection error": {Kind: model.KindConnection, Provider: "deepgram", Op: "dial"},
	} {
		if got := err.Error(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	cause := io.ErrUnexpectedEOF
	if !errors.Is(&model.Error{Err: cause}, cause) {
		t.Error("the cause is not found by errors.Is")
	}
}

const secret = "sk-very-secret"

// TestErrorsNeverLeak checks every way in which keys have got into the errors of clients.
func TestErrorsNeverLeak(t *testing.T) {
	// What net/http says about a request whose URL holds a key.
	_, httpErr := (&http.Client{Transport: failing{}}).Get("https://api.example.test/v1/" + secret + "?key=" + secret)
	base := "https://api.example.test/"
	_, parseErr := url.Parse(base + "%zz?token=" + secret)
	_, quoted := url.Parse(base + "\x7f\"" + secret)
	for name, cause := range map[string]error{
		"http client":     httpErr,
		"url parser":      parseErr,
		"quoted URL":      quoted,
		"wrapped":         fmt.Errorf("dial: %w", httpErr),
		"error in errors": &model.Error{Kind: model.KindConnection, Provider: "x", Err: fmt.Errorf("again: %w", httpErr)},
	} {
		if cause == nil {
			t.Fatalf("%s: no error to test with", name)
		}
		err := error(&model.Error{Kind: model.KindConnection, Provider: "example", Op: "dial", Err: cause})
		err = fmt.Errorf("start: %w", err)
		var log bytes.Buffer
		slog.New(slog.NewJSONHandler(&log, nil)).Error("call failed", "error", err)
		for _, text := range []string{err.Error(), fmt.Sprintf("%v %+v %s %q", err, err, err, err), log.String()} {
			if strings.Contains(text, secret) {
				t.Errorf("%s: the key is in %q", name, text)
			}
		}
	}
	if text := (&model.Error{Err: httpErr}).Error(); !strings.Contains(text, "api.example.test") || !strings.Contains(text, "no route") {
		t.Errorf("%q does not say what went wrong where", text)
	}
}

type failing struct{}

func (failing) RoundTrip(*http.Request) (*http.Response, error) { return nil, errors.New("no route") }
