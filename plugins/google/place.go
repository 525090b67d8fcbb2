package google

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"

	"github.com/parley-go/parley/internal/wire"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/opt"
)

const (
	studioBase      = "https://generativelanguage.googleapis.com"
	defaultLocation = "us-central1"
	// clientName tells Google who asks.
	clientName = "parley"
)

// access is who asks Gemini, by a key of AI Studio or on Vertex AI: the options that its models share.
type access struct {
	options           string // their name, for errors
	kind, label       string
	key, base, model  string
	vertex            bool
	project, location string
	credentials       Credentials
	header            http.Header
	http              *http.Client
}

// place is where a model is, and who asks.
type place struct {
	client wire.Client
	base   *url.URL
	name   string // of the model, in requests
	header http.Header
	tokens *tokens // on Vertex AI, else nil
}

// onVertex reports whether Vertex AI is to be used.
func onVertex(o opt.Value[bool]) bool {
	on, _ := strconv.ParseBool(os.Getenv("GOOGLE_GENAI_USE_VERTEXAI"))
	return o.Default(on)
}

func (a access) place() (*place, error) {
	p := &place{header: http.Header{"Content-Type": {"application/json"}, "X-Goog-Api-Client": {clientName}}}
	maps.Copy(p.header, a.header)
	p.client = wire.Client{
		Peer: wire.Peer{Info: model.Info{Label: a.label, Provider: "google", Model: a.model}, Kind: a.kind},
		HTTP: a.http,
	}
	if a.vertex {
		return p, p.onVertex(a)
	}
	return p, p.inStudio(a)
}

// inStudio sets up for AI Studio.
func (p *place) inStudio(a access) (err error) {
	key, err := wire.Key("google", a.options+".APIKey", a.key, "GOOGLE_API_KEY", "GEMINI_API_KEY")
	if err != nil {
		return err
	}
	p.header.Set("X-Goog-Api-Key", key)
	p.client.Secrets = []string{key}
	if p.name = a.model; !strings.Contains(a.model, "/") {
		p.name = "models/" + a.model
	}
	p.base, err = wire.Base("google", a.base, studioBase, "GOOGLE_GEMINI_BASE_URL")
	return err
}

// onVertex sets up for Vertex AI.
func (p *place) onVertex(a access) (err error) {
	p.client.Info.Provider = "google-vertex"
	if p.tokens, err = newTokens(a.credentials); err != nil {
		return err
	}
	project := cmp.Or(a.project, os.Getenv("GOOGLE_CLOUD_PROJECT"), p.tokens.project)
	if project == "" {
		return errors.New("google: no project: set " + a.options + ".Project or GOOGLE_CLOUD_PROJECT")
	}
	location := cmp.Or(a.location, os.Getenv("GOOGLE_CLOUD_LOCATION"), defaultLocation)
	host := "https://" + location + "-aiplatform.googleapis.com"
	if location == "global" {
		host = "https://aiplatform.googleapis.com"
	}
	p.name = a.model
	switch {
	case strings.HasPrefix(p.name, "projects/"):
	case strings.Contains(p.name, "/"):
		p.name = "projects/" + project + "/locations/" + location + "/" + p.name
	default:
		p.name = "projects/" + project + "/locations/" + location + "/publishers/google/models/" + p.name
	}
	p.base, err = wire.Base("google", a.base, host, "GOOGLE_VERTEX_BASE_URL")
	return err
}

// authorized is the header of a request, and the client for it.
func (p *place) authorized(ctx context.Context) (*wire.Client, http.Header, error) {
	h := p.header.Clone()
	if p.tokens == nil {
		return &p.client, h, nil
	}
	client, err := p.tokens.authorize(ctx, &p.client, h)
	return client, h, err
}
