package google

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/parley-go/parley/internal/modeltest"
	"github.com/parley-go/parley/internal/sandbox"
	"github.com/parley-go/parley/internal/sandbox/googlebox"
	"github.com/parley-go/parley/internal/wire"
	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/model/fault"
	"github.com/parley-go/parley/opt"
)

const account = "agent@sandbox.iam.gserviceaccount.com"

var serviceKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

// pkcs8 is the form of the files that Google gives out.
func pkcs8(t *testing.T, key any) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

func TestServiceAccount(t *testing.T) {
	box := sandbox.Start(t, fault.Plan{})
	googlebox.Gemini(box, nil)
	fetched := googlebox.Token(box, googlebox.TokenOptions{Email: account, Key: &serviceKey().PublicKey})
	file := filepath.Join(t.TempDir(), "key.json")
	if err := os.WriteFile(file, googlebox.KeyFile(box, account, pkcs8(t, serviceKey())), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", file)
	t.Setenv("GOOGLE_CLOUD_PROJECT", "")
	m, err := NewLLM(&LLMOptions{BaseURL: box.URL(), VertexAI: opt.Some(true)})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	var log modeltest.Log
	for range 3 {
		text, _, err := m.Chat(log.Context(t.Context()), talk(say(chat.User, "hi"))).Collect()
		if err != nil || text != googlebox.Text {
			t.Fatalf("%q, %v", text, err)
		}
	}
	if n := fetched(); n != 1 {
		t.Errorf("%d tokens were fetched", n)
	}
	if n := len(modeltest.Events[*metrics.Connection](&log)); n != 3 {
		t.Errorf("%d connections were told", n)
	}
}

func TestTokensAreRenewed(t *testing.T) {
	for life, want := range map[time.Duration]int{early - time.Second: 2, early + time.Minute: 1} {
		box := sandbox.Start(t, fault.Plan{})
		fetched := googlebox.Token(box, googlebox.TokenOptions{Refresh: "r", Life: life})
		ts, err := newTokens(Credentials{JSON: []byte(`{"type":"authorized_user","client_id":"id","client_secret":"secret","refresh_token":"r","token_uri":"` + box.URL() + `/token","quota_project_id":"payer"}`)})
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if token, err := ts.get(t.Context(), &wire.Client{}); err != nil || token != box.Key {
				t.Fatalf("%q, %v", token, err)
			}
		}
		if fetched() != want || ts.quota != "payer" {
			t.Errorf("%d tokens of %v were fetched; %q pays", fetched(), life, ts.quota)
		}
	}
}

func TestRefusedCredentialsKeepTheirSecrets(t *testing.T) {
	box := sandbox.Start(t, fault.Plan{})
	googlebox.Token(box, googlebox.TokenOptions{Refresh: "another", Email: account, Key: &serviceKey().PublicKey})
	user := []byte(`{"type":"authorized_user","client_id":"id","client_secret":"secret","refresh_token":"hush-hush","token_uri":"` + box.URL() + `/token"}`)
	other, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	for _, data := range [][]byte{user, googlebox.KeyFile(box, account, pkcs8(t, other))} {
		ts, err := newTokens(Credentials{JSON: data})
		if err != nil {
			t.Fatal(err)
		}
		_, err = ts.get(t.Context(), &wire.Client{})
		var e *model.Error
		if !errors.As(err, &e) || e.Status != 400 || e.Retryable() || strings.Contains(err.Error(), "hush") {
			t.Errorf("error: %v", err)
		}
	}
}

func TestBadCredentials(t *testing.T) {
	for name, c := range map[string]Credentials{
		"no such file": {File: filepath.Join(t.TempDir(), "none.json")},
		"no JSON":      {JSON: []byte(`"secret`)},
		"unknown kind": {JSON: []byte(`{"type":"external_account","private_key":"secret"}`)},
		"no key":       {JSON: []byte(`{"type":"service_account","private_key":"secret"}`)},
		"no RSA key":   {JSON: []byte(`{"type":"service_account","private_key":"-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n"}`)},
	} {
		if _, err := newTokens(c); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTokenSource(t *testing.T) {
	fail := errors.New("no luck")
	ts, err := newTokens(Credentials{TokenSource: func(context.Context) (string, error) { return "", fail }})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ts.get(t.Context(), &wire.Client{}); !model.Retryable(err) || !strings.Contains(err.Error(), "no luck") {
		t.Errorf("error: %v", err)
	}
}
