// Basic_agent is a voice agent on the telephone of a small travel office. Run without anything, it
// brings its own LiveKit server, local models and a simulated caller, and holds a conversation. With
// LIVEKIT_URL, LIVEKIT_API_KEY and LIVEKIT_API_SECRET it is a worker of that server.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/parley-go/parley/agent"
	"github.com/parley-go/parley/background"
	"github.com/parley-go/parley/cli"
	"github.com/parley-go/parley/examples/internal/demo"
	"github.com/parley-go/parley/examples/internal/show"
	"github.com/parley-go/parley/llm"
	"github.com/parley-go/parley/plugins/silero"
	"github.com/parley-go/parley/report"
	"github.com/parley-go/parley/session"
	"github.com/parley-go/parley/tools"
	"github.com/parley-go/parley/vad"
	"github.com/parley-go/parley/worker"
)

var (
	reportPath  = flag.String("report", "report.json", "write the session report to `FILE`")
	ledgerPath  = flag.String("ledger", "", "keep what is spent in the ledger `FILE`, which outlives a killed process; see docs/usage.md")
	interactive = flag.Bool("interactive", false, "keep the embedded server up and wait for you instead of calling")
	port        = flag.Int("port", 0, "`PORT` of the embedded server; 0 takes a free one")
	sounds      = flag.Bool("background", false, "let the caller hear a room around the agent, and typing while it thinks")
	vadModel    = flag.String("vad-model", "", "Silero ONNX `FILE` to use instead of the embedded one")
)

func main() {
	flag.Parse()
	d := demo.Options{Program: "basic_agent", Interactive: *interactive, Port: *port, ReportPath: *reportPath, Models: 3}
	exitOn(d.CheckSettings())
	reports := []report.Sink{report.File(*reportPath)}
	exitOn(report.Check(reports...))
	detector, err := silero.NewDetector(&silero.Options{ModelPath: *vadModel})
	exitOn(err)
	// The models are made once and shared by all calls.
	models, err := pickModels()
	exitOn(err)
	models.VAD = vad.New(detector)
	o := worker.Options{Entrypoint: entrypoint(models), Reports: reports, Ledger: *ledgerPath}
	if os.Getenv("LIVEKIT_URL") != "" {
		cli.Run(o) // all that an agent of yours needs
	} else {
		demo.Run(o, d)
	}
}

// exitOn ends the program when it cannot begin.
func exitOn(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "basic_agent:", err)
		os.Exit(2)
	}
}

// entrypoint returns what is done for each call.
func entrypoint(models session.Options) func(context.Context, *worker.Job) error {
	return func(ctx context.Context, job *worker.Job) error {
		s := session.New(models)
		show.Session(s)
		if *sounds {
			if err := background.New(office).Start(ctx, s, job.Room()); err != nil {
				return err
			}
		}
		job.OnShutdown(func(ctx context.Context, reason string) error {
			show.Usage(s.Usage())
			return nil
		})
		return s.Start(ctx, newKelly(), job.Room())
	}
}

// office is what is heard behind Kelly.
var office = background.Options{
	Ambient:  []background.Sound{{Source: background.RoomTone()}},
	Thinking: []background.Sound{{Source: background.Typing(), FadeOut: 100 * time.Millisecond}},
}

func newKelly() *agent.Agent {
	return &agent.Agent{
		ID:           "kelly",
		Instructions: "Your name is Kelly. You work for a travel office. Keep your answers short.",
		Tools: []llm.Tool{
			llm.NewTool("lookup_weather", "Look up the weather for a place the user names.", lookupWeather),
			tools.EndCall(nil),
		},
		OnEnter: func(ctx context.Context, rc *agent.RunContext) error {
			rc.Session().GenerateReply(agent.Reply{Instructions: "Greet the user."})
			return nil
		},
	}
}

type weatherArgs struct {
	Location string `json:"location" jsonschema:"the city or region asked about"`
}

func lookupWeather(ctx context.Context, rc *agent.RunContext, in weatherArgs) (string, error) {
	select {
	case <-time.After(300 * time.Millisecond): // a real one would ask a weather service
	case <-ctx.Done():
		return "", ctx.Err()
	}
	return fmt.Sprintf("It will be sunny in %s, with a high of twenty two degrees.", in.Location), nil
}
