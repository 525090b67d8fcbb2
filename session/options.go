package session

import (
	"log/slog"
	"time"

	"github.com/parley-go/parley/llm"
	"github.com/parley-go/parley/opt"
	"github.com/parley-go/parley/stt"
	"github.com/parley-go/parley/tts"
	"github.com/parley-go/parley/turn"
	"github.com/parley-go/parley/vad"
)

// Options say what a session is made of. The zero value of every field is usable; models may be
// shared by any number of sessions.
type Options struct {
	VAD *vad.Model // nil: turns end by the STT's final transcripts
	STT *stt.Model // nil: the session does not hear; a batch model is made streaming with VAD
	LLM *llm.Model // nil: the agent only says what it is told to
	TTS *tts.Model // nil: the agent only writes

	// Tools are shared by all agents of the session.
	Tools []llm.Tool
	// MaxToolSteps limits the tool rounds of one reply: default 3. The round that goes beyond it is
	// still executed, then the model must answer in words. Off: no limit.
	MaxToolSteps opt.Value[int]

	TurnDetection TurnDetection
	// TurnDetector judges from the words whether the user has finished, when TurnDetection leaves it
	// to the VAD: a turn that does not look finished gets Endpointing.MaxDelay. Only text detectors
	// are used. Nil: every silence of MinDelay ends the turn. See turn.NewText.
	TurnDetector *turn.Model
	// Endpointing is how long a silence must be to end the user's turn. Defaults: fixed, 0.5 s and, for
	// turns that do not look finished, 3 s.
	Endpointing  turn.EndpointingOptions
	Interruption Interruption

	// Preemptive lets the model begin its answer before the turn is over.
	Preemptive Preemptive

	// AECWarmup is how long, after the agent has spoken for the first time, the user cannot
	// interrupt by voice, and is not heard by the STT, while the agent speaks: echo cancellation on
	// the user's side needs that time. Default 3 s; off: no such time.
	AECWarmup opt.Value[time.Duration]

	// MinConsecutiveSpeechDelay is the least pause between two speeches: default 0.
	MinConsecutiveSpeechDelay time.Duration
	// UserAwayTimeout is the silence on both sides after which the user counts as away: default
	// 15 s. Off: never.
	UserAwayTimeout opt.Value[time.Duration]
	// CloseTranscriptTimeout is how long a closing session waits for the user's last words: default 2 s.
	CloseTranscriptTimeout time.Duration
	// MaxUnrecoverableErrors is how many final errors in a row each kind of model may have before
	// the session closes: default 3.
	MaxUnrecoverableErrors opt.Value[int]
	// RawText hands the model's text to the TTS as it is. Otherwise markdown and emoji are left out
	// of what is spoken; transcripts and history always keep them.
	RawText bool

	// Userdata is anything the application wants at hand in tools and hooks.
	Userdata any
	// Logger is where the session logs; default slog.Default().
	Logger *slog.Logger
}

// Interruption says how the user may cut the agent short.
type Interruption struct {
	// Enabled: default true. Off, or Some(false): every speech is protected unless it says otherwise.
	Enabled opt.Value[bool]
	// MinDuration is the unbroken speech needed to interrupt: default 0.5 s.
	MinDuration opt.Value[time.Duration]
	// MinWords is the number of words needed to interrupt; default 0. Needs an STT.
	MinWords int
	// ResumeFalse: default true. The agent is only paused when the user makes a sound, goes on when
	// no words follow, and is interrupted when they do. Off, or Some(false), stops it at once.
	ResumeFalse opt.Value[bool]
	// FalseTimeout is the silence after which a pause without words ends: default 2 s. Off stops the
	// agent at once instead of pausing it.
	FalseTimeout opt.Value[time.Duration]
	// HearProtected lets the STT hear the user while the agent says what must not be interrupted. By
	// default it hears silence then, so that no words pile up.
	HearProtected bool
}

// TurnDetection says who decides that the user's turn is over.
type TurnDetection string

// The ways to detect the end of a turn.
const (
	// DetectAuto takes the VAD if there is one, else the STT's final transcripts.
	DetectAuto TurnDetection = ""
	DetectVAD  TurnDetection = "vad"
	// DetectSTT leaves it to the STT, which must emit start and end of speech.
	DetectSTT TurnDetection = "stt"
	// DetectManual leaves it to the application: Session.CommitUserTurn and ClearUserTurn. The voice
	// of the user does not interrupt either.
	DetectManual TurnDetection = "manual"
)

const (
	defaultMinDuration    = 500 * time.Millisecond
	defaultFalseTimeout   = 2 * time.Second
	defaultAECWarmup      = 3 * time.Second
	defaultAwayTimeout    = 15 * time.Second
	defaultCloseWait      = 2 * time.Second
	interruptionWatchdog  = 6 * time.Second // an interrupted speech that is not over by then is given up
	toolGrace             = 5 * time.Second // tools of an interrupted speech; later results are kept all the same
	staleVoice            = 5 * time.Second // words that come later do not belong to what the VAD heard
	sttRestartWait        = 500 * time.Millisecond
	transcriptTick        = 50 * time.Millisecond
	defaultToolSteps      = 3
	defaultMaxModelErrors = 3
)

func (o Options) interruptible() bool {
	return !o.Interruption.Enabled.IsOff() && o.Interruption.Enabled.Default(true)
}
