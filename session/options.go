package session

import (
	"log/slog"
	"time"

	"github.com/parley-go/parley/agent"
	"github.com/parley-go/parley/llm"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/opt"
	"github.com/parley-go/parley/realtime"
	"github.com/parley-go/parley/stt"
	"github.com/parley-go/parley/tokenize"
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

	// Realtime hears and speaks itself, in place of the LLM, and as a rule of STT, VAD and TTS: with a VAD the
	// session can find the user's turns instead of the model, and a TTS speaks what was given to say and what
	// the model answers in text only. Both it and an LLM are an error of Start.
	Realtime *realtime.Model

	// Models names models for Gateway to make, instead of STT, LLM and TTS: Start does so, and the close
	// closes them. That nothing makes them, or one cannot be made, is an error of Start.
	Models  Models
	Gateway Gateway

	// Tools are shared by all agents of the session.
	Tools []llm.Tool
	// MaxToolSteps limits the tool rounds of one reply: default 3. The round that goes beyond it is
	// still executed, then the model must answer in words. Off: no limit.
	MaxToolSteps opt.Value[int]
	// ToolTexts is what the model is told about tools in the background, as far as its agent does not
	// say otherwise.
	ToolTexts agent.ToolTexts

	// TurnHandling is how the user and the agent take turns. An agent's own lies over it.
	TurnHandling turn.Handling

	// AECWarmup is how long, after the agent has spoken for the first time, the user cannot
	// interrupt by voice, and is not heard by the STT, while the agent speaks: echo cancellation on
	// the user's side needs that time. Default 3 s; off: no such time.
	AECWarmup opt.Value[time.Duration]

	// MinConsecutiveSpeechDelay is the least pause between two speeches: default 0.
	MinConsecutiveSpeechDelay time.Duration
	// UserAwayTimeout is the silence on both sides after which the user counts as away: default
	// 15 s. Off: never.
	UserAwayTimeout opt.Value[time.Duration]
	// TranscriptionTimeout is how long after speech that the VAD has heard the STT may take to tell some
	// final words of it, before UserTranscriptionTimeout tells that there are none. Default 0: never.
	TranscriptionTimeout time.Duration
	// CloseTranscriptTimeout is how long a closing session waits for the user's last words: default 2 s.
	CloseTranscriptTimeout time.Duration
	// MaxUnrecoverableErrors is how many final errors in a row each kind of model may have before
	// the session closes: default 3.
	MaxUnrecoverableErrors opt.Value[int]
	// TextTransforms filter, in order, the text that is handed to the TTS; transcripts and history
	// keep the model's. Default tokenize.StripMarkdown and tokenize.StripEmoji; off: the text as it
	// is. tokenize.Replace mends how names are spoken.
	TextTransforms opt.Value[[]tokenize.Transform]

	// Video says how often a realtime model that can see gets a picture of what the user shows, if the transport
	// hands it over (room.IOOptions.VideoInput).
	Video VideoRate

	// PriceBooks have the prices of the models: with any, the report has the cost. The first one with a
	// price that is valid when the session starts counts.
	PriceBooks []*metrics.PriceBook
	// SoftBudget and HardBudget limit what the session may use: beyond the soft one it tells so
	// (BudgetExceeded), beyond the hard one it closes, too. Default: no limit. A limit on money without a
	// price book in its currency is an error of Start.
	SoftBudget, HardBudget Budget

	// Tags say what the session is about, as the application likes it: at most MaxTags, with keys of up to
	// MaxTagKeyLen and values of up to MaxTagValueLen bytes; more is an error of Start. Session.SetTag
	// changes them.
	Tags map[string]string

	// Recording says whether what is said may be kept: by default it is in the report.
	Recording Recording

	// Recorder gets every metrics event of the session, besides the session itself: a *ledger.Ledger, for
	// instance. A worker with a ledger needs none. A TagRecorder gets the tags, too.
	Recorder metrics.Recorder

	// Userdata is anything the application wants at hand in tools and hooks.
	Userdata any
	// Logger is where the session logs; default that of the job which it is started for, or slog.Default().
	Logger *slog.Logger
}

var defaultTransforms = []tokenize.Transform{tokenize.StripMarkdown, tokenize.StripEmoji}

const (
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
