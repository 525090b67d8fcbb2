package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/livekit/protocol/livekit"
	lksdk "github.com/livekit/server-sdk-go/v2"

	"github.com/parley-go/parley/internal/earlylog"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/room"
	"github.com/parley-go/parley/session"
)

// The reasons for the end of a job that are not the application's own. Tools around LiveKit search
// logs for these texts.
const (
	reasonUser           = "user requested"
	reasonDisconnected   = "room disconnected"
	reasonCrashed        = "job crashed"
	reasonParentShutdown = "parent process shutdown"
	reasonSessionClosed  = "session closed"
	reasonRefused        = "job refused"
)

// Job is one conversation that the worker was asked to hold, as the entrypoint sees it. All methods
// may be called from any goroutine.
type Job struct {
	w     *Worker
	info  *livekit.Job
	url   string
	token string
	ident string
	log   *slog.Logger
	early *earlylog.Handler // of log

	ctx    context.Context // of the entrypoint
	cancel context.CancelFunc
	ending chan struct{} // closed when the end begins
	began  time.Time
	room   *Room

	before, after callbacks // the disconnect; that and the report

	mu         sync.Mutex
	reason     string
	err        error
	sessions   []*session.Session // that were started in the job's room, in order
	statusSent bool
}

// ErrEnded is returned for what a job cannot do any more because its end has begun.
var ErrEnded = errors.New("the job has ended")

// ErrSessionAgain is returned by Session.Start for a session that the job has had already: another conversation
// is another session, with a report of its own.
var ErrSessionAgain = errors.New("a job has each session once; make another one")

// lastWords is how long what was sent may take to be heard.
const lastWords = 300 * time.Millisecond

type jobKey struct{}

// FromContext returns the job that ctx belongs to, nil if none.
func FromContext(ctx context.Context) *Job {
	j, _ := ctx.Value(jobKey{}).(*Job)
	return j
}

// ID is the server's id of the job.
func (j *Job) ID() string { return j.info.GetId() }

// Info is what the server said about the job: its room, participant and metadata. It must not be
// changed.
func (j *Job) Info() *livekit.Job { return j.info }

// Metadata decodes the JSON metadata of the dispatch into v.
func (j *Job) Metadata(v any) error {
	if err := json.Unmarshal([]byte(j.info.GetMetadata()), v); err != nil {
		return fmt.Errorf("reading metadata of job %s: %w", j.ID(), err)
	}
	return nil
}

// Identity is as whom the agent joins the room.
func (j *Job) Identity() string { return j.ident }

// Logger logs with the job's id and room. Sessions that are started for the job and have no logger of
// their own log there.
func (j *Job) Logger() *slog.Logger { return j.log }

// ExportLogs has h get what is logged for the job as well, at every level: what came before, too, the last
// 1000 records at the most, as long as no session was started in the job's room. stop ends it. See
// telemetry.LogHandler.
func (j *Job) ExportLogs(h slog.Handler) (stop func()) { return j.early.Export(h) }

// Done is closed when the job begins to end.
func (j *Job) Done() <-chan struct{} { return j.ending }

// Room is the job's room, for Session.Start. It is joined when the session starts, or by Connect.
func (j *Job) Room() *Room { return j.room }

// Session is the first session that was started in the job's room, nil before. When it closes, the job
// ends. All sessions that were started in the room are closed and reported when the job ends.
func (j *Job) Session() *session.Session {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.sessions) == 0 {
		return nil
	}
	return j.sessions[0]
}

// Shutdown ends the job; reason "" is "user requested". It returns at once; only the first end
// counts.
func (j *Job) Shutdown(reason string) { j.end(first(reason, reasonUser), nil) }

// end begins the end of the job. It reports whether it had not begun before. The first reason counts.
func (j *Job) end(reason string, err error) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	select {
	case <-j.ending:
		// The end of the conversation does not hide that the entrypoint failed: to start it, or to do
		// what it does afterwards.
		if j.err == nil && (j.reason == reasonSessionClosed || j.reason == reasonDisconnected) {
			j.err = err
		}
		return false
	default:
		j.reason, j.err = reason, err
		close(j.ending)
		return true
	}
}

// forModels is what LiveKit's gateway is told about the job.
func (j *Job) forModels() model.Job {
	m := model.Job{ID: j.ID(), RoomID: j.info.GetRoom().GetSid(), Logger: j.log}
	if r := j.room; r.mu.TryLock() { // held while joining
		if r.lk != nil {
			m.AgentID = r.lk.SDK().LocalParticipant.SID()
		}
		r.mu.Unlock()
	}
	return m
}

