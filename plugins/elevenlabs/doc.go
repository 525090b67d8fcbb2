// Package elevenlabs has ElevenLabs' models: text to speech over a websocket that several speeches
// share, and speech to text with Scribe, live and of recordings.
//
// All take their key from ELEVEN_API_KEY or ELEVENLABS_API_KEY, and their base URL from
// ELEVEN_BASE_URL, unless their options say otherwise. Protocol: https://elevenlabs.io/docs/api-reference
package elevenlabs

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/parley-go/parley/internal/wire"
	"github.com/parley-go/parley/model"
)

const defaultBase = "https://api.elevenlabs.io/v1"

// service is what all drivers have: who they are, and where ElevenLabs is.
type service struct {
	wire.Client
	base *url.URL
	head http.Header
}

func newService(options, label, kind, name, key, base string) (service, error) {
	key, err := wire.Key("elevenlabs", options+".APIKey", key, "ELEVEN_API_KEY", "ELEVENLABS_API_KEY")
	if err != nil {
		return service{}, err
	}
	s := service{head: http.Header{"Xi-Api-Key": {key}}}
	if s.base, err = wire.Base("elevenlabs", base, defaultBase, "ELEVEN_BASE_URL"); err != nil {
		return service{}, err
	}
	s.Peer = wire.Peer{Info: model.Info{Label: label, Provider: "elevenlabs", Model: name}, Kind: kind, Secrets: []string{key}}
	return s, nil
}

// Info says who does the work.
func (s *service) Info() model.Info { return s.Client.Info }

// stated is the error that the provider names by a word. status may be 0.
func (s *service) stated(op, name, message string, status int) error {
	text := name
	if message != "" && message != name {
		text += ": " + message
	}
	e := s.Status(op, status, text)
	if status == 0 {
		e.Kind = model.KindProtocol
	}
	e.Permanent = slices.Contains(hopeless, name)
	return e
}

// hopeless are the names of errors that come again however often one tries.
var hopeless = []string{
	"auth_error", "authentication_error", "invalid_api_key", "missing_permissions", "quota_exceeded", "insufficient_credits",
	"unaccepted_terms", "input_error", "invalid_request", "chunk_size_exceeded", "voice_not_found", "model_not_found",
}

// short is the language of a BCP-47 tag without its region.
func short(language string) string {
	l, _, _ := strings.Cut(language, "-")
	return strings.ToLower(l)
}
