package worker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/livekit/protocol/livekit"
	"google.golang.org/protobuf/encoding/protojson"
)

// workerProtocol is the version of WorkerInfo that GET /worker answers with.
const workerProtocol = 1

// Handler answers what Options.HTTPAddr serves, for programs with an HTTP server of their own:
// /metrics for Prometheus, /healthz while the process lives, / and /readyz while the worker is
// connected to LiveKit (503 otherwise), and /worker with LiveKit's WorkerInfo as JSON.
func (w *Worker) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", w.figures)
	mux.HandleFunc("GET /healthz", func(rw http.ResponseWriter, _ *http.Request) { fmt.Fprint(rw, "OK") })
	mux.HandleFunc("GET /{$}", w.serveReady)
	mux.HandleFunc("GET /readyz", w.serveReady)
	mux.HandleFunc("GET /worker", w.serveInfo)
	return mux
}

func (w *Worker) connected() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.conn != nil
}

func (w *Worker) currentLoad() float32 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.load()
}

func (w *Worker) serveReady(rw http.ResponseWriter, _ *http.Request) {
	if !w.connected() {
		http.Error(rw, "not connected to livekit", http.StatusServiceUnavailable)
		return
	}
	fmt.Fprint(rw, "OK")
}

func (w *Worker) serveInfo(rw http.ResponseWriter, _ *http.Request) {
	info := &livekit.WorkerInfo{WorkerType: livekit.JobType_JT_ROOM.String(), AgentName: w.opt.AgentName, ActiveJobs: float32(w.ActiveJobs()),
		SdkVersion: Version, WorkerLoad: w.currentLoad(), ProtocolVersion: workerProtocol}
	data, err := protojson.MarshalOptions{UseProtoNames: true, EmitUnpopulated: true}.Marshal(info)
	if err != nil {
		http.Error(rw, "encoding worker info failed", http.StatusInternalServerError)
		return
	}
	rw.Header().Set("Content-Type", "application/json")
	_, _ = rw.Write(data)
}

// HTTPAddr is where the worker serves HTTP, nil while it does not.
func (w *Worker) HTTPAddr() net.Addr {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.httpAddr
}

// serveHTTP serves Options.HTTPAddr until stop is called, which waits for it.
func (w *Worker) serveHTTP() (stop func(), err error) {
	if w.opt.HTTPAddr == "" {
		return func() {}, nil
	}
	l, err := net.Listen("tcp", w.opt.HTTPAddr)
	if err != nil {
		return nil, fmt.Errorf("serving HTTP of the worker: %w", err)
	}
	w.mu.Lock()
	w.httpAddr = l.Addr()
	w.mu.Unlock()
	srv := &http.Server{Handler: w.Handler(), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			w.log.Error("the worker's HTTP server ended", "err", err)
		}
	}()
	return func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if srv.Shutdown(ctx) != nil {
			_ = srv.Close()
		}
		<-done
	}, nil
}
