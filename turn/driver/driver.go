// Package driver is the contract between package turn and detectors of the end of a user's turn.
//
// A detector implements TextDetector or AudioDetector. It only judges: package turn does the rest
// (timeouts, one prediction at a time, metrics, errors as events, thresholds set by users).
package driver

import (
	"context"
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/model"
)

// Detector is what all detectors have in common. It is shared by all sessions and safe for
// concurrent use.
type Detector interface {
	Info() model.Info
	// SupportsLanguage reports whether predictions mean anything for a language: a code such as
	// "en" or "en-US" as the recogniser states it, or "" when nobody knows.
	SupportsLanguage(language string) bool
	// Threshold is the probability from which a turn counts as over, for a supported language.
	Threshold(language string) float64
}

// TextDetector judges by what was said.
type TextDetector interface {
	Detector
	// Predict judges whether the last message of c, the user's as far as it was heard, is a whole
	// turn. c belongs to the call and is read only. Predict must return soon after ctx has ended,
	// with its error.
	Predict(ctx context.Context, c *chat.Context, language string) (Prediction, error)
}

// AudioDetector judges by how it was said.
type AudioDetector interface {
	Detector
	// NewStream starts to listen to one user. The values of ctx serve the stream until it is
	// closed; its end does not end the stream.
	NewStream(ctx context.Context) (Stream, error)
}

// Stream listens to one user. Push, Flush and Close come one at a time, and so do predictions, but
// a prediction runs beside pushes and flushes.
type Stream interface {
	// Push takes the next audio of the user (borrowed), silence included. It must not block: a
	// stream that cannot keep up drops its oldest audio. What goes wrong is told by Predict.
	Push(f audio.Frame)
	// Predict judges whether the user's turn is over, by the audio since the last Flush. It must
	// return soon after ctx has ended, with its error; the request is then abandoned.
	Predict(ctx context.Context) (Prediction, error)
	// Flush forgets the audio: a turn has ended and the next one begins.
	Flush()
	// Close releases the stream. No prediction is running, and nothing is called after it.
	Close() error
}

// Prediction is one judgement. The accounts may be stated with an error too.
type Prediction struct {
	// Probability that the turn is over, 0 to 1.
	Probability float64
	// Duration is what the model took, as the provider says it; 0 makes the front measure it.
	Duration time.Duration
	// TotalDuration is from the earliest audio of the request to the answer; 0 if unknown.
	TotalDuration time.Duration
	// DetectionDelay is from the latest audio of the request to the answer; 0 if unknown.
	DetectionDelay time.Duration
	// Requests is what the provider bills. A prediction without an error counts at least one.
	Requests int
	// RequestID is the provider's id of the request, if known.
	RequestID string
}
