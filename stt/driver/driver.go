// Package driver is the contract between package stt and speech recognisers.
//
// A driver only speaks its provider's protocol. Package stt does the rest: retry, timing,
// metrics, usage, errors as events, cancellation. A driver never retries and never counts.
package driver

import (
	"context"
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model"
)

// STT is a recogniser. It implements Recognizer, Streamer or both, and is safe for concurrent use.
type STT interface {
	Info() model.Info
	Capabilities() Capabilities
}

// Recognizer is implemented by drivers that transcribe a whole utterance.
type Recognizer interface {
	// Recognize transcribes f (borrowed). A text of "" is a normal answer.
	Recognize(ctx context.Context, f audio.Frame, o Options) (*Result, error)
}

// Streamer is implemented by drivers that transcribe while audio comes in.
type Streamer interface {
	// Open starts one stream. ctx bounds the opening only; Close ends the stream.
	Open(ctx context.Context, o Options) (Stream, error)
}

// Stream is one live transcription. Push, Flush and CloseSend are called by one goroutine, Next by
// another, Close by any.
type Stream interface {
	// Push sends audio (borrowed) at SampleRate of the capabilities.
	Push(ctx context.Context, f audio.Frame) error
	// Flush asks for the final text of what was pushed.
	Flush(ctx context.Context) error
	// CloseSend says that no more audio will come; Next ends with io.EOF after the last event.
	CloseSend(ctx context.Context) error
	// Next waits for the next event; io.EOF ends the stream well. The event belongs to the caller.
	Next(ctx context.Context) (*Event, error)
	// Close releases the stream at once; Next then fails. It may be called more than once.
	Close() error
}

// Capabilities say what a recogniser can do.
type Capabilities struct {
	InterimResults    bool
	Diarization       bool
	AlignedTranscript string // "word", "chunk" or ""
	Keyterms          bool
	// SampleRate is the rate, in Hz, that audio is resampled to; 0 takes any.
	SampleRate int
	// Speculative says that repeated runs over the same audio cost nobody money, so the batch
	// adapter may transcribe early and often.
	Speculative bool
	// Tokens says that the provider bills tokens: those of an utterance for which it does not state them are
	// estimated.
	Tokens bool
}

// Options of one recognition.
type Options struct {
	Language string
	Keyterms []string
}

// EventKind is the kind of a recognition event.
type EventKind uint8

// The kinds of recognition events.
const (
	StartOfSpeech EventKind = iota + 1
	Interim
	Preflight // likely final, may still change
	Final
	Usage // only Usage is set
	EndOfSpeech
)

func (k EventKind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return "unknown"
}

var kindNames = [...]string{"unknown", "start_of_speech", "interim_transcript", "preflight_transcript", "final_transcript", "recognition_usage", "end_of_speech"}

// Event is something a stream tells.
type Event struct {
	Kind      EventKind
	RequestID string
	// Alternatives has the best reading first, for Interim, Preflight and Final.
	Alternatives []Alternative
	Usage        UsageReport
	// SpeechStart is the stream-relative time of StartOfSpeech, if the provider said so.
	SpeechStart time.Duration
}

// Text is the text of the best alternative.
func (e *Event) Text() string {
	if len(e.Alternatives) == 0 {
		return ""
	}
	return e.Alternatives[0].Text
}

// Alternative is one reading of what was said. Times are relative to the start of the stream.
type Alternative struct {
	Text       string
	Language   string
	Start, End time.Duration
	Confidence float64 // 0..1; 0 when unknown
	SpeakerID  string
	Role       Role // of the speaker; drivers leave it alone
	Words      []Word
}

// Role is what somebody is to the conversation.
type Role string

// The roles; the empty one means that nobody told.
const (
	Primary    Role = "primary"    // the one to talk with
	Background Role = "background" // anybody else
)

// Word is a word with its time.
type Word struct {
	Text       string
	Start, End time.Duration
	Confidence float64
}

// UsageReport is what the provider will bill.
type UsageReport struct {
	AudioDuration time.Duration
	InputTokens   int64
	OutputTokens  int64
	Measured      bool        // counted by the driver, not stated by a provider
	Raw           metrics.Raw // what the provider wrote; see metrics.RawOf
}

// Result is the answer of a Recognizer.
type Result struct {
	RequestID string
	Alternative
	// Usage is what the provider stated; nil when it states nothing (the audio's length counts).
	Usage *UsageReport
}

// Counter is implemented by streams that do not send all of what Push takes at once, or send more than
// that: package stt asks them how much the provider has got, and counts what Push took of others.
type Counter interface {
	// Sent is how much audio was sent so far. It is called from any goroutine, also after Close.
	Sent() time.Duration
}

// Connected is implemented by streams that took a connection to open. Package stt asks once, after
// Open, and reports the acquisition.
type Connected interface {
	// Acquired tells how long it took to get the connection and whether it had been used before.
	Acquired() (took time.Duration, reused bool)
}
