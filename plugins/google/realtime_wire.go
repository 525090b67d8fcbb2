package google

import (
	"encoding/base64"
	"errors"
	"strings"
	"time"
)

// liveMessage is a message of the provider. Usage comes with any of the others, or alone.
type liveMessage struct {
	SetupComplete *struct{}      `json:"setupComplete"`
	Content       *serverContent `json:"serverContent"`
	ToolCall      *liveToolCall  `json:"toolCall"`
	Cancellation  *struct {
		IDs []string `json:"ids"`
	} `json:"toolCallCancellation"`
	Usage  *liveUsage `json:"usageMetadata"`
	GoAway *struct {
		TimeLeft string `json:"timeLeft"`
	} `json:"goAway"`
	Resumption *struct {
		Handle    string `json:"newHandle"`
		Resumable bool   `json:"resumable"`
	} `json:"sessionResumptionUpdate"`
	VoiceActivity *struct {
		Type string `json:"voiceActivityType"`
	} `json:"voiceActivity"`
}

type liveToolCall struct {
	Calls []*functionCall `json:"functionCalls"`
}

type serverContent struct {
	Turn               *content       `json:"modelTurn"`
	Heard              *transcription `json:"inputTranscription"`
	Spoken             *transcription `json:"outputTranscription"`
	Interrupted        bool           `json:"interrupted"`
	GenerationComplete bool           `json:"generationComplete"`
	TurnComplete       bool           `json:"turnComplete"`
	Reason             string         `json:"turnCompleteReason"`
}

type transcription struct {
	Text     string `json:"text"` // the next piece
	Language string `json:"languageCode"`
}

// liveDuration is a time of the form "9.5s"; 0 for one that cannot be read.
func liveDuration(s string) time.Duration {
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0
	}
	return max(d, 0)
}

// decoded is the audio of a part, which has one channel at liveOutputRate.
func decoded(b *blob) ([]byte, error) {
	if _, rate, ok := strings.Cut(b.MimeType, "rate="); ok && rate != "24000" {
		return nil, errors.New("it has the format " + b.MimeType)
	}
	return base64.StdEncoding.DecodeString(b.Data)
}
