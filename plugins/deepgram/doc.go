// Package deepgram has Deepgram's models: speech to text (Nova, live and of recordings; Flux, which
// also says when a turn is over) and text to speech (Aura).
//
// All take their key from DEEPGRAM_API_KEY and their base URL from DEEPGRAM_BASE_URL, unless their
// options say otherwise. Protocol: https://developers.deepgram.com/reference
package deepgram

import (
	"context"
	"fmt"
	"net/http"
	"net/url"

	"github.com/parley-go/parley/internal/wire"
	"github.com/parley-go/parley/model"
)

const (
	defaultBase = "https://api.deepgram.com"
	// maxTag is how long a tag may be.
	maxTag = 128
)

// service is what all drivers have: who they are, and where Deepgram is.
type service struct {
	wire.Client
	base *url.URL
	head http.Header
}

func newService(options, label, kind, name, key, base string) (service, error) {
	key, err := wire.Key("deepgram", options+".APIKey", key, "DEEPGRAM_API_KEY")
	if err != nil {
		return service{}, err
	}
	s := service{head: http.Header{"Authorization": {"Token " + key}}}
	if s.base, err = wire.Base("deepgram", base, defaultBase, "DEEPGRAM_BASE_URL"); err != nil {
		return service{}, err
	}
	s.Peer = wire.Peer{Info: model.Info{Label: label, Provider: "deepgram", Model: name}, Kind: kind, Secrets: []string{key}}
	return s, nil
}

// Info says who does the work.
func (s *service) Info() model.Info { return s.Client.Info }

// open opens a websocket for one stream.
func (s *service) open(ctx context.Context, o wire.SocketOptions) (*wire.Socket, error) {
	o.Header, o.Reason = s.head, s.reason("transcribe")
	return wire.Single(ctx, &s.Peer, o)
}

// reason finds the error that a message states.
func (s *service) reason(op string) func([]byte) error {
	return wire.Reason(func(m *struct {
		Type string `json:"type"`
		failure
	}) error {
		return m.err(&s.Peer, op, m.Type)
	})
}

func checkTags(tags []string) error {
	for _, t := range tags {
		if len(t) > maxTag {
			return fmt.Errorf("deepgram: a tag has %d bytes: at most %d are allowed", len(t), maxTag)
		}
	}
	return nil
}
