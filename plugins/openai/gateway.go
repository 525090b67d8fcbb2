package openai

import (
	"context"
	"net/http"
	"strings"

	"github.com/parley-go/parley/internal/wire"
	"github.com/parley-go/parley/model"
)

// Gateway is a service that offers models of others in OpenAI's protocol, such as LiveKit Inference or
// a proxy of one's own.
type Gateway struct {
	// Info is the name in usage, metrics and errors.
	Info model.Info
	// Authorize adds the credentials to the header of a request; nil for none. It may be called
	// concurrently.
	Authorize func(ctx context.Context, h http.Header) error
	// Refusal reads what the gateway says about a request that it refuses besides a message, such as
	// quotas, for the error; permanent says that trying again cannot help. nil for nothing.
	Refusal func(status int, h http.Header, body []byte) (more string, permanent bool)
	// Secrets are cut out of everything that the gateway says in errors.
	Secrets []string
}

// behind makes e an endpoint of a gateway. It speaks the part of OpenAI's dialect that everybody knows.
func (e *endpoint) behind(a account) {
	g := a.gateway
	e.authorize = g.Authorize
	e.developer = false
	e.Client = wire.Client{
		Peer: wire.Peer{Info: g.Info, Kind: a.kind, Secrets: g.Secrets, Refusal: g.Refusal},
		HTTP: a.http,
	}
}

// sign adds the credentials that are made for a request.
func (e *endpoint) sign(ctx context.Context, h http.Header) error {
	if e.authorize == nil {
		return nil
	}
	return e.authorize(ctx, h)
}

// name is the model's name at OpenAI.
func (e *endpoint) name() string { return strings.TrimPrefix(e.model, "openai/") }
