package session

import (
	"encoding/json"
	"errors"
	"time"

	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/opt"
	"github.com/parley-go/parley/turn"
)

// ReportVersion is the version of the JSON form of a Report. It grows with every change that a
// reader could notice.
const ReportVersion = 5

// Report is the account of a session from its start to its close, or to the moment of the report.
type Report struct {
	JobID, RoomID, Room string            // filled by the worker; empty without one
	JobReason           string            // why the job ended, such as "room disconnected"; by the worker, too
	JobError            error             // why the job failed; nil if it did not
	SessionID           string            // empty: the job had no session
	Tags                map[string]string // Session.Tags
	Recovered           bool              // made from a ledger after the process died; see the function Recovered
	StartedAt           time.Time         // of the session or, without one, of the job
	EndedAt             time.Time         // zero while the session runs
	Timestamp           time.Time         // when the report was made
	CloseReason         CloseReason
	CloseError          error
	Options             Options // with the turn handling in force, that of the agent in charge
	Events              []Event // in order; metrics and usage updates are left out
	History             *chat.Context
	Turns               []TurnLatency
	Usage               metrics.Usage
	UsageBy             map[metrics.Dimension][]metrics.Group // the usage, and its cost, apart by agent and so on
	Cost                *metrics.Cost                         // of the usage; nil without Options.PriceBooks
	Standing            Standing
	// JobRecording and JobRedaction are what the LiveKit project wants: that conversations are uploaded, and that
	// they are redacted. By the worker; not in the JSON.
	JobRecording, JobRedaction bool
}

// ErrNeverStarted is returned by Report for a session that was not started.
var ErrNeverStarted = errors.New("session was never started")

// Report makes the account of the current run, or of the last one. After the close it is final.
func (s *Session) Report() (*Report, error) {
	r := s.current()
	if r == nil {
		return nil, ErrNeverStarted
	}
	rep := &Report{SessionID: r.id, Tags: s.Tags(), Options: s.opt, Timestamp: now(), History: s.History()}
	rep.account(&r.spent, r.pricedAt, s.opt.PriceBooks)
	fill := func() {
		rep.StartedAt, rep.EndedAt = r.startedAt, r.endedAt
		rep.CloseReason, rep.CloseError = r.closeReason, r.closeErr
		rep.Events = append(rep.Events, r.record...)
		rep.Turns = append(rep.Turns, r.latencies...)
		rep.Standing = r.stands(rep.Timestamp)
		if r.act != nil {
			rep.Options.TurnHandling = r.act.how
			rep.Options.MinConsecutiveSpeechDelay = r.act.speechDelay()
		}
	}
	if !r.ask(fill) {
		<-r.done // the loop has ended or is about to: its state changes no more
		fill()
	}
	return rep, nil
}

// account fills in what was used, and what that costs by the prices of a time if there are any.
func (r *Report) account(spent *metrics.Collector, at time.Time, books []*metrics.PriceBook) {
	r.Usage, r.UsageBy = spent.Account()
	for _, groups := range r.UsageBy {
		metrics.Price(groups, at, books...)
	}
	if len(books) > 0 {
		c := r.Usage.Cost(at, books...)
		r.Cost = &c
	}
}

// Duration is how long the session ran, or the job if there was none.
func (r *Report) Duration() time.Duration {
	if r.StartedAt.IsZero() { // it never began to listen
		return 0
	}
	end := r.EndedAt
	if end.IsZero() {
		end = r.Timestamp
	}
	return max(0, end.Sub(r.StartedAt)) // a report that was made from a ledger knows the wall clock alone, which may be set back
}

// OptionsMap is "options" of the JSON form.
func (r *Report) OptionsMap() map[string]any { return r.Options.report() }

