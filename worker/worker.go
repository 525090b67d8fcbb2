// Package worker is the process that hosts voice agents: it registers with a LiveKit server, takes
// jobs, runs one agent per job, and says how each job ended.
//
// The protocol is LiveKit's agent protocol: protobuf messages WorkerMessage and ServerMessage of
// github.com/livekit/protocol over a websocket.
package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"time"

	"github.com/livekit/protocol/livekit"

	"github.com/parley-go/parley/ledger"
	"github.com/parley-go/parley/metrics/prom"
	"github.com/parley-go/parley/report"
)

// Worker holds one connection to a LiveKit server and runs the jobs that it is given. All methods
// may be called from any goroutine.
type Worker struct {
	opt Options
	log *slog.Logger

	figures *prom.Figures

	mu         sync.Mutex
	running    bool
	id         string
	conn       *conn // nil while not registered
	draining   bool
	stopping   bool                   // no job starts any more
	pending    map[string]*JobRequest // accepted, waiting for the assignment
	active     map[string]*Job
	reserved   int                      // offers that are being decided
	backlog    []*livekit.WorkerMessage // final statuses that could not be sent; at most 128, oldest dropped
	works      int                      // what Run waits for: jobs, and reports of jobs that were refused
	over       bool                     // Run does not wait any more
	ledger     *ledger.Ledger           // nil without; set before the first job
	courier    *report.Courier          // likewise
	registered chan struct{}            // closed on the first registration
	httpAddr   net.Addr
	changed    chan struct{} // closed and replaced when a job or an offer is over, or the backlog was sent
}

const (
	statusEvery    = 2500 * time.Millisecond
	assignmentWait = 7500 * time.Millisecond
	answerWait     = 8 * time.Second
	registerWait   = 10 * time.Second
	backlogSize    = 128
	flushWait      = 2 * time.Second
)

// New makes a worker. Missing or malformed options are an error that says what to set.
func New(o Options) (*Worker, error) {
	o, err := o.defaults()
	if err != nil {
		return nil, err
	}
	w := &Worker{opt: o, log: o.Logger, pending: make(map[string]*JobRequest), active: make(map[string]*Job), registered: make(chan struct{}), changed: make(chan struct{})}
	node, _ := os.Hostname() // "" is as good as any
	w.figures = prom.New(prom.Worker{Node: node, Load: func() float64 { return float64(w.currentLoad()) }, Jobs: w.ActiveJobs, Connected: w.connected,
		Ledger: w.ledgerStats, Reports: w.reportStats})
	return w, nil
}

// ID is the id that the server gave, "unregistered" before.
func (w *Worker) ID() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.id == "" {
		return "unregistered"
	}
	return w.id
}

// Registered is closed when the worker is registered for the first time.
func (w *Worker) Registered() <-chan struct{} { return w.registered }

// ActiveJobs is the number of jobs that run.
func (w *Worker) ActiveJobs() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.active)
}

// Run registers and serves until ctx ends or the server cannot be reached any more. Ending ctx
// closes the running jobs, each in order, and waits for them. Run returns nil after that. When the
// server is lost for good, the running jobs, which have connections of their own, come to their own
// end before Run returns the error. It may be called once.
func (w *Worker) Run(ctx context.Context) error {
	w.mu.Lock()
	if w.running {
		w.mu.Unlock()
		return errors.New("worker is already running")
	}
	w.running = true
	w.mu.Unlock()

	stopHTTP, err := w.serveHTTP()
	if err != nil {
		return err
	}
	defer stopHTTP()
	if err := w.openReports(); err != nil {
		return err
	}
	defer w.closeReports()
	deadCtx, leaveDead := context.WithCancel(ctx)
	var dead sync.WaitGroup
	dead.Go(func() { w.reportDead(deadCtx) })
	defer dead.Wait()
	defer leaveDead()

	served := make(chan error, 1) // size 1: the goroutine below never waits for its reader
	connCtx, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	go func() { served <- w.stayConnected(connCtx) }()
	select {
	case <-ctx.Done():
	case err = <-served:
		served <- err
		_ = w.Drain(ctx) // fails when ctx ends, and that ends the jobs
	}
	// Jobs end while the connection is still there, so that their final status gets through.
	w.startDraining()
	w.endJobs()
	w.awaitWork()
	if err == nil {
		w.awaitFlush()
	}
	stop()
	<-served
	return err
}

