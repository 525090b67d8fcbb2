// Package driver is the contract between package vad and voice activity detectors.
package driver

import (
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/model"
)

// VAD is a voice activity detector. It is shared by all sessions and safe for concurrent use.
type VAD interface {
	Info() model.Info
	// NewStream starts detection on one audio stream.
	NewStream() (Stream, error)
}

// Stream detects speech in one audio stream. It is used by one goroutine.
type Stream interface {
	// Process takes the next audio (borrowed) and calls emit, on the same goroutine, for each
	// event in order. Events are borrowed by emit. All frames must have the rate and channels of
	// the first; another format is an error and leaves the stream as it was.
	Process(f audio.Frame, emit func(*Event)) error
	// Flush forgets everything: the next speech is a fresh start. It emits nothing.
	Flush()
	// MinSilence is the unbroken silence that ends speech.
	MinSilence() time.Duration
	Close() error
}

// EventKind is the kind of a VAD event.
type EventKind uint8

// The kinds of VAD events.
const (
	StartOfSpeech EventKind = iota + 1
	InferenceDone
	EndOfSpeech
)

func (k EventKind) String() string {
	return [...]string{"unknown", "start_of_speech", "inference_done", "end_of_speech"}[k&3]
}

// Event is one finding of a detector. Durations are of audio time.
type Event struct {
	Kind              EventKind
	SamplesIndex      int64         // samples of input processed so far
	Timestamp         time.Duration // audio time processed so far
	SpeechDuration    time.Duration
	SilenceDuration   time.Duration
	RawSpeech         time.Duration // unbroken speech before this window, unsmoothed by minimums
	RawSilence        time.Duration // unbroken silence before this window
	Probability       float32       // smoothed, 0..1
	Speaking          bool
	InferenceDuration time.Duration // wall time of the inference
	// Audio is the speech so far, at the input's rate, on start (with padding) and end of speech;
	// the window on InferenceDone. Borrowed.
	Audio audio.Frame
}
