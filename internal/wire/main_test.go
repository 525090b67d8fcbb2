package wire

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"go.uber.org/goleak"

	"github.com/parley-go/parley/internal/newport"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newServer is a server for clients that the tests share. It is not started yet, and ends with the test.
func newServer(t *testing.T, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	srv := httptest.NewUnstartedServer(h)
	_ = srv.Listener.Close()
	var err error
	if srv.Listener, err = newport.Listen(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Close)
	return srv
}
