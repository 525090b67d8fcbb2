package report

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// The headers of a webhook, as Standard Webhooks have them.
const (
	headerID        = "Webhook-Id"
	headerTimestamp = "Webhook-Timestamp"
	headerSignature = "Webhook-Signature"
)

// maxAge is how old, or how far in the future, a request may be.
const maxAge = 5 * time.Minute

// Errors of Verify.
var (
	ErrSignature = errors.New("the webhook is not signed with this secret")
	ErrTimestamp = errors.New("the webhook is older than 5 minutes, or the clock is wrong")
)

// Verify is for receivers of a Webhook: it checks that the request with header h and exactly this body was
// signed with one of secrets (two, while one is being replaced) within the last 5 minutes, and returns its
// id. A report that comes again has the same id.
func Verify(h http.Header, body []byte, secrets ...string) (id string, err error) {
	id = h.Get(headerID)
	sec, err := strconv.ParseInt(h.Get(headerTimestamp), 10, 64)
	if id == "" || err != nil {
		return "", ErrSignature
	}
	at := time.Unix(sec, 0)
	signed := false
	for _, secret := range secrets {
		key, err := signingKey(secret)
		if err != nil {
			return "", fmt.Errorf("verifying webhook: %w", err)
		}
		want := signature(key, id, at, body)
		for s := range strings.FieldsSeq(h.Get(headerSignature)) {
			if hmac.Equal([]byte(s), []byte(want)) {
				signed = true
			}
		}
	}
	if !signed {
		return "", ErrSignature
	}
	if age := time.Since(at); age > maxAge || age < -maxAge {
		return "", ErrTimestamp
	}
	return id, nil
}

// sign adds the headers of a webhook.
func sign(h http.Header, key []byte, id string, at time.Time, body []byte) {
	h.Set(headerID, id)
	h.Set(headerTimestamp, strconv.FormatInt(at.Unix(), 10))
	h.Set(headerSignature, signature(key, id, at, body))
}

// signature is HMAC-SHA256 over id, time and body.
func signature(key []byte, id string, at time.Time, body []byte) string {
	mac := hmac.New(sha256.New, key)
	fmt.Fprintf(mac, "%s.%d.", id, at.Unix())
	mac.Write(body)
	return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// signingKey is the key that a secret stands for.
func signingKey(secret string) ([]byte, error) {
	key := []byte(secret)
	if coded, ok := strings.CutPrefix(secret, "whsec_"); ok {
		var err error
		if key, err = base64.StdEncoding.DecodeString(coded); err != nil {
			return nil, errors.New("the secret is not whsec_ and base64")
		}
	}
	if len(key) < minSecret {
		return nil, fmt.Errorf("the secret has less than %d bytes", minSecret)
	}
	return key, nil
}
