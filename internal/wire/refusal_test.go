package wire

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/parley-go/parley/model"
)

// What a provider says about a refusal is in the error, of requests and of websockets, without keys and
// tokens.
func TestRefusals(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Left", "none for my-key")
		w.WriteHeader(http.StatusTooManyRequests)
		_, _ = w.Write([]byte(`{"message":"you are eyJhbGciOi.eyJpc3Mi.c2lnbmF0dXJl-_, go away"}`))
	}))
	defer s.Close()
	c := &Client{Peer: Peer{
		Info: model.Info{Provider: "x"}, Secrets: []string{"my-key"},
		Refusal: func(status int, h http.Header, body []byte) (string, bool) {
			return "(left: " + h.Get("X-Left") + ")", status == 429 && len(body) > 0
		},
	}, HTTP: s.Client()}
	r, err := http.NewRequest(http.MethodGet, s.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, _, asked := c.DoAll(t.Context(), "ask", r)
	_, dialled := Dial(context.Background(), &c.Peer, SocketOptions{URL: "ws" + strings.TrimPrefix(s.URL, "http")})
	for _, err := range []error{asked, dialled} {
		var e *model.Error
		if !errors.As(err, &e) || !e.Permanent || !strings.HasSuffix(err.Error(), "(status 429): you are [token], go away (left: none for [key])") {
			t.Errorf("error is %v", err)
		}
	}
}
