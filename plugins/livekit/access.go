package livekit

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/livekit/protocol/auth"

	"github.com/parley-go/parley/internal/wire"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model"
)

const (
	defaultBase = "https://agent-gateway.livekit.cloud/v1"
	stagingBase = "https://agent-gateway.staging.livekit.cloud/v1"
	stagingHost = ".staging.livekit.cloud"
	tokenLife   = 10 * time.Minute
)

// access is how a model gets to the gateway.
type access struct {
	wire.Peer
	base        *url.URL
	key, secret string
}

// newAccess is for a model of a kind: options is the name of its options, key, secret and base what they
// say.
func newAccess(options, kind, name, key, secret, base string) (access, error) {
	if name == "" {
		return access{}, fmt.Errorf("livekit: set %s.Model, e.g. %q", options, examples[kind])
	}
	a := access{}
	var err error
	if a.key, err = wire.Key("livekit", options+".APIKey", key, "LIVEKIT_INFERENCE_API_KEY", "LIVEKIT_API_KEY"); err != nil {
		return access{}, err
	}
	if a.secret, err = wire.Key("livekit", options+".APISecret", secret, "LIVEKIT_INFERENCE_API_SECRET", "LIVEKIT_API_SECRET"); err != nil {
		return access{}, err
	}
	def := defaultBase
	if strings.Contains(os.Getenv("LIVEKIT_URL"), stagingHost) {
		def = stagingBase
	}
	if a.base, err = wire.Base("livekit", base, def, "LIVEKIT_INFERENCE_URL"); err != nil {
		return access{}, err
	}
	a.Peer = wire.Peer{
		Info: model.Info{Label: "livekit." + strings.ToUpper(kind), Provider: "livekit", Model: name},
		Kind: kind, Secrets: []string{a.secret}, Refusal: quota,
	}
	return a, nil
}

var examples = map[string]string{"llm": "openai/gpt-4.1-mini", "stt": "deepgram/nova-3", "tts": "cartesia/sonic-3"}

// split cuts what follows the last colon off a model's name.
func split(name string) (model, rest string) {
	if i := strings.LastIndexByte(name, ':'); i >= 0 {
		return name[:i], name[i+1:]
	}
	return name, ""
}

// The headers of requests.
const (
	headSession  = "X-Livekit-Session-Id"
	headProvider = "X-Livekit-Inference-Provider"
	headPriority = "X-Livekit-Inference-Priority"
)

// sign adds to h who asks, for which job, which is nil for none, and the name of the session that begins.
func (a *access) sign(job func() model.Job, h http.Header) error {
	token, err := auth.NewAccessToken(a.key, a.secret).
		SetIdentity("agent").SetInferenceGrant(&auth.InferenceGrant{Perform: true}).SetValidFor(tokenLife).ToJWT()
	if err != nil {
		return fmt.Errorf("making a token: %w", err)
	}
	h.Set("User-Agent", "Parley")
	if job != nil {
		j := job()
		for name, v := range map[string]string{
			"X-Livekit-Room-Id": j.RoomID, "X-Livekit-Job-Id": j.ID, "X-Livekit-Agent-Id": j.AgentID,
			"X-Livekit-Worker-Token": os.Getenv("LIVEKIT_WORKER_TOKEN"),
		} {
			if v != "" {
				h.Set(name, v)
			}
		}
		maps.Copy(h, j.Header)
	}
	h.Set(headSession, metrics.NewID("inference_"))
	h.Set("Authorization", "Bearer "+token)
	return nil
}

// header is what a websocket is opened with.
func (a *access) header(job func() model.Job) (http.Header, error) {
	h := http.Header{}
	if err := a.sign(job, h); err != nil {
		return nil, a.Error(model.KindRequest, "dial", err)
	}
	return h, nil
}

// authorize is sign for the job of a context.
func (a *access) authorize(ctx context.Context, h http.Header) error {
	return a.sign(model.JobOf(ctx), h)
}

// Fallback is a model that the gateway asks when the one before fails.
type Fallback struct {
	// Model is e.g. "assemblyai/universal-streaming", for speech "rime/arcana:voice".
	Model string
	// Extra are options of its provider.
	Extra map[string]any
}

// fallbacks is how the protocol names the models that stand by.
type fallbacks struct {
	Models []fallback `json:"models"`
}

type fallback struct {
	Model string         `json:"model"`
	Voice *string        `json:"voice,omitempty"` // for speech, where it may be ""
	Extra map[string]any `json:"extra"`
}

// standby is nil for none.
func standby(list []Fallback, speaks bool) *fallbacks {
	if len(list) == 0 {
		return nil
	}
	f := &fallbacks{}
	for _, m := range list {
		name, rest := split(m.Model)
		one := fallback{Model: name, Extra: orEmpty(m.Extra)}
		if speaks {
			one.Voice = &rest
		}
		f.Models = append(f.Models, one)
	}
	return f
}

func orEmpty(m map[string]any) map[string]any {
	if m == nil {
		return map[string]any{}
	}
	return m
}

// connection is how the gateway tries a provider.
type connection struct {
	Timeout float64 `json:"timeout"` // seconds
	Retries int     `json:"retries"`
}

func upstream(o model.ConnOptions) connection {
	o = o.Defaults()
	return connection{o.Timeout.Seconds(), o.MaxRetry}
}

// refused is the error that the gateway states in a message. Codes that are no status of HTTP are its own.
func (a *access) refused(op string, code int, message string) error {
	if message == "" {
		message = "no reason was given"
	}
	if code <= 0 {
		return a.Protocol(op, "%s", message)
	}
	e := a.Status(op, code, message)
	e.Permanent = code == codeInactive
	return e
}

// reason finds the error that a message states.
func (a *access) reason(op string) func([]byte) error {
	return wire.Reason(func(m *struct {
		Type    string `json:"type"`
		Message string `json:"message"`
		Code    int    `json:"code"`
	}) error {
		if m.Type != "error" {
			return nil
		}
		return a.refused(op, m.Code, m.Message)
	})
}

// codeInactive ends a session that was not used for long.
const codeInactive = 2007