// MarshalJSON writes the report: snake_case names, seconds as floats, Unix seconds for times.
func (r *Report) MarshalJSON() ([]byte, error) {
	doc := reportJSON{
		Version: ReportVersion, SDKVersion: Version, JobID: r.JobID, RoomID: r.RoomID, Room: r.Room, SessionID: r.SessionID, Recovered: r.Recovered,
		JobReason: r.JobReason, JobError: text(r.JobError),
		StartedAt: unix(r.StartedAt), EndedAt: unix(r.EndedAt), Timestamp: unix(r.Timestamp),
		Duration: r.Duration().Seconds(), CloseReason: r.CloseReason,
		CloseError: text(r.CloseError),
		Tags:       r.Tags, History: r.conversation(),
		Usage: r.Usage.Models, UsageBy: make(map[metrics.Dimension][]metrics.Group), Cost: r.Cost,
		Standing: r.Standing.json(r.Timestamp),
		Events:   []map[string]any{}, Turns: []turnJSON{},
	}
	if doc.Tags == nil {
		doc.Tags = map[string]string{}
	}
	for _, d := range metrics.Dimensions {
		doc.UsageBy[d] = append([]metrics.Group{}, r.UsageBy[d]...)
	}
	if r.SessionID != "" && !r.Recovered { // they are known
		doc.Options = r.Options.report()
	}
	if doc.Usage == nil {
		doc.Usage = []metrics.ModelUsage{}
	}
	for _, e := range r.Events {
		doc.Events = append(doc.Events, eventJSON(e, r.Words()))
	}
	for _, t := range r.Turns {
		doc.Turns = append(doc.Turns, latencyJSON(t))
	}
	return json.Marshal(doc)
}

type reportJSON struct {
	Version     int                                   `json:"version"`
	SDKVersion  string                                `json:"sdk_version"`
	JobID       string                                `json:"job_id"`
	RoomID      string                                `json:"room_id"`
	Room        string                                `json:"room"`
	JobReason   string                                `json:"job_reason"`
	JobError    string                                `json:"job_error"`
	SessionID   string                                `json:"session_id"`
	Tags        map[string]string                     `json:"tags"`
	Recovered   bool                                  `json:"recovered"`
	StartedAt   *float64                              `json:"started_at"`
	EndedAt     *float64                              `json:"ended_at"`
	Timestamp   *float64                              `json:"timestamp"`
	Duration    float64                               `json:"duration"`
	CloseReason CloseReason                           `json:"close_reason"`
	CloseError  string                                `json:"close_error"`
	Options     map[string]any                        `json:"options"`
	Events      []map[string]any                      `json:"events"`
	History     *chat.Context                         `json:"chat_history"`
	Turns       []turnJSON                            `json:"turns"`
	Usage       []metrics.ModelUsage                  `json:"usage"`
	UsageBy     map[metrics.Dimension][]metrics.Group `json:"usage_by"`
	Cost        *metrics.Cost                         `json:"cost"`
	Standing    standingJSON                          `json:"standing"`
}

type turnJSON struct {
	TurnID  string      `json:"turn_id"`
	Total   float64     `json:"total"`
	Slowest string      `json:"slowest"`
	Stages  []stageJSON `json:"stages"`
}

type stageJSON struct {
	Name     string  `json:"name"`
	Duration float64 `json:"duration"`
}