// Drain stops taking jobs and waits until the running ones, and those that were accepted before, have
// come to their own end, or ctx ends.
func (w *Worker) Drain(ctx context.Context) error {
	w.startDraining()
	if err := w.await(ctx, func() bool { return len(w.active)+w.reserved == 0 }); err != nil {
		return fmt.Errorf("draining worker: %d jobs still run: %w", w.ActiveJobs(), err)
	}
	return nil
}

// awaitFlush waits, for flushWait at the most, until the final statuses got through.
func (w *Worker) awaitFlush() {
	ctx, cancel := context.WithTimeout(context.Background(), flushWait)
	defer cancel()
	if err := w.await(ctx, func() bool { return len(w.backlog) == 0 }); err != nil {
		w.log.Warn("the server was not told how jobs ended: there is no connection")
	}
}

// await waits until f, which is called with the lock, holds.
func (w *Worker) await(ctx context.Context, f func() bool) error {
	for {
		w.mu.Lock()
		ok, changed := f(), w.changed
		w.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// wake has those look again who await something. With the lock.
func (w *Worker) wake() {
	close(w.changed)
	w.changed = make(chan struct{})
}

func (w *Worker) startDraining() {
	w.mu.Lock()
	w.draining = true
	c := w.conn
	w.mu.Unlock()
	if c != nil {
		w.sendStatus(c)
	}
}

func (w *Worker) endJobs() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stopping = true
	for _, j := range w.active {
		if !j.end(reasonParentShutdown, nil) {
			j.cancel() // it gives its entrypoint time, which there is no more
		}
	}
}

// stayConnected serves one connection after another.
func (w *Worker) stayConnected(ctx context.Context) error {
	for failures := 0; ; failures++ {
		if failures > 0 {
			if err := sleep(ctx, retryWait(failures-1)); err != nil {
				return nil
			}
		}
		wasRegistered, err := w.serve(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if wasRegistered {
			failures = 0
		}
		switch never := w.ID() == "unregistered"; {
		case never && (errors.Is(err, ErrUnauthorized) || failures+1 >= firstRegistrationTries):
			return err
		case w.opt.MaxRetry >= 0 && failures >= w.opt.MaxRetry:
			return fmt.Errorf("connection to LiveKit is lost for good after %d attempts: %w", failures+1, err)
		}
		if w.ID() == "unregistered" {
			w.log.Info("cannot connect to LiveKit yet, trying again", "err", err)
		} else {
			w.log.Warn("connection to LiveKit lost, trying again", "err", err)
		}
	}
}

// retryWait is the wait before retry n, counted from 0: 0.5, 2, 4, 6, 8, 10, 10, ... seconds, more or
// less, so that a thousand workers do not come back at once.
func retryWait(n int) time.Duration {
	d := max(500*time.Millisecond, min(time.Duration(2*n)*time.Second, 10*time.Second))
	return time.Duration(float64(d) * (0.8 + 0.4*rand.Float64()))
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// serve dials, registers and handles what the server sends until the connection ends.
func (w *Worker) serve(ctx context.Context) (registered bool, err error) {
	c, err := dial(ctx, w.opt)
	if err != nil {
		return false, err
	}
	stop := context.AfterFunc(ctx, c.close)
	defer stop()
	defer c.close()
	if err := w.register(c); err != nil {
		return false, err
	}
	tickers, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { w.keepAlive(tickers, c) })
	defer func() {
		cancel()
		wg.Wait()
		w.disconnected(c)
	}()
	for {
		m, err := c.receive()
		if err != nil {
			return true, err
		}
		w.handle(ctx, c, m)
	}
}

func (w *Worker) register(c *conn) error {
	if err := c.send(&livekit.WorkerMessage{Message: &livekit.WorkerMessage_Register{Register: w.opt.register()}}); err != nil {
		return err
	}
	_ = c.ws.SetReadDeadline(time.Now().Add(registerWait))
	m, err := c.receive()
	if err != nil {
		return fmt.Errorf("registering worker: %w", err)
	}
	r := m.GetRegister()
	if r == nil {
		return fmt.Errorf("registering worker: the server answered with %T", m.Message)
	}
	w.mu.Lock()
	again := w.id != ""
	w.id = r.WorkerId
	w.conn = c
	backlog := w.backlog
	w.backlog = nil
	var ids []string
	for id := range w.active {
		ids = append(ids, id)
	}
	w.mu.Unlock()
	info := r.GetServerInfo()
	w.log.Info("registered worker", "agent_name", w.opt.AgentName, "id", r.WorkerId, "url", hostOf(w.opt.URL),
		"region", info.GetRegion(), "server", info.GetVersion(), "protocol", info.GetProtocol())
	if len(ids) > 0 {
		_ = c.send(&livekit.WorkerMessage{Message: &livekit.WorkerMessage_MigrateJob{MigrateJob: &livekit.MigrateJobRequest{JobIds: ids}}})
	}
	w.sendStatus(c)
	for _, m := range backlog {
		w.sendOrKeep(m)
	}
	w.mu.Lock()
	w.wake()
	w.mu.Unlock()
	if !again {
		close(w.registered)
	}
	return nil
}

// disconnected forgets c. Whoever waits for an assignment waits in vain.
func (w *Worker) disconnected(c *conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.conn == c {
		w.conn = nil
	}
	for id, r := range w.pending {
		delete(w.pending, id)
		close(r.lost)
	}
}

func (w *Worker) keepAlive(ctx context.Context, c *conn) {
	status, ping := time.NewTicker(statusEvery), time.NewTicker(pingEvery)
	defer status.Stop()
	defer ping.Stop()
	for {
		select {
		case <-status.C:
			w.sendStatus(c)
		case <-ping.C:
			c.ping()
		case <-ctx.Done():
			return
		}
	}
}

// sendStatus tells the server whether more jobs can be taken. It is never queued.
func (w *Worker) sendStatus(c *conn) {
	w.mu.Lock()
	st := livekit.WorkerStatus_WS_AVAILABLE
	if !w.hasRoom() {
		st = livekit.WorkerStatus_WS_FULL
	}
	u := &livekit.UpdateWorkerStatus{Status: st.Enum(), Load: w.load(), JobCount: uint32(len(w.active))}
	w.mu.Unlock()
	if err := c.send(&livekit.WorkerMessage{Message: &livekit.WorkerMessage_UpdateWorker{UpdateWorker: u}}); err != nil {
		w.log.Debug("sending worker status failed", "err", err)
	}
}

// hasRoom reports whether one more job can be taken. With the lock.
func (w *Worker) hasRoom() bool {
	return !w.draining && (w.opt.MaxJobs <= 0 || len(w.active)+w.reserved < w.opt.MaxJobs)
}

// load is what share of MaxJobs is taken; 0 without a limit. With the lock.
func (w *Worker) load() float32 {
	if w.opt.MaxJobs <= 0 {
		return 0
	}
	return min(1, float32(len(w.active)+w.reserved)/float32(w.opt.MaxJobs))
}

// sendJobStatus tells how a job fares; what cannot be sent now is sent after the next registration.
func (w *Worker) sendJobStatus(id string, st livekit.JobStatus, text string) {
	w.log.Debug("job status", "job_id", id, "status", st.String())
	w.sendOrKeep(&livekit.WorkerMessage{Message: &livekit.WorkerMessage_UpdateJob{
		UpdateJob: &livekit.UpdateJobStatus{JobId: id, Status: st, Error: text}}})
}

func (w *Worker) sendOrKeep(m *livekit.WorkerMessage) {
	w.mu.Lock()
	c := w.conn
	w.mu.Unlock()
	if c != nil && c.send(m) == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.backlog) >= backlogSize {
		w.backlog = w.backlog[1:]
	}
	w.backlog = append(w.backlog, m)
}

func (w *Worker) handle(ctx context.Context, c *conn, m *livekit.ServerMessage) {
	switch m := m.Message.(type) {
	case *livekit.ServerMessage_Availability:
		go w.offer(ctx, c, m.Availability.GetJob()) // ends by itself: the request has a deadline
	case *livekit.ServerMessage_Assignment:
		w.assign(m.Assignment)
	case *livekit.ServerMessage_Termination:
		w.mu.Lock()
		j := w.active[m.Termination.GetJobId()]
		w.mu.Unlock()
		if j != nil { // ignored by a job that is ending: the server echoes ends that it hears of
			j.end(reasonParentShutdown, nil)
		}
	}
}

// assign hands an assignment to whoever accepted the job.
func (w *Worker) assign(a *livekit.JobAssignment) {
	id := a.GetJob().GetId()
	w.mu.Lock()
	r, runs := w.pending[id], w.active[id] != nil
	delete(w.pending, id)
	w.mu.Unlock()
	if runs {
		w.log.Warn("job assigned again", "job_id", id)
		return
	}
	if r == nil {
		w.log.Warn("assignment of a job that nobody waits for", "job_id", id)
		w.refuse(a.GetJob(), errNotAwaited)
		return
	}
	r.assigned <- a // size 1, and there is one assignment per request
}
