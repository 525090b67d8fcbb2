package wire

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/parley-go/parley/internal/newport"
	"github.com/parley-go/parley/model"
)

const secret = "k+y/with=signs&more"

func hides(t *testing.T, name string, err error) {
	t.Helper()
	if err == nil {
		t.Errorf("%s: no error", name)
		return
	}
	for _, text := range []string{err.Error(), fmt.Sprintf("%+v %#v", err, err)} {
		for _, s := range []string{secret, url.QueryEscape(secret), url.PathEscape(secret), "hush"} {
			if strings.Contains(text, s) {
				t.Errorf("%s: the secret is in %q", name, text)
			}
		}
	}
}

// The URL of a request is not told, whose query may hold keys that the peer does not know, such as those
// of a gateway.
func TestErrorsHideURLs(t *testing.T) {
	ln, err := newport.Listen()
	if err != nil {
		t.Fatal(err)
	}
	ln.Close() // so that nobody answers
	c := &Client{Peer: Peer{Info: model.Info{Provider: "test"}, Kind: "llm", Secrets: []string{secret}}}
	at := ln.Addr().String() + "/v1/" + url.PathEscape(secret) + "?key=" + url.QueryEscape(secret) + "&gateway=hush"
	r, err := http.NewRequest(http.MethodPost, "http://"+at, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Do(t.Context(), "chat", r)
	hides(t, "HTTP", err)
	if !strings.Contains(err.Error(), ln.Addr().String()) {
		t.Errorf("%q does not say where", err)
	}
	_, err = Dial(t.Context(), &c.Peer, SocketOptions{URL: "ws://" + at})
	hides(t, "websocket", err)
	_, err = c.Call(t.Context(), "transcribe", "http://"+at, nil)
	hides(t, "gRPC", err)
	_, err = http.NewRequest(http.MethodPost, "http://host/%zz?gateway=hush", nil)
	hides(t, "malformed URL", c.Error(model.KindRequest, "chat", err))
	hides(t, "stated", c.Status("chat", 401, "the key "+url.QueryEscape(secret)+" is wrong"))
}

// Credentials go to the provider only: net/http would take headers such as X-Api-Key along to another host.
func TestRedirectsAreRefused(t *testing.T) {
	told := make(chan string, 1)
	other := newServer(t, func(w http.ResponseWriter, r *http.Request) {
		told <- r.Header.Get("X-Api-Key")
	})
	other.Start()
	srv := newServer(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, other.URL, http.StatusTemporaryRedirect)
	})
	srv.Start()
	c := &Client{Peer: Peer{Info: model.Info{Provider: "test"}, Kind: "llm", Secrets: []string{secret}}}
	r, err := http.NewRequestWithContext(context.Background(), http.MethodPost, srv.URL, strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Api-Key", secret)
	resp, err := c.Do(t.Context(), "chat", r)
	if err == nil {
		resp.Body.Close()
	}
	select {
	case key := <-told:
		t.Errorf("another host was told %q", key)
	default:
	}
	var e *model.Error
	if !errors.As(err, &e) || e.Status != http.StatusTemporaryRedirect || e.Retryable() {
		t.Errorf("got %v", err)
	}
}