func latencyJSON(t TurnLatency) turnJSON {
	out := turnJSON{TurnID: t.TurnID, Total: t.Total.Seconds(), Slowest: t.Slowest().Name}
	for _, s := range t.Stages {
		out.Stages = append(out.Stages, stageJSON{s.Name, s.Duration.Seconds()})
	}
	return out
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func unix(t time.Time) *float64 {
	if t.IsZero() {
		return nil
	}
	f := float64(t.UnixMicro()) / 1e6
	return &f
}

func (o Options) report() map[string]any {
	how := o.TurnHandling
	kind := turn.Kind("")
	var label any
	if d, _ := how.Detector.Get(); d != nil {
		kind, label = d.Kind(), d.Info().Label
	}
	how = how.Over(turn.Defaults(kind)) // a report that is made before the start
	endpointing, p := turn.NewEndpointing(how.Endpointing), how.Preemptive
	return map[string]any{
		"allow_interruptions":              how.Interruption.Enabled.Default(false),
		"discard_audio_if_uninterruptible": how.Interruption.DiscardProtected.Default(false),
		"min_interruption_duration":        how.Interruption.MinDuration.Default(0).Seconds(),
		"min_interruption_words":           how.Interruption.MinWords.Default(0),
		"resume_false_interruption":        how.Interruption.ResumeFalse.Default(false),
		"false_interruption_timeout":       seconds(how.Interruption.FalseTimeout),
		"turn_detection":                   how.Detection,
		"turn_detector":                    label,
		"endpointing_mode":                 how.Endpointing.Mode,
		"min_endpointing_delay":            endpointing.MinDelay().Seconds(),
		"max_endpointing_delay":            endpointing.MaxDelay().Seconds(),
		"max_tool_steps":                   orDefault(o.MaxToolSteps, defaultToolSteps),
		"user_away_timeout":                seconds(orDefault(o.UserAwayTimeout, defaultAwayTimeout)),
		"min_consecutive_speech_delay":     o.MinConsecutiveSpeechDelay.Seconds(),
		"soft_budget":                      o.SoftBudget.report(),
		"hard_budget":                      o.HardBudget.report(),
		"recording_options":                o.Recording.report(),
		"preemptive_generation": map[string]any{
			"enabled":             p.Enabled.Default(false),
			"preemptive_tts":      p.TTS.Default(false),
			"max_speech_duration": seconds(p.MaxSpeech),
			"max_retries":         p.MaxTries,
		},
	}
}

// orDefault is o, or v if nobody decided. In JSON, off is null.
func orDefault[T any](o opt.Value[T], v T) opt.Value[T] { return o.Or(opt.Some(v)) }

// seconds is a duration for a report; nil when it is off.
func seconds(o opt.Value[time.Duration]) any {
	if d, ok := o.Get(); ok {
		return d.Seconds()
	}
	return nil
}

// eventJSON is the form of an event in a report: plain values only, so that every report can be
// written, and without what was said unless words.
func eventJSON(e Event, words bool) map[string]any {
	m := map[string]any{"type": e.EventType(), "created_at": unix(e.When())}
	switch e := e.(type) {
	case UserStateChanged:
		m["old_state"], m["new_state"] = e.Old, e.New
	case AgentStateChanged:
		m["old_state"], m["new_state"] = e.Old, e.New
	case UserInputTranscribed:
		m["is_final"] = e.Final
		if words {
			m["transcript"] = e.Transcript
		}
		putText(m, "language", e.Language)
		putText(m, "speaker_id", e.SpeakerID)
		putText(m, "item_id", e.ItemID)
	case UserTranscriptionTimeout:
		m["speech_duration"], m["vad_speech_started_at"] = e.SpeechDuration.Seconds(), unix(e.SpeechStartedAt)
	case ConversationItemAdded:
		if words {
			m["item"] = e.Item
		}
	case SpeechCreated:
		m["speech_id"], m["user_initiated"], m["source"] = e.Speech.ID(), e.UserInitiated, e.Source
	case OverlappingSpeech:
		m["is_interruption"], m["agent_ended"] = e.Interruption, e.AgentEnded
		m["overlap_started_at"], m["detected_at"] = unix(e.StartedAt), unix(e.When())
		m["detection_delay"], m["total_duration"] = e.When().Sub(e.StartedAt).Seconds(), e.Duration.Seconds()
	case AgentFalseInterruption:
		m["resumed"] = e.Resumed
	case FunctionToolsExecuted:
		if words {
			m["function_calls"], m["function_call_outputs"] = e.Calls, e.Outputs
		}
	case ToolExecutionUpdated:
		m["id"], m["call_id"], m["name"], m["status"] = e.ID, e.Call.CallID, e.Call.Name, e.Status
		if words {
			putText(m, "message", e.Message)
		}
	case ToolReplyUpdated:
		m["update_ids"], m["speech_id"], m["status"] = e.UpdateIDs, e.SpeechID, e.Status
	case TurnCompleted:
		m["turn"] = latencyJSON(e.TurnLatency)
	case ErrorOccurred:
		m["error"] = map[string]any{"type": e.Kind, "message": e.Err.Error(), "recoverable": e.Recoverable}
		m["source"] = e.Info.Label
	case BudgetExceeded:
		m["hard"], m["limit"], m["budget"] = e.Hard, e.Limit, e.Budget.report()
		m["tokens"], m["duration"] = e.Tokens, e.Duration.Seconds()
		if e.Money.Currency != "" {
			m["money"] = e.Money
		}
	case ModelAvailabilityChanged:
		m["source"], m["available"] = e.Info.Label, e.Available
	case Closed:
		m["reason"] = e.Reason
		if e.Err != nil {
			m["error"] = map[string]any{"type": errorType(e.Err), "message": e.Err.Error(), "recoverable": false}
		}
	}
	return m
}

func putText(m map[string]any, key, v string) {
	if v != "" {
		m[key] = v
	}
}

func errorType(err error) string {
	var e *model.Error
	if errors.As(err, &e) {
		return string(e.Kind)
	}
	return "error"
}
