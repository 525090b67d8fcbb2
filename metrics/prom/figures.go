// Package prom keeps the figures of a worker for Prometheus: load, jobs, sessions, turns, usage,
// connections and errors. docs/observability names all of them.
package prom

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/parley-go/parley/ledger"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/report"
	"github.com/parley-go/parley/session"
)

// Result is how a job, or the offer of one, ended.
type Result string

// The results.
const (
	Success  Result = "success"
	Failed   Result = "failed"
	Declined Result = "declined" // not taken
)

// Worker tells what a worker does now. The functions are called at each scrape, may be called
// concurrently and return at once.
type Worker struct {
	Node      string         // the machine's name; label nodename of every figure
	Load      func() float64 // 0 to 1
	Jobs      func() int     // that run
	Connected func() bool    // with the LiveKit server
	Ledger    func() ledger.Stats
	Reports   func() []report.Stats
}

// Figures are the figures of one worker, in a registry of their own. All methods may be called from
// any goroutine. None fails, and none waits for more than a lock that is held for moments.
type Figures struct {
	handler http.Handler
	names   names

	jobs           *prometheus.CounterVec
	jobDuration    prometheus.Histogram
	sessions       *prometheus.HistogramVec
	agentPresent   prometheus.Histogram
	callerPresent  prometheus.Histogram
	spoken         *prometheus.CounterVec
	turn           prometheus.Histogram
	stages         *prometheus.HistogramVec
	eou            *prometheus.HistogramVec
	ttft, ttfb     *prometheus.HistogramVec
	usage          map[string]*prometheus.CounterVec
	acquire, dials *prometheus.HistogramVec
	errors         *prometheus.CounterVec
}

// Buckets, in seconds.
var (
	callBuckets    = []float64{1, 5, 15, 30, 60, 120, 300, 600, 1800, 3600}
	turnBuckets    = []float64{.05, .1, .2, .3, .4, .5, .75, 1, 1.5, 2, 3, 5, 7.5, 10, 20, 30}
	firstBuckets   = []float64{.001, .005, .01, .02, .04, .06, .08, .1, .25, .5, .75, 1, 2.5, 5, 7.5, 10}
	acquireBuckets = []float64{.001, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}
)

// New makes the figures of w.
func New(w Worker) *Figures {
	reg := prometheus.NewRegistry()
	m := maker{prometheus.WrapRegistererWithPrefix("lk_agents_", prometheus.WrapRegistererWith(prometheus.Labels{"nodename": w.Node}, reg))}
	f := &Figures{
		handler:       promhttp.HandlerFor(reg, promhttp.HandlerOpts{}),
		jobs:          m.counters("jobs_total", "Jobs that ended, and offers that were not taken, by how they ended.", "result"),
		jobDuration:   m.histogram("job_duration_seconds", "From the start of a job to its end.", callBuckets),
		sessions:      m.histograms("session_duration_seconds", "From the start of a session to its close.", callBuckets, "close_reason"),
		agentPresent:  m.histogram("agent_present_seconds", "From when the agent joined the room to when it left.", callBuckets),
		callerPresent: m.histogram("caller_present_seconds", "How long the caller was there, of calls that had one.", callBuckets),
		spoken:        m.counters("spoken_seconds_total", "How long the agent and the caller spoke.", "speaker"),
		turn:          m.histogram("turn_latency_seconds", "From the end of the caller's speech to the first sound of the answer.", turnBuckets),
		stages:        m.histograms("turn_stage_seconds", "The parts of the turn latency.", turnBuckets, "stage"),
		eou:           m.histograms("turn_end_delay_seconds", "How the end of the caller's turn was found.", turnBuckets, "part"),
		ttft:          m.histograms("llm_ttft_seconds", "From a call of a language or realtime model to its first output.", firstBuckets, modelLabels...),
		ttfb:          m.histograms("tts_ttfb_seconds", "From the first text sent to a synthesiser to its first audio.", firstBuckets, modelLabels...),
		usage:         make(map[string]*prometheus.CounterVec, len(usageNames)),
		acquire:       m.histograms("connection_acquire_time_seconds", "How long it took to get a connection, new or used.", acquireBuckets, append([]string{"kind", "connection_reused"}, modelLabels...)...),
		dials:         m.histograms("connection_dial_seconds", "What dialling took: DNS, TCP, TLS and upgrade.", acquireBuckets, append([]string{"kind"}, modelLabels...)...),
		errors:        m.counters("request_errors_total", "Failed attempts of model calls; recoverable ones were tried again.", append([]string{"kind", "error_type", "recoverable"}, modelLabels...)...),
	}
	for name, help := range usageNames {
		f.usage[name] = m.counters("usage_"+name+"_total", help, append([]string{"outcome"}, modelLabels...)...)
	}
	m.gauge("worker_load", "How much of the worker is taken, 0 to 1; 0 for one without a limit.", w.Load)
	m.gauge("active_job_count", "Jobs that run.", func() float64 { return float64(w.Jobs()) })
	m.gauge("child_process_count", "Executors of jobs. Jobs share the process: one for each that runs.", func() float64 { return float64(w.Jobs()) })
	m.gauge("worker_connected", "1 while the worker is registered with the LiveKit server.", func() float64 {
		if w.Connected() {
			return 1
		}
		return 0
	})
	m.counter("ledger_events_total", "Events that the ledger took.", func() uint64 { return w.Ledger().Events })
	m.counter("ledger_lost_events_total", "Events that are not in the ledger: it could not be written for too long.", func() uint64 { return w.Ledger().Lost })
	m.counter("ledger_write_failures_total", "Writes of the ledger that failed, to be tried again: a full disk, for instance.", func() uint64 { return w.Ledger().Failures })
	m.reg.MustRegister(newDeliveries(w.Reports))
	for _, r := range []Result{Success, Failed, Declined} {
		f.jobs.WithLabelValues(string(r)) // so that rates see the first
	}
	return f
}

