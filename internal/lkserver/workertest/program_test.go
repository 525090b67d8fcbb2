package workertest

import (
	"context"
	"os"
	"path/filepath"

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
	envLedger  = "WORKERTEST_LEDGER"  // folder of a ledger, reports and an outbox; reports go to envHook, too
	envHook    = "WORKERTEST_HOOK"
)

const (
	hookSecret = "the secret of the hook"
	noSession  = "no session" // metadata of a job that starts none
)

// program is what a user's main does. The server and the keys come from the environment.
func program() {
	s := script{
		answers: []llmscripted.Answer{{Text: "It is Friday."}},
		agent:   greets("Once upon a time there was a king who told stories that took a whole evening and more."),
	}
	reports := []report.Sink{report.File(os.Getenv(envReport))}
	ledger := ""
	if dir := os.Getenv(envLedger); dir != "" {
		ledger = filepath.Join(dir, "ledger")
		reports = []report.Sink{report.Dir(filepath.Join(dir, "reports")),
			report.Webhook(os.Getenv(envHook), report.WebhookOptions{Secret: hookSecret, Outbox: filepath.Join(dir, "outbox")})}
	}
	cli.Run(worker.Options{
		AgentName: os.Getenv(envProgram), Logger: discard(), Reports: reports, Ledger: ledger,
		Entrypoint: func(ctx context.Context, job *worker.Job) error {
			if job.Info().GetMetadata() == noSession {
				<-ctx.Done()
				return ctx.Err()
			}
			return session.New(s.options()).Start(ctx, &s.agent, job.Room())
		},
	})
}
