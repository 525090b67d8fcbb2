package wire

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model"
)

// grpcServer serves calls.
func grpcServer(t *testing.T, h http.HandlerFunc) (*Client, string) {
	t.Helper()
	srv := newServer(t, h)
	srv.Config.Protocols = http2Only()
	srv.Start()
	return &Client{Peer: Peer{Info: model.Info{Provider: "p"}, Kind: "stt", Secrets: []string{"hush"}}}, srv.URL
}

func framed(m string) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(m))), m...)
}

// over is how a call ended, after its messages.
func over(t *testing.T, g *GRPC) (messages []string, err error) {
	t.Helper()
	for {
		m, err := g.Recv(t.Context())
		if err != nil {
			return messages, err
		}
		messages = append(messages, string(m))
	}
}

func TestGRPCCall(t *testing.T) {
	c, url := grpcServer(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Content-Type") != "application/grpc" || r.Header.Get("Te") != "trailers" || r.Header.Get("X-A") != "b" || r.ProtoMajor != 2 {
			t.Errorf("the header is %v", r.Header)
		}
		w.Header().Set("Content-Type", "application/grpc+proto")
		flush := http.NewResponseController(w).Flush
		var head [5]byte
		for {
			if _, err := io.ReadFull(r.Body, head[:]); err != nil {
				break
			}
			m := make([]byte, binary.BigEndian.Uint32(head[1:]))
			_, _ = io.ReadFull(r.Body, m)
			for _, b := range framed("<" + string(m) + ">") { // in pieces
				_, _ = w.Write([]byte{b})
				_ = flush()
			}
		}
		w.Header().Set(http.TrailerPrefix+"Grpc-Status", "0")
	})
	seen := &counted{}
	for range 2 {
		g, err := c.Call(metrics.WithRecorder(t.Context(), seen), "test", url+"/s/m", http.Header{"X-A": {"b"}})
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range []string{"a", ""} {
			if err := g.Send(t.Context(), []byte(m)); err != nil {
				t.Fatal(err)
			}
			if got, err := g.Recv(t.Context()); err != nil || string(got) != "<"+m+">" {
				t.Fatalf("%q, %v", got, err)
			}
		}
		if err := g.Accepted(t.Context(), 0); err != nil {
			t.Error(err)
		}
		g.CloseSend()
		if _, err := g.Recv(t.Context()); err != io.EOF {
			t.Errorf("the end is %v", err)
		}
		_ = g.Close()
		_ = g.Close()
	}
	if seen.fresh != 1 || seen.reused != 1 {
		t.Errorf("%d dials and %d reused, want 1 and 1", seen.fresh, seen.reused)
	}
}

// Who sends to a server that has refused the call is told why, and not that the call is over.
func TestGRPCSendTellsWhyTheCallWasRefused(t *testing.T) {
	for name, refuse := range map[string]http.HandlerFunc{
		"by a status": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/grpc")
			w.Header().Set("Grpc-Status", "16")
			w.Header().Set("Grpc-Message", "who are you")
		},
		"over HTTP": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = io.WriteString(w, "who are you")
		},
	} {
		c, url := grpcServer(t, refuse)
		g, err := c.Call(t.Context(), "test", url, nil)
		for err == nil {
			err = g.Send(t.Context(), make([]byte, 1<<10))
		}
		var e *model.Error
		if !errors.As(err, &e) || e.Status != 401 || !strings.Contains(err.Error(), "who are you") {
			t.Errorf("%s: error is %v", name, err)
		}
		_ = g.Close()
	}
}

