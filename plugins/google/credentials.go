package google

import (
	"cmp"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/parley-go/parley/internal/wire"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model"
)

const (
	scope = "https://www.googleapis.com/auth/cloud-platform"
	// tokenURL is for credentials that name none.
	tokenURL = "https://oauth2.googleapis.com/token"
	// assertionLife is how long what we sign is good for.
	assertionLife = time.Hour
	// early is how long before its end a token is not used any more.
	early = 2 * time.Minute
)

// Credentials say who asks Google Cloud. The zero value is the file that GOOGLE_APPLICATION_CREDENTIALS
// names, else the one that "gcloud auth application-default login" has left.
type Credentials struct {
	// File and JSON are the key of a service account, or of a user who logged in with gcloud.
	File string
	JSON []byte
	// AccessToken is used as it is, until it expires.
	AccessToken string
	// TokenSource gives access tokens that live for another minute at least; it is asked before every
	// request and may be called concurrently. Use it for other kinds of credentials, such as those of
	// the metadata server.
	TokenSource func(ctx context.Context) (string, error)
}

// tokens hands out access tokens. It is safe for concurrent use.
type tokens struct {
	source  func(ctx context.Context) (string, error) // else key
	key     keyFile
	signer  *rsa.PrivateKey // of a service account
	project string          // of the credentials, if they name one
	quota   string          // the project that pays, if it is to be named

	sem    chan struct{} // size 1: held while a token is fetched and by whoever reads it
	token  string
	expiry time.Time
}

// keyFile is the file of either kind of credentials.
type keyFile struct {
	Type         string `json:"type"`
	ProjectID    string `json:"project_id"`
	QuotaProject string `json:"quota_project_id"`
	TokenURI     string `json:"token_uri"`

	ClientEmail  string `json:"client_email"` // service_account
	PrivateKey   string `json:"private_key"`
	PrivateKeyID string `json:"private_key_id"`

	ClientID     string `json:"client_id"` // authorized_user
	ClientSecret string `json:"client_secret"`
	RefreshToken string `json:"refresh_token"`
}

func newTokens(c Credentials) (*tokens, error) {
	t := &tokens{source: c.TokenSource, sem: make(chan struct{}, 1)}
	if c.AccessToken != "" {
		t.source = func(context.Context) (string, error) { return c.AccessToken, nil }
	}
	if t.source != nil {
		return t, nil
	}
	data, err := c.read()
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(data, &t.key); err != nil {
		return nil, errors.New("google: the credentials are not JSON") // the cause may quote them
	}
	t.project, t.quota = t.key.ProjectID, t.key.QuotaProject
	t.key.TokenURI = cmp.Or(t.key.TokenURI, tokenURL)
	switch t.key.Type {
	case "service_account":
		t.signer, err = privateKey(t.key.PrivateKey)
		return t, err
	case "authorized_user":
		return t, nil
	}
	return nil, fmt.Errorf("google: credentials of type %q are not known: use Credentials.TokenSource", t.key.Type)
}

func (c Credentials) read() ([]byte, error) {
	if len(c.JSON) > 0 {
		return c.JSON, nil
	}
	file := cmp.Or(c.File, os.Getenv("GOOGLE_APPLICATION_CREDENTIALS"))
	if file == "" {
		if dir, err := os.UserConfigDir(); err == nil {
			if data, err := os.ReadFile(filepath.Join(dir, "gcloud", "application_default_credentials.json")); err == nil {
				return data, nil
			}
		}
		return nil, errors.New("google: no credentials: set Credentials or GOOGLE_APPLICATION_CREDENTIALS")
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("google: reading credentials: %w", err)
	}
	return data, nil
}

func privateKey(text string) (*rsa.PrivateKey, error) {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return nil, errors.New("google: the credentials have no private key")
	}
	if key, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
		return key, nil
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if rsaKey, ok := key.(*rsa.PrivateKey); err == nil && ok {
		return rsaKey, nil
	}
	return nil, errors.New("google: the private key of the credentials is no RSA key")
}

