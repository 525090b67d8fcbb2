package turn

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/parley-go/parley/internal/attempt"
	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/turn/driver"
)

// The errors that callers decide by.
var (
	// ErrTimeout is in the error of a prediction that took too long.
	ErrTimeout = errors.New("prediction timed out")
	// ErrLanguage is the error of a prediction for a language the detector does not know.
	ErrLanguage = errors.New("turn: language is not supported")
	// ErrDropped is the error of a prediction that nobody wants any longer: a newer one was asked
	// for, or the stream was told to cancel, flush or close.
	ErrDropped = errors.New("turn: prediction is no longer wanted")
	// ErrClosed is returned by a stream that was closed.
	ErrClosed = errors.New("turn: stream is closed")
	// ErrKind is returned when a detector by text is asked for a stream, or one by audio for a
	// judgement of text, and by a Fallback that mixes the two.
	ErrKind = errors.New("turn: wrong kind of detector")
	// ErrVADSilence is in the error of CheckVAD.
	ErrVADSilence = errors.New("turn: detector of voice activity ends speech too early")
)

// Kind is what a detector judges by.
type Kind string

// The kinds of detectors.
const (
	Text  Kind = "text"
	Audio Kind = "audio"
)

// DefaultTimeout bounds a prediction.
const DefaultTimeout = time.Second

// SilenceWindow is the silence, while the user still counts as speaking, after which a detector
// by audio is asked.
const SilenceWindow = 200 * time.Millisecond

// MinVADSilence is the least silence by which a detector of voice activity may end speech when it
// works with a detector of turns by audio: the window and a margin.
const MinVADSilence = SilenceWindow + 50*time.Millisecond

// Options tune a Model; nil and zero values mean the defaults.
type Options struct {
	// Threshold is the probability from which a turn counts as over, 0 to 1, instead of the
	// detector's own.
	Threshold float64
	// Thresholds are the same by language, e.g. "en" or "en-GB"; they win over Threshold.
	Thresholds map[string]float64
	// Timeout bounds a prediction: default 1 s.
	Timeout time.Duration
}

// Prediction is one judgement.
type Prediction struct {
	Probability    float64       // that the turn is over, 0 to 1
	Threshold      float64       // from which it counts as over
	Duration       time.Duration // what it took
	DetectionDelay time.Duration // latest audio to answer; 0 if unknown
	Info           model.Info    // who judged
}

// Over reports whether the turn counts as over.
func (p Prediction) Over() bool { return p.Probability >= p.Threshold }

// Model is a detector of the end of a turn. It may be shared by all sessions of a process and is
// safe for concurrent use. What predictions cost and how they fail goes where their context says
// (metrics.WithRecorder, model.WithHooks); errors are reported as recoverable, because a session
// goes on without an opinion.
type Model struct {
	d     driver.Detector
	text  driver.TextDetector  // or nil
	audio driver.AudioDetector // or nil
	info  model.Info
	o     Options
	err   error // why it cannot be used

	local *Model        // who takes over, or nil
	rests *atomic.Int64 // until when a failed detector by text is left alone, Unix nanoseconds
}

// New returns the model over a detector; o may be nil. A detector of both kinds is used by audio.
func New(d driver.Detector, o *Options) *Model {
	m := &Model{d: d, rests: new(atomic.Int64)}
	if o != nil {
		m.o = *o
	}
	if m.o.Timeout <= 0 {
		m.o.Timeout = DefaultTimeout
	}
	m.o.Thresholds = make(map[string]float64)
	if o != nil {
		for language, t := range o.Thresholds {
			m.o.Thresholds[normal(language)] = t
		}
	}
	if d == nil {
		m.err = fmt.Errorf("%w: none", ErrKind)
		return m
	}
	m.info = d.Info()
	m.audio, _ = d.(driver.AudioDetector)
	if m.audio == nil {
		m.text, _ = d.(driver.TextDetector)
	}
	if m.Kind() == "" {
		m.err = fmt.Errorf("%w: neither by text nor by audio", ErrKind)
	}
	return m
}

// Info says who does the work.
func (m *Model) Info() model.Info { return m.info }

// Kind is what the model judges by; "" for a detector that is of no kind.
func (m *Model) Kind() Kind {
	switch {
	case m.audio != nil:
		return Audio
	case m.text != nil:
		return Text
	}
	return ""
}

// SupportsLanguage reports whether predictions mean anything for a language, "" if it is unknown.
func (m *Model) SupportsLanguage(language string) (ok bool) {
	if m.err != nil {
		return false
	}
	err := attempt.Guard(m.info, "supports language", func() error {
		ok = m.d.SupportsLanguage(language)
		return nil
	})
	return ok && err == nil
}

// Threshold is the probability from which a turn counts as over: the user's for the language, the
// user's for all, the detector's, in this order.
func (m *Model) Threshold(language string) float64 {
	if t, ok := m.override(language); ok {
		return t
	}
	return m.ownThreshold(language)
}

// override is the threshold set by the user.
func (m *Model) override(language string) (float64, bool) {
	n := normal(language)
	if t, ok := m.o.Thresholds[n]; ok {
		return t, true
	}
	base, _, _ := strings.Cut(n, "-")
	if t, ok := m.o.Thresholds[base]; ok {
		return t, true
	}
	return m.o.Threshold, m.o.Threshold != 0
}

// ownThreshold is the detector's.
func (m *Model) ownThreshold(language string) (t float64) {
	t = 1
	if m.err == nil {
		_ = attempt.Guard(m.info, "threshold", func() error { t = m.d.Threshold(language); return nil })
	}
	return t
}

