// Package driver is the contract between package tts and speech synthesisers.
//
// A driver only speaks its provider's protocol. Package tts does the rest: retry, timing,
// metrics, usage, errors as events, cancellation. A driver never retries and never counts.
package driver

import (
	"context"
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model"
)

// TTS is a synthesiser. It implements Synthesizer, Streamer or both, and is safe for concurrent use.
type TTS interface {
	Info() model.Info
	Capabilities() Capabilities
}

// Synthesizer is implemented by drivers that speak one whole text per request.
type Synthesizer interface {
	// Synthesize asks for the audio of text. ctx ends the request and the stream.
	Synthesize(ctx context.Context, text string) (AudioStream, error)
}

// Streamer is implemented by drivers that take text while it is written.
type Streamer interface {
	// Open starts one segment. ctx bounds the opening only; Close ends the segment.
	Open(ctx context.Context) (Stream, error)
}

// AudioStream is the audio of one request.
type AudioStream interface {
	// Next waits for more audio; io.EOF ends the stream well. The chunk is borrowed until the next call.
	Next(ctx context.Context) (*Chunk, error)
	// Close releases the stream at once; it may be called more than once.
	Close() error
}

// Stream is one segment: text in, audio out. Push and CloseSend are called by one goroutine, Next
// by another, Close by any.
type Stream interface {
	AudioStream
	// Push sends a piece of text; pieces are joined without anything between them.
	Push(ctx context.Context, text string) error
	// CloseSend says that the text is complete; Next ends with io.EOF after the last audio.
	CloseSend(ctx context.Context) error
}

// Capabilities say what a synthesiser can do and what it makes.
type Capabilities struct {
	AlignedTranscript bool // chunks carry Words
	Sentences         bool // Push gets whole sentences or clauses, white space included, and not text as it is written
	Tokens            bool // the provider bills tokens: those of a request that broke off before it stated them are estimated
	SampleRate        int  // of the audio, in Hz
	Channels          int
}

// Chunk is a piece of audio.
type Chunk struct {
	Frame     audio.Frame // may be empty on a chunk that only carries words or usage
	RequestID string
	Words     []Word // words whose audio starts in this segment, times relative to its start
	Usage     *UsageReport
}

// Word is a word with its time in the segment.
type Word struct {
	Text       string
	Start, End time.Duration
}

// UsageReport is what the provider states for a request; without it the characters sent count.
type UsageReport struct {
	Characters   int64
	InputTokens  int64
	OutputTokens int64
	Raw          metrics.Raw // what the provider wrote; see metrics.RawOf
}

// Connected is implemented by streams that took a connection to open. Package tts asks once, after
// the stream was opened, and reports the acquisition.
type Connected interface {
	// Acquired tells how long it took to get the connection and whether it had been used before.
	Acquired() (took time.Duration, reused bool)
}

// Counter is implemented by streams that do not send all of what Push takes at once, or in several
// messages: package tts asks them how much the provider has got, and counts what Push took of others.
type Counter interface {
	// Sent is how many characters were sent so far. It is called from any goroutine, also after Close.
	Sent() int64
}

// Prewarmer is implemented by drivers that can open a connection ahead of the first speech.
type Prewarmer interface {
	// Prewarm is best effort and returns when ctx ends.
	Prewarm(ctx context.Context)
}

// Closer is implemented by drivers that keep connections.
type Closer interface {
	// Close ends the connections that nobody uses, waits for the others, and ends them too when ctx ends.
	Close(ctx context.Context) error
}
