package worker

import (
	"context"
	"errors"
	"log/slog"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/livekit/protocol/livekit"

	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/report"
	"github.com/parley-go/parley/session"
)

// Options say what a worker does. Entrypoint is required; the zero value of the rest is usable.
type Options struct {
	// Entrypoint is called once per job. Its return does not end the job, its error does. A panic
	// in it ends the job with status failed and harms nothing else. ctx ends with the job.
	Entrypoint func(ctx context.Context, job *Job) error
	// OnRequest decides whether a job is taken, by Accept or Reject of r within 8 s; nil accepts.
	OnRequest func(ctx context.Context, r *JobRequest) error
	// OnSessionEnd is called for every job when its sessions are closed and their figures final, before the
	// room is left and the reports are made, also when there was no session. It has SessionEndTimeout.
	OnSessionEnd func(ctx context.Context, job *Job) error
	// Reports are where the report of every job goes when the room was left: one for each session that was
	// started in the job's room, or one without a session if there was none. It goes to all of them at
	// once. One that fails is logged.
	Reports []report.Sink

	// Ledger is the file that metrics events are written to as they happen, so that what was spent is known
	// also when the process is killed: then the next worker with this Ledger delivers the reports of the
	// sessions that died, marked as Recovered. So a sink of Reports gets the report of a session once, or
	// again if the process died before that was recorded: report.ID tells. A sink that failed gets it from
	// the next worker, too. A ledger has one writer; workers of one machine need one each. "" is none. See
	// package ledger.
	Ledger string
	// PriceBooks are for the cost in the reports of sessions that died. Those that live have their own.
	PriceBooks []*metrics.PriceBook

	// AgentName is the name that the agent is dispatched by; "" takes part in every room.
	// Default: LIVEKIT_AGENT_NAME. LIVEKIT_AGENT_NAME_OVERRIDE wins over both.
	AgentName string
	// URL, APIKey and APISecret are of the LiveKit server; default LIVEKIT_URL, LIVEKIT_API_KEY and
	// LIVEKIT_API_SECRET.
	URL, APIKey, APISecret string

	// MaxJobs is how many jobs run at once; 0 means any number.
	MaxJobs int
	// MaxRetry is how often in a row a lost connection to the server is tried again: default 16;
	// negative means for ever. A worker that was never registered gives up after four attempts.
	MaxRetry int
	// SessionEndTimeout bounds OnSessionEnd: default 5 min.
	SessionEndTimeout time.Duration
	// ShutdownTimeout bounds the shutdown callbacks, which run at the same time: default 10 s.
	ShutdownTimeout time.Duration
	// HTTPAddr is where Run serves HTTP, for example ":8081", with what Worker.Handler answers: figures
	// for Prometheus and the worker's health. "" serves nothing. Port 0 is any; see Worker.HTTPAddr.
	HTTPAddr string
	// Logger is where the worker logs; default slog.Default().
	Logger *slog.Logger
}

// Errors of options. They name the environment variable that would help.
var (
	ErrNoURL       = errors.New("no LiveKit URL: set LIVEKIT_URL")
	ErrNoAPIKey    = errors.New("no LiveKit API key: set LIVEKIT_API_KEY")
	ErrNoAPISecret = errors.New("no LiveKit API secret: set LIVEKIT_API_SECRET")
	// ErrBadURL does not repeat the address: what is malformed may hold a password anywhere.
	ErrBadURL       = errors.New("the LiveKit URL is malformed: want ws://host:port or wss://host, see LIVEKIT_URL")
	ErrNoEntrypoint = errors.New("worker has no entrypoint")
)

const (
	defaultMaxRetry        = 16
	firstRegistrationTries = 4 // of a worker that was never registered: it is probably set up wrongly
	defaultShutdownTimeout = 10 * time.Second
	defaultSessionEnd      = 5 * time.Minute
)

func (o Options) defaults() (Options, error) {
	o.AgentName = first(os.Getenv("LIVEKIT_AGENT_NAME_OVERRIDE"), o.AgentName, os.Getenv("LIVEKIT_AGENT_NAME"))
	o.URL = first(o.URL, os.Getenv("LIVEKIT_URL"))
	o.APIKey = first(o.APIKey, os.Getenv("LIVEKIT_API_KEY"))
	o.APISecret = first(o.APISecret, os.Getenv("LIVEKIT_API_SECRET"))
	if o.MaxRetry == 0 {
		o.MaxRetry = defaultMaxRetry
	}
	if o.ShutdownTimeout <= 0 {
		o.ShutdownTimeout = defaultShutdownTimeout
	}
	if o.SessionEndTimeout <= 0 {
		o.SessionEndTimeout = defaultSessionEnd
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.URL != "" { // what is malformed is told before what is missing
		if _, err := agentURL(o.URL, ""); err != nil {
			return o, err
		}
	}
	switch {
	case o.Entrypoint == nil:
		return o, ErrNoEntrypoint
	case o.URL == "":
		return o, ErrNoURL
	case o.APIKey == "":
		return o, ErrNoAPIKey
	case o.APISecret == "":
		return o, ErrNoAPISecret
	}
	return o, report.Check(o.Reports...)
}

func first(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}

// agentURL is the address of the worker protocol at the LiveKit server base.
func agentURL(base, workerToken string) (string, error) {
	u, err := url.Parse(base)
	if err != nil {
		return "", ErrBadURL
	}
	switch u.Scheme {
	case "http":
		u.Scheme = "ws"
	case "https":
		u.Scheme = "wss"
	case "ws", "wss":
	default:
		return "", ErrBadURL
	}
	if u.Hostname() == "" {
		return "", ErrBadURL
	}
	if p := u.Port(); p != "" {
		if n, err := strconv.Atoi(p); err != nil || n < 1 || n > 65535 {
			return "", ErrBadURL
		}
	}
	u.Path = strings.TrimRight(u.Path, "/") + "/agent"
	if workerToken != "" {
		q := u.Query()
		q.Set("worker_token", workerToken)
		u.RawQuery = q.Encode()
	}
	return u.String(), nil
}

func (o Options) register() *livekit.RegisterWorkerRequest {
	return &livekit.RegisterWorkerRequest{
		Type:       livekit.JobType_JT_ROOM,
		AgentName:  o.AgentName,
		Version:    Version,
		Deployment: os.Getenv("LIVEKIT_AGENT_DEPLOYMENT"),
		AllowedPermissions: &livekit.ParticipantPermission{
			CanPublish: true, CanSubscribe: true, CanPublishData: true, CanUpdateMetadata: true,
			//lint:ignore SA1019 servers in use still make an agent of who has it
			Agent: true,
		},
	}
}

// Version is the version of the SDK that the worker tells the server.
const Version = session.Version
