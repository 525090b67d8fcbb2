package wire

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/parley-go/parley/metrics"
)

// counted counts connections by whether they were used before.
type counted struct{ fresh, reused int }

func (c *counted) Record(_ context.Context, e metrics.Event) {
	if e, ok := e.(*metrics.Connection); ok && e.Reused {
		c.reused++
	} else {
		c.fresh++
	}
}

func TestFinishKeepsTheConnection(t *testing.T) {
	gate := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "data: [DONE]\n\n")
		_ = http.NewResponseController(w).Flush()
		<-gate
	}))
	defer srv.Close()
	hc := &http.Client{Transport: &http.Transport{}}
	defer hc.CloseIdleConnections()
	c, seen := Client{HTTP: hc}, &counted{}
	get := func(late bool) {
		r, _ := http.NewRequest(http.MethodGet, srv.URL, nil)
		resp, err := c.Do(metrics.WithRecorder(t.Context(), seen), "test", r)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := NewEvents(resp.Body).Next(); err != nil {
			t.Fatal(err)
		}
		if !late {
			gate <- struct{}{}
		}
		Finish(resp.Body)
		if late { // Finish does not wait for servers that hold their answers
			gate <- struct{}{}
		}
	}
	get(false)
	get(true)
	get(false)
	if seen.fresh != 2 || seen.reused != 1 {
		t.Fatalf("%d dials and %d reused, want 2 and 1", seen.fresh, seen.reused)
	}
}
