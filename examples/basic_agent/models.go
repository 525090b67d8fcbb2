package main

import (
	"fmt"
	"os"
	"slices"

	"github.com/parley-go/parley/llm"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/plugins/anthropic"
	"github.com/parley-go/parley/plugins/assemblyai"
	"github.com/parley-go/parley/plugins/cartesia"
	"github.com/parley-go/parley/plugins/deepgram"
	"github.com/parley-go/parley/plugins/elevenlabs"
	"github.com/parley-go/parley/plugins/flite"
	"github.com/parley-go/parley/plugins/google"
	"github.com/parley-go/parley/plugins/moonshine"
	"github.com/parley-go/parley/plugins/openai"
	"github.com/parley-go/parley/plugins/rime"
	"github.com/parley-go/parley/plugins/rules"
	"github.com/parley-go/parley/plugins/soniox"
	"github.com/parley-go/parley/session"
	"github.com/parley-go/parley/stt"
	"github.com/parley-go/parley/tts"
)

// choice is a model that is taken when the variable with its key is set.
type choice[M any] struct {
	key string
	new func() (M, error)
}

// Each part goes to the first provider whose key is set, and stays on this machine without one.
var (
	llms = []choice[*llm.Model]{
		{"OPENAI_API_KEY", func() (*llm.Model, error) { return openai.NewLLM(nil) }},
		{"ANTHROPIC_API_KEY", func() (*llm.Model, error) { return anthropic.NewLLM(nil) }},
		{"GOOGLE_API_KEY", func() (*llm.Model, error) { return google.NewLLM(nil) }},
		{"GROQ_API_KEY", func() (*llm.Model, error) { return openai.NewLLM(&openai.LLMOptions{Service: openai.Groq}) }},
	}
	stts = []choice[*stt.Model]{
		{"DEEPGRAM_API_KEY", func() (*stt.Model, error) { return deepgram.NewSTT(nil) }},
		{"ASSEMBLYAI_API_KEY", func() (*stt.Model, error) { return assemblyai.NewSTT(nil) }},
		{"SONIOX_API_KEY", func() (*stt.Model, error) { return soniox.NewSTT(nil) }},
	}
	ttss = []choice[*tts.Model]{
		{"CARTESIA_API_KEY", func() (*tts.Model, error) { return cartesia.NewTTS(nil) }},
		{"ELEVEN_API_KEY", func() (*tts.Model, error) { return elevenlabs.NewTTS(nil) }},
		{"RIME_API_KEY", func() (*tts.Model, error) { return rime.NewTTS(nil) }},
	}
)

// pick takes the first of list whose key is set, else local, and says so.
func pick[M interface{ Info() model.Info }](part string, list []choice[M], local func() M) (M, error) {
	i := slices.IndexFunc(list, func(c choice[M]) bool { return os.Getenv(c.key) != "" })
	if i < 0 {
		m := local()
		fmt.Printf("%s: %s %s\n", part, m.Info().Provider, m.Info().Model)
		return m, nil
	}
	m, err := list[i].new()
	if err == nil {
		fmt.Printf("%s: %s %s, since %s is set\n", part, m.Info().Provider, m.Info().Model, list[i].key)
	}
	return m, err
}

// pickModels chooses the parts of the conversation.
func pickModels() (o session.Options, err error) {
	if o.STT, err = pick("stt", stts, func() *stt.Model { return moonshine.New(nil) }); err != nil {
		return o, err
	}
	if o.LLM, err = pick("llm", llms, func() *llm.Model { return rules.New(nil) }); err != nil {
		return o, err
	}
	o.TTS, err = pick("tts", ttss, func() *tts.Model { return flite.New(nil) })
	return o, err
}
