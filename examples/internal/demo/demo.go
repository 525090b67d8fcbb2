// Package demo gives an agent what it lacks on a bare machine: a LiveKit server in the process, and
// somebody who calls.
package demo

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/parley-go/parley/cli"
	"github.com/parley-go/parley/internal/lkserver"
	"github.com/parley-go/parley/report"
	"github.com/parley-go/parley/session"
	"github.com/parley-go/parley/worker"
)

// Options say what kind of demonstration it is.
type Options struct {
	Interactive bool   // wait for a human caller instead of simulating one
	Port        int    // of the embedded server; 0 takes a free one
	ReportPath  string // where the report goes, to tell the user
	Program     string // name, for errors
	Models      int    // that must have been used
	// Check, if set, says what else is wrong with the report of the call.
	Check func(*session.Report) error
}

// CheckSettings refuses what would be ignored. The flags are parsed.
func (d Options) CheckSettings() error {
	server := os.Getenv("LIVEKIT_URL") != ""
	switch {
	case flag.NArg() > 0:
		return fmt.Errorf("unexpected argument %q; see -help", flag.Arg(0))
	case server && (d.Interactive || d.Port != 0):
		return errors.New("-interactive and -port are for the embedded server, but LIVEKIT_URL names another one")
	case !server && os.Getenv("LIVEKIT_API_KEY") != "":
		return errors.New("LIVEKIT_API_KEY is set, but LIVEKIT_URL is not; unset it for the demonstration with the embedded server")
	}
	return nil
}

const (
	roomName  = "demo"
	callLimit = 80 * time.Second // a simulated call that takes longer has gone wrong
	endLimit  = 20 * time.Second
)

// Run runs the worker of o against an embedded server and does not return. Exit status: 0 when the
// conversation was held or the user stopped it, 1 when it was not, 2 when it could not begin.
func Run(o worker.Options, d Options) {
	ctx, stop := cli.Interruptible(context.Background())
	code, err := run(ctx, o, d)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, d.Program+":", err)
	}
	os.Exit(code)
}

func run(ctx context.Context, o worker.Options, d Options) (code int, err error) {
	// What the worker logs in passing would drown the conversation.
	o.Logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	server, err := lkserver.Start(ctx, lkserver.Options{Port: d.Port})
	if err != nil {
		return 2, err
	}
	defer server.Stop()
	o.URL, o.APIKey, o.APISecret = server.URL(), server.APIKey(), server.APISecret()

	reports := make(chan *session.Report, 1) // the first one counts; later ones are dropped
	var came atomic.Bool
	o.Reports = append(o.Reports, report.Func("demo", func(_ context.Context, r *session.Report) error {
		if r.Recovered {
			return nil // of a call before this one, which a killed process left in the ledger
		}
		came.Store(true)
		select {
		case reports <- r:
		default:
		}
		return nil
	}))
	w, err := worker.New(o)
	if err != nil {
		return 2, err
	}
	workerCtx, stopWorker := context.WithCancel(ctx)
	defer stopWorker()
	served := make(chan error, 1) // one result
	go func() { served <- w.Run(workerCtx) }()
	select {
	case <-w.Registered():
	case err := <-served:
		return 1, fmt.Errorf("worker did not register: %w", err)
	case <-ctx.Done():
		return 1, errors.New("stopped before the call began")
	}
	if d.Interactive {
		err = invite(ctx, server)
	} else {
		err = simulate(ctx, server, reports, d)
	}
	stopWorker() // ends the jobs in order; their reports come before Run returns
	if serr := <-served; err == nil {
		err = serr
	}
	if path, abs := filepath.Abs(d.ReportPath); abs == nil && came.Load() {
		fmt.Println("\nreport:", path)
	}
	if err != nil {
		return 1, err
	}
	return 0, nil
}

// invite prints how to join and waits until the user stops it.
func invite(ctx context.Context, server *lkserver.Server) error {
	token, err := server.Token("you", roomName)
	if err != nil {
		return err
	}
	fmt.Printf("LiveKit server: %s\n", server.URL())
	fmt.Printf("join with:      https://meet.livekit.io/custom?liveKitUrl=%s&token=%s\n", server.URL(), token)
	fmt.Printf("token:          %s\n", token)
	fmt.Println("stop with ctrl-C")
	<-ctx.Done()
	return nil
}

// simulate has the scripted caller call, and checks that a conversation came about.
func simulate(ctx context.Context, server *lkserver.Server, reports <-chan *session.Report, d Options) error {
	callCtx, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	called := make(chan error, 1) // one result
	go func() { called <- call(callCtx, server) }()
	var rep *session.Report
	var callErr error
	select {
	case callErr = <-called:
		rep = await(ctx, reports)
	case rep = <-reports: // the agent has gone; the caller notices in a moment
		cancel()
		<-called
	}
	switch {
	case ctx.Err() != nil:
		return nil // the user stopped it
	case rep == nil:
		return fmt.Errorf("the conversation did not happen: the agent left no report: %w", callErr)
	case rep.JobError != nil:
		return fmt.Errorf("the conversation did not happen: %w", rep.JobError)
	case rep.CloseError != nil:
		return fmt.Errorf("the conversation did not happen: %w", rep.CloseError)
	}
	if callErr != nil {
		return fmt.Errorf("the conversation did not happen: %w", callErr)
	}
	if err := check(rep, d); err != nil {
		return fmt.Errorf("the conversation did not happen: %w", err)
	}
	return nil
}

// await waits for the report of a call that is over; nil when there is none.
func await(ctx context.Context, reports <-chan *session.Report) *session.Report {
	t := time.NewTimer(endLimit)
	defer t.Stop()
	select {
	case rep := <-reports:
		return rep
	case <-t.C:
	case <-ctx.Done():
	}
	return nil
}
