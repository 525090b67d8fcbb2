package worker

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/gorilla/websocket"
)

func TestAgentURL(t *testing.T) {
	for _, tt := range []struct{ base, token, want string }{
		{"ws://localhost:7880", "", "ws://localhost:7880/agent"},
		{"http://localhost:7880/", "", "ws://localhost:7880/agent"},
		{"https://x.livekit.cloud", "", "wss://x.livekit.cloud/agent"},
		{"wss://proxy/some/path/", "", "wss://proxy/some/path/agent"},
		{"wss://x.livekit.cloud", "a b", "wss://x.livekit.cloud/agent?worker_token=a+b"},
	} {
		got, err := agentURL(tt.base, tt.token)
		if err != nil || got != tt.want {
			t.Errorf("agentURL(%q): %q, %v, want %q", tt.base, got, err, tt.want)
		}
	}
}

func TestBadURLsAreRefusedInOneLineWithoutSecrets(t *testing.T) {
	for _, base := range []string{"localhost:7880", "ftp://x", "ws://", "://", "ws://user:hunter2@[bad", "user:hunter2", "tcp://user:hunter2@host", "ws://host:99999", " "} {
		_, err := agentURL(base, "")
		if err == nil || strings.Contains(err.Error(), "\n") || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("agentURL(%q): %v, want an error in one line without the password", base, err)
		}
	}
}

func TestMissingOptionsAreNamed(t *testing.T) {
	for _, v := range []string{"LIVEKIT_URL", "LIVEKIT_API_KEY", "LIVEKIT_API_SECRET", "LIVEKIT_AGENT_NAME", "LIVEKIT_AGENT_NAME_OVERRIDE"} {
		t.Setenv(v, "")
	}
	run := func(context.Context, *Job) error { return nil }
	for _, tt := range []struct {
		name string
		o    Options
		want error
	}{
		{"entrypoint", Options{}, ErrNoEntrypoint},
		{"url", Options{Entrypoint: run}, ErrNoURL},
		{"key", Options{Entrypoint: run, URL: "ws://x"}, ErrNoAPIKey},
		{"secret", Options{Entrypoint: run, URL: "ws://x", APIKey: "k"}, ErrNoAPISecret},
	} {
		if _, err := New(tt.o); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
	t.Setenv("LIVEKIT_AGENT_NAME_OVERRIDE", "forced")
	w, err := New(Options{Entrypoint: run, URL: "ws://x", APIKey: "k", APISecret: "s", AgentName: "chosen"})
	if err != nil || w.opt.AgentName != "forced" {
		t.Errorf("agent name %q, err %v, want the override", w.opt.AgentName, err)
	}
}

func TestHostOfHidesPasswordsAndQueries(t *testing.T) {
	for _, base := range []string{"wss://user:hunter2@x.livekit.cloud/path?token=t", "wss://x.livekit.cloud?token=t"} {
		if got := hostOf(base); got != "x.livekit.cloud" {
			t.Errorf("hostOf: %q", got)
		}
	}
}

func TestRetryWaitGrowsToTenSeconds(t *testing.T) {
	for n, want := range []float64{0.5, 2, 4, 6, 8, 10, 10} {
		if got := retryWait(n).Seconds(); got < 0.79*want || got > 1.21*want {
			t.Errorf("wait before retry %d: %.2f s, want about %.1f", n, got, want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(websocket.BinaryMessage, []byte{0x0a, 0x02, 0x0a, 0x00})
	f.Add(websocket.TextMessage, []byte(`{"register":{"workerId":"AW_x"}}`))
	f.Add(websocket.TextMessage, []byte(`{"future":{}}`))
	f.Fuzz(func(t *testing.T, kind int, data []byte) {
		if m, err := decode(kind, data); (m == nil) == (err == nil) {
			t.Errorf("message %v, error %v", m, err)
		}
	})
}
