// Hello is the smallest whole agent: a worker that greets whoever comes, answers, and looks up the
// weather. It needs LIVEKIT_URL, LIVEKIT_API_KEY and LIVEKIT_API_SECRET.
package main

import (
	"context"
	"log"

	"github.com/parley-go/parley/agent"
	"github.com/parley-go/parley/cli"
	"github.com/parley-go/parley/llm"
	"github.com/parley-go/parley/plugins/flite"
	"github.com/parley-go/parley/plugins/moonshine"
	"github.com/parley-go/parley/plugins/rules"
	"github.com/parley-go/parley/plugins/silero"
	"github.com/parley-go/parley/session"
	"github.com/parley-go/parley/worker"
)

var models = session.Options{VAD: silero.New(nil), STT: moonshine.New(nil), LLM: rules.New(nil), TTS: flite.New(nil)}

func main() { cli.Run(worker.Options{Entrypoint: entrypoint}) }

func entrypoint(ctx context.Context, job *worker.Job) error {
	s := session.New(models)
	job.OnShutdown(func(context.Context, string) error { log.Println("spent:", s.Usage()); return nil })
	return s.Start(ctx, &agent.Agent{
		Instructions: "Your name is Kelly. Keep your answers short.",
		Tools:        []llm.Tool{llm.NewTool("lookup_weather", "Look up the weather for a place.", lookupWeather)},
		OnEnter: func(_ context.Context, rc *agent.RunContext) error {
			rc.Session().GenerateReply(agent.Reply{Instructions: "Greet the user."})
			return nil
		},
	}, job.Room())
}

func lookupWeather(_ context.Context, _ *agent.RunContext, in struct {
	Location string `json:"location" jsonschema:"the city or region asked about"`
}) (string, error) {
	return "Sunny in " + in.Location + ".", nil
}
