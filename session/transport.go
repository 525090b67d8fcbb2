package session

import (
	"context"
	"time"

	"github.com/parley-go/parley/agent"
	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/metrics"
)

// Transport is what a session hears and speaks through: a LiveKit room, a terminal, a test.
// Package room has the one for LiveKit rooms.
type Transport interface {
	// Open connects the ends. The session calls it once per Start; h stays valid until Close
	// returns. Open returns when the ends can be used, which may be before anybody is there.
	Open(ctx context.Context, h Host) (IO, error)
	// Close releases the ends. It is called once, after the session emitted Close, and returns
	// when ctx ends at the latest.
	Close(ctx context.Context) error
}

// Host is the session as a transport sees it. The methods return at once, may be called from any
// goroutine and do nothing once the session is closed.
type Host interface {
	// ReceiveText hands over a text that the user typed.
	ReceiveText(t TextInput)
	// ParticipantLinked says who the user is.
	ParticipantLinked(p Participant)
	// ParticipantLeft says that the user is gone; closes tells whether that ends the session.
	ParticipantLeft(p Participant, reason string, closes bool)
	// OutputReady says that somebody can hear the audio output.
	OutputReady()
	// Disconnected says that the transport is lost for good.
	Disconnected(reason string)
}

// TextInput is a text that the user typed.
type TextInput struct {
	Text        string
	Participant Participant
}

// Participant is somebody in the room.
type Participant struct {
	ID         string // of the transport, in LiveKit "PA_…"; may be empty
	Identity   string
	Name       string
	Kind       string // "standard", "sip", "connector", "agent", ...
	Attributes map[string]string
}

// IO is the ends of a transport. Nil ends do not exist.
type IO struct {
	AudioIn     AudioInput
	VideoIn     VideoInput
	AudioOut    AudioOutput
	Transcripts TranscriptOutput
	// AgentState mirrors the agent's state to whoever is interested. It returns at once; when it is
	// called faster than it can publish, the latest state wins.
	AgentState func(s agent.State)
	// Recorder gets every metrics event of the session, besides the session itself.
	Recorder metrics.Recorder
}

// AudioInput is where the user's voice comes from.
type AudioInput interface {
	// ReadFrame waits for the next frame (borrowed until the next call). The clock of the frames
	// is the real one: while nothing arrives, the input makes silence. io.EOF means that no more
	// audio will come. Called by one goroutine.
	ReadFrame(ctx context.Context) (audio.Frame, error)
}

// VideoInput is what the user shows: his camera, or his screen.
type VideoInput interface {
	// Picture waits for a picture of now, as long as the user shows something. io.EOF means that there will be no
	// more of them. Called by one goroutine.
	Picture(ctx context.Context) (*chat.Image, error)
}

// AudioOutput plays the agent's voice, one segment at a time. The methods may be called from any
// goroutine.
type AudioOutput interface {
	// SampleRate is the rate, in Hz and one channel, that Write wants.
	SampleRate() int
	// Notify sets who is told about playback; it is called once, before the first Write. The
	// events of a segment come in order, from a goroutine of the output, and f returns at once.
	Notify(f func(PlaybackEvent))
	// Write queues audio (borrowed). The first Write after a finished segment opens the next. It
	// blocks while the queue is full, and then returns when there is room, ctx ends, or the segment
	// is cleared (ErrCleared).
	Write(ctx context.Context, f audio.Frame) error
	// Flush says that the open segment is complete. Playback goes on to its end.
	Flush()
	// Clear stops the open segment at once: what was not played is dropped, and the segment
	// finishes as interrupted. Without an open segment it does nothing.
	Clear()
	// Pause stops playback without losing its place, Resume goes on. Both are idempotent and hold
	// for segments that open while paused.
	Pause()
	Resume()
	// Played is how much of the open segment was played, to the sample; 0 without one.
	Played() time.Duration
}

// PlaybackEvent tells about a segment of an AudioOutput: once that it started, at its first audible
// sample, and exactly once that it finished, also when it never started.
type PlaybackEvent struct {
	Finished    bool          // false: playback started
	At          time.Time     // when it happened
	Played      time.Duration // finished: how much was played
	Interrupted bool          // finished: cleared before the end
}

// TranscriptOutput shows what is said.
type TranscriptOutput interface {
	// WriteTranscript publishes t. It returns at once; when the queue is full, updates that are not
	// final may be lost.
	WriteTranscript(t Transcript)
}

// Transcript is an update of a transcript.
type Transcript struct {
	SegmentID string // "SG_…"; the updates of one utterance share it
	User      bool   // said by the user, else by the agent
	// Text is the whole text so far for the user, and what is new since the last update for the agent.
	Text  string
	Final bool // the last update of its segment
}