func TestGRPCEnds(t *testing.T) {
	head := func(w http.ResponseWriter) { w.Header().Set("Content-Type", "application/grpc") }
	trailer := func(code, message string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			head(w)
			_ = http.NewResponseController(w).Flush()
			w.Header().Set(http.TrailerPrefix+"Grpc-Status", code)
			w.Header().Set(http.TrailerPrefix+"Grpc-Message", message)
		}
	}
	raw := func(b string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			head(w)
			_, _ = io.WriteString(w, b)
		}
	}
	for name, c := range map[string]struct {
		h      http.HandlerFunc
		kind   model.ErrorKind
		status int
		text   string
	}{
		"unavailable":  {trailer("14", "come%20back%20hush"), model.KindStatus, 503, "come back [key]"},
		"bad argument": {trailer("3", "100%"), model.KindStatus, 400, "100%"},
		"unknown":      {trailer("2", ""), model.KindStatus, 500, ""},
		"deadline":     {trailer("4", ""), model.KindTimeout, 0, ""},
		"aborted":      {trailer("10", "too long"), model.KindConnection, 0, "too long"},
		"no status":    {raw(""), model.KindConnection, 0, "broke off"},
		"cut":          {raw("\x00\x00\x00\x00\x09abc"), model.KindConnection, 0, "EOF"},
		"cut head":     {raw("\x00\x00"), model.KindConnection, 0, "EOF"},
		"compressed":   {raw("\x01\x00\x00\x00\x00"), model.KindProtocol, 0, "compressed"},
		"too large":    {raw("\x00\xff\xff\xff\xff"), model.KindProtocol, 0, "too large"},
		"reset":        {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, model.KindConnection, 0, ""},
		"refused": {func(w http.ResponseWriter, _ *http.Request) {
			head(w)
			w.Header().Set("Grpc-Status", "16")
		}, model.KindStatus, 401, ""},
		"HTTP status": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusForbidden)
			_, _ = io.WriteString(w, `{"error":{"message":"no"}}`)
		}, model.KindStatus, 403, "no"},
		"a page": {func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }, model.KindProtocol, 0, "gRPC"},
	} {
		t.Run(name, func(t *testing.T) {
			client, url := grpcServer(t, c.h)
			g, err := client.Call(t.Context(), "test", url, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer g.Close()
			_, err = over(t, g)
			var e *model.Error
			if !errors.As(err, &e) || e.Kind != c.kind || e.Status != c.status || !strings.Contains(err.Error(), c.text) {
				t.Errorf("the error is %v", err)
			}
		})
	}
	client, url := grpcServer(t, func(w http.ResponseWriter, _ *http.Request) {
		head(w)
		w.Header().Set("Grpc-Status", "0")
	})
	g, err := client.Call(t.Context(), "test", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	if m, err := over(t, g); err != io.EOF || m != nil || g.Accepted(t.Context(), time.Second) != nil {
		t.Errorf("an end without messages is %v, %v", m, err)
	}
}

func TestGRPCWaitsForNobody(t *testing.T) {
	// The server waits for its calls when it is closed.
	c, url := grpcServer(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	call := func() *GRPC {
		g, err := c.Call(t.Context(), "test", url, nil)
		if err != nil {
			t.Fatal(err)
		}
		return g
	}
	ctx, cancel := context.WithCancel(t.Context())

	g := call()
	if err := g.Accepted(ctx, time.Millisecond); err != nil {
		t.Errorf("no answer is %v", err)
	}
	time.AfterFunc(10*time.Millisecond, cancel)
	if _, err := g.Recv(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("receive gave %v", err)
	}
	_ = g.Close()

	g = call()
	time.AfterFunc(10*time.Millisecond, func() { _ = g.Close() })
	_, err := g.Recv(t.Context())
	if !model.Retryable(err) {
		t.Errorf("receive gave %v", err)
	}
	if err := g.Send(t.Context(), []byte("a")); !model.Retryable(err) {
		t.Errorf("send gave %v", err)
	}

	g = call()
	g.Abort(context.DeadlineExceeded)
	var e *model.Error
	if _, err := g.Recv(t.Context()); !errors.As(err, &e) || e.Kind != model.KindTimeout {
		t.Errorf("receive gave %v", err)
	}
	_ = g.Close()

	g = call()
	defer g.Close()
	ctx, cancel = context.WithCancel(t.Context())
	time.AfterFunc(10*time.Millisecond, cancel)
	for err = nil; err == nil; { // the server reads nothing
		err = g.Send(ctx, make([]byte, 1<<20))
	}
	if !errors.Is(err, context.Canceled) {
		t.Errorf("send gave %v", err)
	}
}

func TestGRPCWithoutAServer(t *testing.T) {
	c, url := grpcServer(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Call(ctx, "test", url, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("with an ended context: %v", err)
	}
	if _, err := c.Call(t.Context(), "test", "http://127.0.0.1:1", nil); !model.Retryable(err) {
		t.Errorf("without a server: %v", err)
	}
}
