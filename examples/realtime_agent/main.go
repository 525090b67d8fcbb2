// Realtime_agent is the agent of the small travel office once more, with a realtime model that hears and
// speaks itself. Run without anything, it brings its own LiveKit server, a simulated caller, and a stand-in of
// OpenAI in the process that speaks its protocol and answers by the rules of the demonstration with a local
// voice. With OPENAI_API_KEY, GOOGLE_API_KEY, XAI_API_KEY, ULTRAVOX_API_KEY or PHONIC_API_KEY it talks to the
// provider; with LIVEKIT_URL, LIVEKIT_API_KEY and LIVEKIT_API_SECRET it is a worker of that server.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"

	"github.com/parley-go/parley/agent"
	"github.com/parley-go/parley/cli"
	"github.com/parley-go/parley/examples/internal/demo"
	"github.com/parley-go/parley/examples/internal/show"
	"github.com/parley-go/parley/llm"
	"github.com/parley-go/parley/realtime"
	"github.com/parley-go/parley/report"
	"github.com/parley-go/parley/session"
	"github.com/parley-go/parley/tools"
	"github.com/parley-go/parley/worker"
)

var (
	reportPath  = flag.String("report", "report.json", "write the session report to `FILE`")
	ledgerPath  = flag.String("ledger", "", "keep what is spent in the ledger `FILE`, which outlives a killed process; see docs/usage.md")
	interactive = flag.Bool("interactive", false, "keep the embedded server up and wait for you instead of calling")
	port        = flag.Int("port", 0, "`PORT` of the embedded server; 0 takes a free one")
)

func main() {
	flag.Parse()
	d := demo.Options{Program: "realtime_agent", Interactive: *interactive, Port: *port, ReportPath: *reportPath, Models: 1}
	exitOn(d.CheckSettings())
	reports := []report.Sink{report.File(*reportPath)}
	exitOn(report.Check(reports...))
	model, here, err := pickModel()
	exitOn(err)
	o := worker.Options{Entrypoint: entrypoint(model), Reports: reports, Ledger: *ledgerPath}
	if os.Getenv("LIVEKIT_URL") != "" {
		cli.Run(o)
		return
	}
	if here != nil {
		d.Models, d.Check = 2, here.check
	}
	demo.Run(o, d)
}

// exitOn ends the program when it cannot begin.
func exitOn(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "realtime_agent:", err)
		os.Exit(2)
	}
}

// entrypoint returns what is done for each call.
func entrypoint(model *realtime.Model) func(context.Context, *worker.Job) error {
	return func(ctx context.Context, job *worker.Job) error {
		s := session.New(session.Options{Realtime: model})
		show.Session(s)
		job.OnShutdown(func(ctx context.Context, reason string) error {
			show.Usage(s.Usage())
			return nil
		})
		return s.Start(ctx, newKelly(), job.Room())
	}
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

func lookupWeather(_ context.Context, _ *agent.RunContext, in weatherArgs) (string, error) {
	return fmt.Sprintf("It will be sunny in %s, with a high of twenty two degrees.", in.Location), nil
}
