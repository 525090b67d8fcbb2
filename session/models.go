package session

import (
	"errors"
	"fmt"

	"github.com/parley-go/parley/llm"
	"github.com/parley-go/parley/stt"
	"github.com/parley-go/parley/tts"
)

// Models are names of models, "" for none.
type Models struct {
	STT string // e.g. "deepgram/nova-3", or with a language "deepgram/nova-3:en"
	LLM string // e.g. "openai/gpt-4.1-mini"
	TTS string // e.g. "cartesia/sonic-3", or with a voice "cartesia/sonic-3:9626c31c-bec5-4cca-baa8-f8ba9e84c8bc"
}

// Gateway makes models of names. livekit.Gateway of plugins/livekit is one. Its methods are called by
// Session.Start and may be called concurrently.
type Gateway interface {
	STT(name string) (*stt.Model, error)
	LLM(name string) (*llm.Model, error)
	TTS(name string) (*tts.Model, error)
}

// resolveModels makes the models that the options name. They belong to the run.
func (r *run) resolveModels() error {
	o := *r.opt
	if o.Models == (Models{}) {
		return nil
	}
	if isNil(o.Gateway) {
		return fmt.Errorf("Options.Models names models, %+v, but Options.Gateway, which makes them, is not set", o.Models)
	}
	err := errors.Join(
		resolve("STT", o.Models.STT, &o.STT, o.Gateway.STT),
		resolve("LLM", o.Models.LLM, &o.LLM, o.Gateway.LLM),
		resolve("TTS", o.Models.TTS, &o.TTS, o.Gateway.TTS),
	)
	r.ask(func() { r.opt = &o })
	return err
}

// resolve sets model to the one with the name, unless that is "".
func resolve[M any](kind, name string, model **M, make func(string) (*M, error)) error {
	if name == "" {
		return nil
	}
	if *model != nil {
		return fmt.Errorf("both Options.%s and Options.Models.%s are set", kind, kind)
	}
	m, err := make(name)
	if err == nil && m == nil {
		err = errors.New("the gateway made none")
	}
	if err != nil {
		return fmt.Errorf("%s model %q: %w", kind, name, err)
	}
	*model = m
	return nil
}

// closeModels closes the models that the run has made. Nothing uses them any more.
func (r *run) closeModels() {
	var err error
	if m := r.opt.LLM; m != r.s.opt.LLM {
		err = m.Close()
	}
	if m := r.opt.TTS; m != r.s.opt.TTS {
		err = errors.Join(err, m.Close())
	}
	if err != nil {
		r.log.Warn("closing models failed", "err", err)
	}
}
