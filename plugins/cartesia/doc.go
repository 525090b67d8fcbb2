// Package cartesia has Cartesia's models: text to speech (Sonic) and speech to text (Ink).
//
// All take their key from CARTESIA_API_KEY and their base URL from CARTESIA_BASE_URL, unless their
// options say otherwise. Protocol: https://docs.cartesia.ai/api-reference
package cartesia

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/parley-go/parley/internal/wire"
	"github.com/parley-go/parley/model"
)

const (
	defaultBase = "https://api.cartesia.ai"
	apiVersion  = "2025-04-16"
)

// service is what all drivers have: who they are, and where Cartesia is.
type service struct {
	wire.Client
	base *url.URL
	head http.Header
}

func newService(options, label, kind, name, key, base string) (service, error) {
	key, err := wire.Key("cartesia", options+".APIKey", key, "CARTESIA_API_KEY")
	if err != nil {
		return service{}, err
	}
	s := service{head: http.Header{"X-Api-Key": {key}, "Cartesia-Version": {apiVersion}}}
	if s.base, err = wire.Base("cartesia", base, defaultBase, "CARTESIA_BASE_URL"); err != nil {
		return service{}, err
	}
	s.Peer = wire.Peer{Info: model.Info{Label: label, Provider: "cartesia", Model: name}, Kind: kind, Secrets: []string{key}}
	return s, nil
}

// Info says who does the work.
func (s *service) Info() model.Info { return s.Client.Info }

// short is the language of a BCP-47 tag without its region.
func short(language string) string {
	l, _, _ := strings.Cut(language, "-")
	return strings.ToLower(l)
}
