package workertest

import (
	"context"
	"os"

	"github.com/parley-go/parley/cli"
	llmscripted "github.com/parley-go/parley/llm/scripted"
	"github.com/parley-go/parley/report"
	"github.com/parley-go/parley/session"
	"github.com/parley-go/parley/worker"
)

// The environment of the test binary when it is the program of a user.
const (
	envProgram = "WORKERTEST_PROGRAM" // the name of the agent
	envReport  = "WORKERTEST_REPORT"  // where the report goes
)

// program is what a user's main does. The server and the keys come from the environment.
func program() {
	s := script{
		answers: []llmscripted.Answer{{Text: "It is Friday."}},
		agent:   greets("Once upon a time there was a king who told stories that took a whole evening and more."),
	}
	cli.Run(worker.Options{
		AgentName: os.Getenv(envProgram), Logger: discard(), Reports: []report.Sink{report.File(os.Getenv(envReport))},
		Entrypoint: func(ctx context.Context, job *worker.Job) error {
			return session.New(s.options()).Start(ctx, &s.agent, job.Room())
		},
	})
}
