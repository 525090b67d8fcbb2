// Package livekitbox is the sandbox of LiveKit Inference.
package livekitbox

import (
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/livekit/protocol/auth"

	"github.com/parley-go/parley/internal/sandbox"
	"github.com/parley-go/parley/internal/sandbox/openaibox"
)

// APIKey goes with the sandbox's key, which is the secret.
const APIKey = "APIsandbox"

// Gateway is what the endpoints have in common.
type Gateway struct {
	s *sandbox.Server

	mu       sync.Mutex
	sessions map[string]bool
	headers  []http.Header
}

// New makes s a gateway, whose endpoints are below "/v1". Nothing is served yet.
func New(s *sandbox.Server) *Gateway { return &Gateway{s: s, sessions: map[string]bool{}} }

// Headers are those of the requests that were let in, in order.
func (g *Gateway) Headers() []http.Header {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]http.Header(nil), g.headers...)
}

// Chat serves chat completions.
func (g *Gateway) Chat(o openaibox.ChatOptions) {
	o.Provider, o.Authorized = "livekit", g.authorized
	openaibox.Chat(g.s, "/v1", o)
}

// authorized lets in who has a token for inference that is good for ten minutes at the most, and a name
// for the session that nobody had.
func (g *Gateway) authorized(c *sandbox.Call) bool {
	raw, isBearer := strings.CutPrefix(c.R.Header.Get("Authorization"), "Bearer ")
	if why := g.wrong(raw); !isBearer || why != "" {
		c.Refuse(http.StatusUnauthorized, "invalid token "+raw+": "+why)
		return false
	}
	session := c.R.Header.Get("X-LiveKit-Session-ID")
	g.mu.Lock()
	defer g.mu.Unlock()
	if !strings.HasPrefix(session, "inference_") || g.sessions[session] {
		c.Refuse(http.StatusBadRequest, "invalid session id")
		return false
	}
	g.sessions[session] = true
	g.headers = append(g.headers, c.R.Header.Clone())
	return true
}

func (g *Gateway) wrong(raw string) string {
	v, err := auth.ParseAPIToken(raw)
	if err != nil {
		return "cannot be read"
	}
	registered, grants, err := v.Verify(g.s.Key)
	switch {
	case err != nil || v.APIKey() != APIKey:
		return "bad signature"
	case grants.Inference == nil || !grants.Inference.Perform || v.Identity() != "agent":
		return "no permission"
	case registered.ExpiresAt == nil || time.Until(registered.ExpiresAt.Time) > 10*time.Minute:
		return "good for too long"
	}
	return ""
}

// dialled lets a websocket in that names the model it is for.
func (g *Gateway) dialled(c *sandbox.Call) bool {
	q := c.R.URL.Query()
	if len(q) != 1 || q.Get("model") == "" {
		c.Refuse(http.StatusBadRequest, "bad query")
		return false
	}
	return g.authorized(c)
}

// standby are the models behind the first.
type standby struct {
	Models []struct {
		Model string         `json:"model"`
		Voice *string        `json:"voice"`
		Extra map[string]any `json:"extra"`
	} `json:"models"`
}

// upstream is how providers are tried.
type upstream struct {
	Timeout float64 `json:"timeout"`
	Retries *int    `json:"retries"`
}

// names says what is wrong with a model and those behind it.
func names(model string, f *standby, u *upstream, speaks bool) string {
	list := []string{model}
	if f != nil {
		if len(f.Models) == 0 {
			return "no fallback models"
		}
		for _, m := range f.Models {
			if m.Extra == nil || speaks != (m.Voice != nil) {
				return "bad fallback model"
			}
			list = append(list, m.Model)
		}
	}
	for _, name := range list {
		if strings.Contains(name, ":") || !strings.Contains(name, "/") {
			return "unknown model " + name
		}
	}
	if u == nil || u.Timeout <= 0 || u.Retries == nil || *u.Retries < 0 {
		return "bad connection"
	}
	return ""
}

func problem(code int, message string) map[string]any {
	return map[string]any{"type": "error", "message": message, "code": code}
}
