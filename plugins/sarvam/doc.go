// Package sarvam has Sarvam AI's models for the languages of India: text to speech (Bulbul) and speech
// to text (Saaras, for whole utterances).
//
// Both take their key from SARVAM_API_KEY and their base URL from SARVAM_BASE_URL, unless their options
// say otherwise. Protocol: https://docs.sarvam.ai/api-reference. It was written from the documentation
// and from what other clients do, and has met the sandboxes only, not the service. Not verified are the
// codes in error messages of the websocket, which are taken for statuses of HTTP where they can be, and
// that the end of a speech is told once for each flush.
//
// Sarvam's websockets for speech to text are left out: the older one does not tell when its last
// transcript has come, and the newer one needs an invitation.
package sarvam

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/parley-go/parley/internal/wire"
	"github.com/parley-go/parley/model"
)

const defaultBase = "https://api.sarvam.ai"

// service is what both drivers have: who they are, and where Sarvam is.
type service struct {
	wire.Client
	base *url.URL
	head http.Header
}

func newService(options, label, kind, name, key, base string) (service, error) {
	key, err := wire.Key("sarvam", options+".APIKey", key, "SARVAM_API_KEY")
	if err != nil {
		return service{}, err
	}
	s := service{head: http.Header{"Api-Subscription-Key": {key}}}
	if s.base, err = wire.Base("sarvam", base, defaultBase, "SARVAM_BASE_URL"); err != nil {
		return service{}, err
	}
	s.Peer = wire.Peer{Info: model.Info{Label: label, Provider: "sarvam", Model: name}, Kind: kind, Secrets: []string{key}}
	return s, nil
}

// Info says who does the work.
func (s *service) Info() model.Info { return s.Client.Info }

// language is the name that Sarvam has for the language of a tag: all are those of India.
func language(tag string) string {
	l, _, _ := strings.Cut(strings.ToLower(tag), "-")
	switch l {
	case "", "unknown":
		return l
	case "or": // Odia
		l = "od"
	}
	return l + "-IN"
}