// launch starts the job of an assignment, or fails with ErrStopping.
func (w *Worker) launch(a *livekit.JobAssignment, r *JobRequest) error {
	info := a.GetJob()
	if info == nil {
		info = r.Job
	}
	w.mu.Lock()
	if w.stopping {
		w.mu.Unlock()
		w.refuse(info, ErrStopping)
		return ErrStopping
	}
	j := w.newJob(info, a, r.accept.Identity)
	w.active[j.ID()] = j
	w.works++
	w.mu.Unlock()
	w.sendJobStatus(j.ID(), livekit.JobStatus_JS_RUNNING, "")
	go func() { // Run waits for it
		defer w.worked()
		j.run()
		w.figures.JobEnded(j.result(), time.Since(j.began))
		w.mu.Lock()
		delete(w.active, j.ID())
		w.mu.Unlock()
	}()
	return nil
}

func (w *Worker) newJob(info *livekit.Job, a *livekit.JobAssignment, identity string) *Job {
	early := earlylog.New(w.log.Handler())
	j := &Job{w: w, info: info, url: first(a.GetUrl(), w.opt.URL), token: a.GetToken(), ident: identity,
		log: slog.New(early).With("job_id", info.GetId(), "room", info.GetRoom().GetName()), early: early,
		ending: make(chan struct{}), began: time.Now()}
	j.ctx, j.cancel = context.WithCancel(model.WithJob(context.WithValue(context.Background(), jobKey{}, j), j.forModels))
	j.room = &Room{job: j}
	return j
}

// runEntrypoint runs the user's code.
func (j *Job) runEntrypoint() {
	returned := false
	defer func() {
		p := recover()
		switch {
		case p != nil:
			j.log.Error("unhandled exception while running the job task", "panic", p, "stack", string(debug.Stack()))
			j.end(reasonCrashed, fmt.Errorf("panic in entrypoint: %v", p))
		case !returned: // runtime.Goexit
			j.end(reasonCrashed, errors.New("entrypoint ended its goroutine"))
		}
	}()
	err := j.w.opt.Entrypoint(j.ctx, j)
	returned = true
	if err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, ErrEnded) {
		j.log.Error(reasonCrashed, "err", err)
		j.end(reasonCrashed, err)
	}
}

// Room is the room of a job; it implements session.Transport. A session hears and shows the defaults of
// room.IOOptions there; With changes them.
type Room struct {
	job *Job

	mu  sync.Mutex // held while joining, which has a deadline
	lk  *room.Room
	end bool

	stay         sync.Mutex
	joined, left time.Time // zero before
}

var (
	_ session.Transport = (*Room)(nil)
	_ session.HangUper  = (*Room)(nil)
	_ session.HangUper  = (*withOptions)(nil)
)

// Connect joins the room with the token that the server gave for the job. A second call returns the
// same connection.
func (r *Room) Connect(ctx context.Context) (*room.Room, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.lk != nil {
		return r.lk, nil
	}
	if r.end {
		return nil, fmt.Errorf("joining room of job %s: %w", r.job.ID(), ErrEnded)
	}
	lk, err := room.Join(ctx, room.Options{URL: r.job.url, Token: r.job.token, Name: r.job.info.GetRoom().GetName(), Logger: r.job.log})
	if err != nil {
		return nil, fmt.Errorf("joining room of job %s: %w", r.job.ID(), err)
	}
	r.lk = lk
	r.note(&r.joined)
	go func() { // ends with the room, which is left when the job ends
		<-lk.Disconnected()
		r.note(&r.left)
		r.job.end(reasonDisconnected, nil)
	}()
	return lk, nil
}

// note sets t, one of the times of the stay, to now, once.
func (r *Room) note(t *time.Time) {
	r.stay.Lock()
	defer r.stay.Unlock()
	if t.IsZero() {
		*t = time.Now()
	}
}

// times tells when the room was joined and left.
func (r *Room) times() (joined, left time.Time) {
	r.stay.Lock()
	defer r.stay.Unlock()
	return r.joined, r.left
}

// Open implements session.Transport.
func (r *Room) Open(ctx context.Context, h session.Host) (session.IO, error) {
	lk, err := r.Connect(ctx)
	if err != nil {
		return session.IO{}, err
	}
	return r.open(ctx, h, lk)
}