// get is an access token that is good for a while. p is who asks.
func (t *tokens) get(ctx context.Context, c *wire.Client) (string, error) {
	if t.source != nil {
		token, err := t.source(ctx)
		return token, c.Error(model.KindConnection, "authorize", err)
	}
	select {
	case t.sem <- struct{}{}:
		defer func() { <-t.sem }()
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
	if t.token != "" && time.Until(t.expiry) > early {
		return t.token, nil
	}
	token, life, err := t.fetch(ctx, c)
	if err != nil {
		return "", err
	}
	t.token, t.expiry = token, time.Now().Add(life)
	return token, nil
}

// fetch exchanges the credentials for a token.
func (t *tokens) fetch(ctx context.Context, c *wire.Client) (token string, life time.Duration, err error) {
	asking := *c
	asking.Secrets = append(asking.Secrets[:len(asking.Secrets):len(asking.Secrets)], t.key.ClientSecret, t.key.RefreshToken)
	form := url.Values{
		"grant_type": {"refresh_token"}, "client_id": {t.key.ClientID}, "client_secret": {t.key.ClientSecret},
		"refresh_token": {t.key.RefreshToken},
	}
	if t.signer != nil {
		assertion, err := t.assertion(time.Now())
		if err != nil {
			return "", 0, c.Error(model.KindRequest, "authorize", err)
		}
		asking.Secrets = append(asking.Secrets, assertion)
		form = url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:jwt-bearer"}, "assertion": {assertion}}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, t.key.TokenURI, strings.NewReader(form.Encode()))
	if err != nil {
		return "", 0, c.Error(model.KindRequest, "authorize", errors.New("the credentials have a malformed token_uri"))
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	// This connection is none to the model.
	body, _, err := asking.DoAll(metrics.WithRecorder(ctx, nil), "authorize", req)
	if err != nil {
		return "", 0, err
	}
	var answer struct {
		AccessToken string `json:"access_token"`
		ExpiresIn   int64  `json:"expires_in"` // seconds
	}
	if json.Unmarshal(body, &answer) != nil || answer.AccessToken == "" {
		return "", 0, c.Protocol("authorize", "the answer has no access token")
	}
	return answer.AccessToken, time.Duration(answer.ExpiresIn) * time.Second, nil
}

// assertion is a signed statement of who we are (RFC 7523).
func (t *tokens) assertion(now time.Time) (string, error) {
	head, err := json.Marshal(map[string]any{"alg": "RS256", "typ": "JWT", "kid": t.key.PrivateKeyID})
	if err != nil {
		return "", err
	}
	claims, err := json.Marshal(map[string]any{
		"iss": t.key.ClientEmail, "scope": scope, "aud": t.key.TokenURI,
		"iat": now.Unix(), "exp": now.Add(assertionLife).Unix(),
	})
	if err != nil {
		return "", err
	}
	enc := base64.RawURLEncoding
	text := enc.EncodeToString(head) + "." + enc.EncodeToString(claims)
	sum := sha256.Sum256([]byte(text))
	sig, err := rsa.SignPKCS1v15(rand.Reader, t.signer, crypto.SHA256, sum[:])
	if err != nil {
		return "", fmt.Errorf("signing: %w", err)
	}
	return text + "." + enc.EncodeToString(sig), nil
}

// authorize adds a token to the header, and returns a client that keeps it secret.
func (t *tokens) authorize(ctx context.Context, c *wire.Client, h http.Header) (*wire.Client, error) {
	token, err := t.get(ctx, c)
	if err != nil {
		return nil, err
	}
	h.Set("Authorization", "Bearer "+token)
	if t.quota != "" {
		h.Set("X-Goog-User-Project", t.quota)
	}
	safe := *c
	safe.Secrets = append(safe.Secrets[:len(safe.Secrets):len(safe.Secrets)], token)
	return &safe, nil
}