// ServeHTTP answers a scrape.
func (f *Figures) ServeHTTP(w http.ResponseWriter, r *http.Request) { f.handler.ServeHTTP(w, r) }

// JobEnded counts a job that took d.
func (f *Figures) JobEnded(r Result, d time.Duration) {
	f.jobs.WithLabelValues(string(r)).Inc()
	f.jobDuration.Observe(d.Seconds())
}

// JobDeclined counts a job that was offered and not taken.
func (f *Figures) JobDeclined() { f.jobs.WithLabelValues(string(Declined)).Inc() }

// Observe takes the figures of s from now on.
func (f *Figures) Observe(s *session.Session) {
	var seen metrics.Collector // an event that comes twice counts once
	session.On(s, func(e session.MetricsCollected) { f.event(&seen, e.Metrics) })
	session.On(s, func(e session.TurnCompleted) { f.turned(e.TurnLatency) })
	session.On(s, func(e session.ErrorOccurred) { f.failed(e) })
}

// Ended takes what is known when a call is over.
func (f *Figures) Ended(r *session.Report) {
	reason := string(r.CloseReason)
	if reason == "" {
		reason = "none"
	}
	f.sessions.WithLabelValues(reason).Observe(r.Duration().Seconds())
	st := r.Standing
	if !st.AgentJoinedAt.IsZero() {
		f.agentPresent.Observe(st.AgentPresent(r.Timestamp).Seconds())
	}
	if !st.CallerJoinedAt.IsZero() {
		f.callerPresent.Observe(st.CallerPresent.Seconds())
	}
	f.spoken.WithLabelValues("agent").Add(st.AgentSpoke.Seconds())
	f.spoken.WithLabelValues("caller").Add(st.CallerSpoke.Seconds())
}

func (f *Figures) turned(l session.TurnLatency) {
	f.turn.Observe(l.Total.Seconds())
	for _, s := range l.Stages {
		f.stages.WithLabelValues(s.Name).Observe(s.Duration.Seconds())
	}
}

func (f *Figures) failed(e session.ErrorOccurred) {
	provider, model := f.names.of(e.Info.Provider, e.Info.Model)
	f.errors.WithLabelValues(e.Kind, errorType(e.Err), strconv.FormatBool(e.Recoverable), provider, model).Inc()
}

func (f *Figures) event(seen *metrics.Collector, e metrics.Event) {
	h := e.Head()
	provider, model := f.names.of(h.Metadata.ModelProvider, h.Metadata.ModelName)
	switch e := e.(type) {
	case *metrics.LLM:
		observe(f.ttft, e.TTFT, h.Outcome, provider, model)
	case *metrics.Realtime:
		observe(f.ttft, e.TTFT, h.Outcome, provider, model)
	case *metrics.TTS:
		observe(f.ttfb, e.TTFB, h.Outcome, provider, model)
	case *metrics.EOU:
		f.eou.WithLabelValues("end_of_utterance").Observe(e.EndOfUtteranceDelay.Seconds())
		f.eou.WithLabelValues("transcription").Observe(e.TranscriptionDelay.Seconds())
		f.eou.WithLabelValues("on_user_turn_completed").Observe(e.OnUserTurnCompletedDelay.Seconds())
	case *metrics.Connection:
		if h.Outcome == metrics.Failed {
			break // nobody got one
		}
		f.acquire.WithLabelValues(e.Kind, strconv.FormatBool(e.Reused), provider, model).Observe(e.AcquireTime.Seconds())
		if !e.Reused {
			f.dials.WithLabelValues(e.Kind, provider, model).Observe((e.DNS + e.Dial + e.TLS + e.Upgrade).Seconds())
		}
	}
	if seen.Add(e) {
		f.spend(e, provider, model)
	}
}

// observe books the wait for a first output. There may be none, and that of work that was thrown away
// nobody waited for.
func observe(v *prometheus.HistogramVec, d time.Duration, o metrics.Outcome, labels ...string) {
	if d > 0 && o != metrics.Discarded {
		v.WithLabelValues(labels...).Observe(d.Seconds())
	}
}
