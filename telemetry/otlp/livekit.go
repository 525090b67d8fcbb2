package otlp

import (
	"bytes"
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/parley-go/parley/internal/lkcloud"
)

// ErrNotCloud is that the LiveKit server is not LiveKit Cloud, which takes telemetry.
var ErrNotCloud = errors.New("the LiveKit server is not LiveKit Cloud")

// LiveKitOptions say which LiveKit server the calls are of.
type LiveKitOptions struct {
	// URL, APIKey and APISecret are of the LiveKit server; default LIVEKIT_URL, LIVEKIT_API_KEY and
	// LIVEKIT_API_SECRET. LIVEKIT_OBSERVABILITY_URL names another place to export to.
	URL, APIKey, APISecret string
	// Client makes the requests; default is one with the proxy of the environment and a timeout of 10 s.
	Client *http.Client
	Logger *slog.Logger // default slog.Default()
}

const (
	earlier    = 5 * time.Minute  // tokens are renewed before their end
	unwantedIn = 10 * time.Minute // a project that wanted nothing is asked again
	maxAnswer  = 64 << 10
)

// LiveKit returns the options of an exporter to LiveKit Cloud, for its session view; fields may be changed before New,
// but Protocol, Endpoint and Headers count for nothing. Once LiveKit Cloud says that the project does not want data, what is
// exported in the next 10 minutes is dropped, with one warning. The error is ErrNotCloud, or what is not set.
func LiveKit(o *LiveKitOptions) (Options, error) {
	if o == nil {
		o = &LiveKitOptions{}
	}
	base, err := lkcloud.URL(os.Getenv("LIVEKIT_OBSERVABILITY_URL"), cmp.Or(o.URL, os.Getenv("LIVEKIT_URL")))
	c := &cloud{key: cmp.Or(o.APIKey, os.Getenv("LIVEKIT_API_KEY")), secret: cmp.Or(o.APISecret, os.Getenv("LIVEKIT_API_SECRET")), log: cmp.Or(o.Logger, slog.Default())}
	switch {
	case err == nil && base == "":
		err = ErrNotCloud
	case err == nil && (c.key == "" || c.secret == ""):
		err = errors.New("no API key: set LIVEKIT_API_KEY and LIVEKIT_API_SECRET")
	}
	if err != nil {
		return Options{}, fmt.Errorf("exporting to LiveKit Cloud: %w", err)
	}
	client := http.Client{Timeout: 10 * time.Second}
	if o.Client != nil {
		client = *o.Client
	}
	if c.next = client.Transport; c.next == nil {
		c.next = http.DefaultTransport.(*http.Transport).Clone()
	}
	client.Transport = c
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse } // nobody else gets the key
	return Options{client: &client, url: func(kind string) string { return base + "/observability/" + kind + "/otlp/v0" }}, nil
}

// cloud signs requests, and spares a project what it does not want.
type cloud struct {
	key, secret string
	log         *slog.Logger
	next        http.RoundTripper

	mu       sync.Mutex
	token    string
	renew    time.Time // the token
	unwanted time.Time // until when
}

// RoundTrip implements http.RoundTripper.
func (c *cloud) RoundTrip(r *http.Request) (*http.Response, error) {
	token, wanted := c.ready(time.Now())
	if !wanted {
		if r.Body != nil {
			_ = r.Body.Close()
		}
		return done(r), nil
	}
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+token)
	resp, err := c.next.RoundTrip(r)
	if err != nil || resp.StatusCode != http.StatusUnauthorized {
		return resp, err
	}
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	_ = resp.Body.Close()
	if err == nil && lkcloud.Unwanted(answer) {
		c.refused(time.Now())
		return done(r), nil
	}
	resp.Body = io.NopCloser(bytes.NewReader(answer))
	return resp, nil
}

// CloseIdleConnections closes those of the transport behind.
func (c *cloud) CloseIdleConnections() {
	if x, ok := c.next.(interface{ CloseIdleConnections() }); ok {
		x.CloseIdleConnections()
	}
}

// done is an answer that all was taken.
func done(r *http.Request) *http.Response {
	return &http.Response{Status: "200 OK", StatusCode: http.StatusOK, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Content-Type": {"application/x-protobuf"}}, Body: http.NoBody, Request: r}
}

// ready returns a valid token; false if nothing is wanted now.
func (c *cloud) ready(now time.Time) (token string, wanted bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now.Before(c.unwanted) {
		return "", false
	}
	if !now.Before(c.renew) {
		c.token, c.renew = c.sign(now), now.Add(lkcloud.TokenLife-earlier)
	}
	return c.token, true
}

func (c *cloud) refused(now time.Time) {
	c.mu.Lock()
	first := c.unwanted.IsZero()
	c.unwanted = now.Add(unwantedIn)
	c.mu.Unlock()
	if first {
		c.log.Warn("LiveKit Cloud does not want telemetry of this project: recording is disabled there")
	}
}

// sign makes a token that allows to write what was observed, and nothing else.
func (c *cloud) sign(now time.Time) string {
	claims, _ := json.Marshal(map[string]any{ // which cannot fail
		"iss": c.key, "iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(lkcloud.TokenLife).Unix(), "observability": map[string]bool{"write": true},
	})
	e := base64.RawURLEncoding
	text := e.EncodeToString([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." + e.EncodeToString(claims)
	mac := hmac.New(sha256.New, []byte(c.secret))
	mac.Write([]byte(text))
	return text + "." + e.EncodeToString(mac.Sum(nil))
}
