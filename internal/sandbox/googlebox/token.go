package googlebox

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/parley-go/parley/internal/sandbox"
)

// TokenOptions say who may have an access token.
type TokenOptions struct {
	Email   string         // of the service account
	Key     *rsa.PublicKey // its key
	Refresh string         // the refresh token of a user, with client id "id" and secret "secret"
	Life    time.Duration  // of the tokens; default 1 h
}

// Token serves POST /token, which gives the sandbox's key as the access token, and returns how often it did.
func Token(s *sandbox.Server, o TokenOptions) (count func() int) {
	if o.Life == 0 {
		o.Life = time.Hour
	}
	var n atomic.Int64
	s.HandlePlain("POST /token", func(w http.ResponseWriter, r *http.Request) {
		err := errors.New("unsupported grant type")
		switch r.PostFormValue("grant_type") {
		case "urn:ietf:params:oauth:grant-type:jwt-bearer":
			err = o.verify(r.PostFormValue("assertion"), s.URL()+"/token")
		case "refresh_token":
			if err = nil; o.Refresh == "" || r.PostFormValue("refresh_token") != o.Refresh ||
				r.PostFormValue("client_id") != "id" || r.PostFormValue("client_secret") != "secret" {
				err = errors.New("bad refresh token " + r.PostFormValue("refresh_token"))
			}
		}
		if err != nil {
			sandbox.JSON(w, http.StatusBadRequest, map[string]any{"error": "invalid_grant", "error_description": err.Error()})
			return
		}
		n.Add(1)
		sandbox.JSON(w, http.StatusOK, map[string]any{"access_token": s.Key, "expires_in": int(o.Life.Seconds()), "token_type": "Bearer"})
	})
	return func() int { return int(n.Load()) }
}

// verify checks a signed statement (RFC 7523).
func (o *TokenOptions) verify(assertion, audience string) error {
	parts := strings.Split(assertion, ".")
	if len(parts) != 3 {
		return errors.New("assertion is no JWT")
	}
	var raw [3][]byte
	for i, p := range parts {
		b, err := base64.RawURLEncoding.DecodeString(p)
		if err != nil {
			return errors.New("assertion is no JWT")
		}
		raw[i] = b
	}
	var head struct {
		Alg string `json:"alg"`
		Typ string `json:"typ"`
		Kid string `json:"kid"`
	}
	var claims struct {
		Iss   string `json:"iss"`
		Scope string `json:"scope"`
		Aud   string `json:"aud"`
		Iat   int64  `json:"iat"`
		Exp   int64  `json:"exp"`
	}
	if sandbox.Strict(raw[0], &head) != nil || sandbox.Strict(raw[1], &claims) != nil {
		return errors.New("claims cannot be read")
	}
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	now := time.Now().Unix()
	switch {
	case head.Alg != "RS256" || head.Typ != "JWT" || head.Kid == "":
		return errors.New("unsupported algorithm")
	case o.Key == nil || rsa.VerifyPKCS1v15(o.Key, crypto.SHA256, sum[:], raw[2]) != nil:
		return errors.New("invalid JWT signature")
	case claims.Iss != o.Email || claims.Aud != audience || claims.Scope != "https://www.googleapis.com/auth/cloud-platform":
		return errors.New("claims are not what they should be: " + claims.Iss)
	case claims.Iat > now+60 || claims.Exp <= now || claims.Exp-claims.Iat > 3600:
		return errors.New("token must be a short-lived token (60 minutes)")
	}
	return nil
}

// KeyFile is the key of a service account of the project "sandbox", whose tokens come from the sandbox.
func KeyFile(s *sandbox.Server, email, pem string) []byte {
	b, err := json.Marshal(map[string]any{
		"type": "service_account", "project_id": "sandbox", "private_key_id": "kid", "private_key": pem, "client_email": email,
		"client_id": "1", "token_uri": s.URL() + "/token",
	})
	if err != nil {
		panic(err) // of our own types
	}
	return b
}