// open opens t, the job's room with some settings, for a session of the job.
func (r *Room) open(ctx context.Context, h session.Host, t session.Transport) (session.IO, error) {
	ends, err := t.Open(ctx, h)
	if err != nil {
		return ends, err
	}
	if s, ok := session.SessionOf(h); ok {
		if err := r.job.enter(s, &ends); err != nil {
			_ = t.Close(ctx)
			return session.IO{}, err
		}
	}
	return ends, nil
}

// With is the room as a transport with other settings than the defaults: for video, or a caller who may hang up and
// call again, for instance. Each is for one session at a time.
func (r *Room) With(o room.IOOptions) session.Transport { return &withOptions{Room: r, opts: o} }

// withOptions is the job's room with settings of its own.
type withOptions struct {
	*Room
	opts room.IOOptions

	opening sync.Mutex // guards in
	in      session.Transport
}

// Open implements session.Transport.
func (w *withOptions) Open(ctx context.Context, h session.Host) (session.IO, error) {
	lk, err := w.Connect(ctx)
	if err != nil {
		return session.IO{}, err
	}
	in := lk.With(w.opts)
	ends, err := w.open(ctx, h, in)
	if err != nil {
		return ends, err
	}
	w.opening.Lock()
	defer w.opening.Unlock()
	w.in = in
	return ends, nil
}

// Close implements session.Transport.
func (w *withOptions) Close(ctx context.Context) error {
	w.opening.Lock()
	in := w.in
	w.in = nil
	w.opening.Unlock()
	if in == nil {
		return nil
	}
	return in.Close(ctx)
}

// Close implements session.Transport. The room is left when the job ends, not when the session does.
func (r *Room) Close(ctx context.Context) error {
	r.mu.Lock()
	lk := r.lk
	r.mu.Unlock()
	if lk == nil {
		return nil
	}
	return lk.Close(ctx)
}

// PublishTrack joins the room if need be and publishes an audio track there, as room.Room.PublishTrack does.
func (r *Room) PublishTrack(ctx context.Context, o room.TrackOptions) (*room.Track, error) {
	lk, err := r.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return lk.PublishTrack(ctx, o)
}

// HangUp implements session.HangUper: it deletes the room, which ends the call for everybody.
func (r *Room) HangUp(ctx context.Context) error {
	j := r.job
	// The last words are on their way, and wait in the jitter buffer of whoever hears them.
	if err := sleep(ctx, lastWords); err != nil {
		return fmt.Errorf("hanging up: %w", err)
	}
	// The server says so when the room goes; the job must be known as ended before, and why.
	j.end(reasonSessionClosed, nil)
	j.finalStatus()
	api := lksdk.NewRoomServiceClient(j.w.opt.URL, j.w.opt.APIKey, j.w.opt.APISecret)
	_, err := api.DeleteRoom(ctx, &livekit.DeleteRoomRequest{Room: j.info.GetRoom().GetName()})
	if err != nil {
		return fmt.Errorf("deleting room: %w", err)
	}
	return nil
}

func (r *Room) leave(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.end = true
	if r.lk == nil {
		return nil
	}
	defer r.note(&r.left)
	return r.lk.Leave(ctx)
}

// enter makes s a session of the job.
func (j *Job) enter(s *session.Session, ends *session.IO) error {
	if err := j.adopt(s); err != nil {
		return err
	}
	j.early.Forget() // whoever wants the logs has said so
	j.record(s, ends)
	j.w.figures.Observe(s)
	return nil
}

// adopt makes s a session of the job, and ends the job when the first one closes. A job that ends takes no
// other, since nobody would close it, and none takes a session twice, since only one run of it would be reported.
func (j *Job) adopt(s *session.Session) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	select {
	case <-j.ending:
		return fmt.Errorf("starting session in room of job %s: %w", j.ID(), ErrEnded)
	default:
	}
	if slices.Contains(j.sessions, s) {
		return fmt.Errorf("starting session again in job %s: %w", j.ID(), ErrSessionAgain)
	}
	j.sessions = append(j.sessions, s)
	if len(j.sessions) > 1 {
		return nil
	}
	done := s.Done()
	go func() { // ends with the session, which is closed when the job ends
		<-done
		j.end(reasonSessionClosed, nil)
	}()
	return nil
}
