package otlp_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/telemetry/otlp"
)

// lkCloud takes telemetry as LiveKit Cloud does.
type lkCloud struct {
	*httptest.Server
	got collector

	mu     sync.Mutex
	paths  []string
	tokens []string
	answer func(w http.ResponseWriter) bool // nil, or true when it answered
}

func newLKCloud(t *testing.T) *lkCloud {
	c := &lkCloud{}
	c.Server = httptest.NewServer(c)
	t.Cleanup(c.Close)
	t.Setenv("LIVEKIT_OBSERVABILITY_URL", c.URL+"/base/")
	return c
}

func (c *lkCloud) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.paths = append(c.paths, r.URL.Path)
	c.tokens = append(c.tokens, strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
	if r.Header.Get("X-Other") != "" {
		http.Error(w, "the key of somebody else", http.StatusBadRequest)
		return
	}
	if c.answer != nil && c.answer(w) {
		return
	}
	r.URL.Path = "/v1/" + strings.TrimSuffix(strings.TrimPrefix(r.URL.Path, "/base/observability/"), "/otlp/v0")
	c.got.ServeHTTP(w, r)
}

func TestExportsToLiveKitCloud(t *testing.T) {
	c := newLKCloud(t)
	t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", "X-Other=secret")
	t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
	o, err := otlp.LiveKit(&otlp.LiveKitOptions{APIKey: "key", APISecret: "secret"})
	if err != nil {
		t.Fatal(err)
	}
	export(t, o)
	c.got.wantAll(t)
	slices.Sort(c.paths)
	if got := strings.Join(c.paths, " "); got != "/base/observability/logs/otlp/v0 /base/observability/metrics/otlp/v0 /base/observability/traces/otlp/v0" {
		t.Errorf("exported to %s", got)
	}
	for _, token := range c.tokens {
		parts := strings.Split(token, ".")
		mac := hmac.New(sha256.New, []byte("secret"))
		mac.Write([]byte(parts[0] + "." + parts[1]))
		if base64.RawURLEncoding.EncodeToString(mac.Sum(nil)) != parts[2] {
			t.Errorf("token %s is not signed", token)
		}
		var claims struct {
			Iss           string
			Nbf, Exp      int64
			Observability struct{ Write bool }
			Video         any
		}
		text, _ := base64.RawURLEncoding.DecodeString(parts[1])
		if err := json.Unmarshal(text, &claims); err != nil || claims.Iss != "key" || claims.Exp-claims.Nbf != 6*3600 || !claims.Observability.Write || claims.Video != nil {
			t.Errorf("token allows %s", text)
		}
	}
}

// What the project does not want is not sent for a while, and is no error.
func TestLiveKitCloudMayNotWantTelemetry(t *testing.T) {
	c := newLKCloud(t)
	c.answer = func(w http.ResponseWriter) bool {
		http.Error(w, "Data recording is disabled for the project", http.StatusUnauthorized)
		return true
	}
	var log bytes.Buffer
	o, err := otlp.LiveKit(&otlp.LiveKitOptions{APIKey: "key", APISecret: "secret", Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		export(t, o)
		asked := len(c.paths)
		export(t, o)
		if len(c.paths) != asked {
			t.Errorf("asked %d times, and then %d", asked, len(c.paths))
		}
		c.mu.Lock()
		c.answer = nil
		c.mu.Unlock()
		time.Sleep(11 * time.Minute)
		export(t, o)
	})
	c.got.wantAll(t)
	if n := strings.Count(log.String(), "level=WARN"); n != 1 {
		t.Errorf("%d warnings: %s", n, log.String())
	}
}

func TestTokensAreRenewedBeforeTheirEnd(t *testing.T) {
	c := newLKCloud(t)
	o, err := otlp.LiveKit(&otlp.LiveKitOptions{APIKey: "key", APISecret: "secret"})
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		for _, d := range []time.Duration{0, 5*time.Hour + 54*time.Minute, 2 * time.Minute} {
			time.Sleep(d)
			export(t, o)
		}
	})
	if len(c.tokens) != 9 || c.tokens[0] != c.tokens[5] || c.tokens[0] == c.tokens[6] {
		t.Errorf("tokens %q", c.tokens)
	}
}

func TestLiveKitNeedsItsCloud(t *testing.T) {
	for _, name := range []string{"LIVEKIT_OBSERVABILITY_URL", "LIVEKIT_URL", "LIVEKIT_API_KEY", "LIVEKIT_API_SECRET"} {
		t.Setenv(name, "")
	}
	if _, err := otlp.LiveKit(nil); !errors.Is(err, otlp.ErrNotCloud) {
		t.Errorf("no server: %v", err)
	}
	if _, err := otlp.LiveKit(&otlp.LiveKitOptions{URL: "wss://project.livekit.cloud"}); err == nil || !strings.Contains(err.Error(), "LIVEKIT_API_KEY") {
		t.Errorf("no key: %v", err)
	}
}