// thresholdAfter is the threshold when m stands in for first: what the user set for first, moved
// by as much as the detectors differ.
func (m *Model) thresholdAfter(first *Model, language string) float64 {
	_, mine := m.override(language)
	theirs, set := first.override(language)
	own := first.ownThreshold(language)
	if m == first || mine || !set || own <= 0 {
		return m.Threshold(language)
	}
	return min(theirs*m.ownThreshold(language)/own, 1)
}

// CheckVAD reports whether a detector of voice activity that ends speech after minSilence leaves
// this model the time to be asked; the error is ErrVADSilence. Models by text need none, and 0 is
// a detector that does not say.
func (m *Model) CheckVAD(minSilence time.Duration) error {
	if m.Kind() != Audio || minSilence == 0 || minSilence >= MinVADSilence {
		return nil
	}
	return fmt.Errorf("%w: after %s of silence, but %s needs %s", ErrVADSilence, minSilence, m.info.Label, MinVADSilence)
}

// Predict judges whether the last message of c, the user's as far as it was heard, is a whole
// turn. The model reads c until Predict returns. It returns at the latest after the timeout, then
// with ErrTimeout, and with the error of ctx when that ends. ErrKind is the error of a model by
// audio.
func (m *Model) Predict(ctx context.Context, c *chat.Context, language string) (Prediction, error) {
	if m.err != nil {
		return Prediction{}, m.err
	}
	if m.text == nil {
		return Prediction{}, fmt.Errorf("%w: predict by text", ErrKind)
	}
	return m.predict(ctx, m, c, language)
}

// predict asks m, which is first or stands in for it.
func (m *Model) predict(ctx context.Context, first *Model, c *chat.Context, language string) (Prediction, error) {
	if m.local != nil && time.Now().UnixNano() < m.rests.Load() {
		return m.local.predict(ctx, first, c, language)
	}
	if !m.SupportsLanguage(language) {
		return Prediction{}, fmt.Errorf("%w: %q", ErrLanguage, language)
	}
	p, err := m.judge(ctx, func(ctx context.Context) (driver.Prediction, error) {
		return m.text.Predict(ctx, c, language)
	})
	if err == nil {
		p.Threshold = m.thresholdAfter(first, language)
		return p, nil
	}
	if m.local == nil || ctx.Err() != nil {
		return Prediction{}, err
	}
	m.rests.Store(time.Now().Add(rest).UnixNano())
	return m.local.predict(ctx, first, c, language)
}

// judge makes one prediction and accounts for it.
func (m *Model) judge(ctx context.Context, ask func(context.Context) (driver.Prediction, error)) (Prediction, error) {
	if err := ctx.Err(); err != nil {
		return Prediction{}, context.Cause(ctx)
	}
	limited, cancel := context.WithTimeout(ctx, m.o.Timeout)
	defer cancel()
	began := time.Now()
	var p driver.Prediction
	err := attempt.Guard(m.info, "predict", func() (err error) {
		p, err = ask(limited)
		return err
	})
	if p.Duration <= 0 {
		p.Duration = time.Since(began)
	}
	outcome := metrics.Delivered
	switch {
	case ctx.Err() != nil:
		err, outcome = context.Cause(ctx), metrics.Discarded
	case limited.Err() != nil:
		err, outcome = m.timeout(), metrics.Failed
	case err == nil && !(p.Probability >= 0 && p.Probability <= 1): // NaN too
		err = &model.Error{Kind: model.KindProtocol, Provider: m.info.Provider, Op: "predict",
			Err: fmt.Errorf("probability is %v", p.Probability)}
		outcome = metrics.Failed
	case err != nil:
		outcome = metrics.Failed
	}
	m.account(ctx, p, outcome)
	switch outcome {
	case metrics.Discarded:
		return Prediction{}, err
	case metrics.Failed:
		err = fmt.Errorf("turn: %w", err)
		m.report(ctx, err)
		return Prediction{}, err
	}
	return Prediction{Probability: p.Probability, Duration: p.Duration, DetectionDelay: p.DetectionDelay, Info: m.info}, nil
}

func (m *Model) timeout() error {
	return &model.Error{Kind: model.KindTimeout, Provider: m.info.Provider, Op: "predict",
		Err: fmt.Errorf("%w after %s", ErrTimeout, m.o.Timeout)}
}

func (m *Model) account(ctx context.Context, p driver.Prediction, outcome metrics.Outcome) {
	requests := max(p.Requests, 0)
	if outcome == metrics.Delivered {
		requests = max(requests, 1)
	}
	metrics.Record(ctx, &metrics.EOT{
		Header: metrics.Header{
			Label:     m.info.Label,
			RequestID: p.RequestID,
			Outcome:   outcome,
			Source:    metrics.Measured,
			Metadata:  metrics.Metadata{ModelName: m.info.Model, ModelProvider: m.info.Provider},
		},
		TotalDuration:      p.TotalDuration,
		DetectionDelay:     p.DetectionDelay,
		PredictionDuration: p.Duration,
		NumRequests:        int64(requests),
	})
}

func (m *Model) report(ctx context.Context, err error) {
	model.ReportError(ctx, model.ErrorEvent{
		Kind: "turn", Info: m.info, Err: err, Recoverable: true, Time: time.Now(),
	})
}

// normal is the language code in the one way that maps are looked up by.
func normal(language string) string {
	return strings.ReplaceAll(strings.ToLower(strings.TrimSpace(language)), "_", "-")
}
