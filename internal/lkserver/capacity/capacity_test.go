package capacity

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/parley-go/parley/internal/lkserver"
	"github.com/parley-go/parley/internal/lkserver/alone"
)

var (
	sessions = flag.Int("sessions", 20, "how many calls there are at the same time")
	window   = flag.Duration("window", 20*time.Second, "how long they are watched")
)

func TestMain(m *testing.M) {
	if os.Getenv(envAgents) != "" {
		agents() // does not return
	}
	os.Exit(m.Run())
}

// release is kept since the lock goes with it; the process has it to its end.
var release func()

// startServer starts the one server of the process, while no other benchmark or test has one.
var startServer = sync.OnceValues(func() (*lkserver.Server, error) {
	var err error
	if release, err = alone.Wait(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	return lkserver.Start(ctx, lkserver.Options{LogLevel: "fatal"})
})

// program is a child that is told things on its standard input, and answers on its standard output.
type program struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

func start(b *testing.B, s *lkserver.Server, path string, env ...string) *program {
	b.Helper()
	p := &program{cmd: exec.CommandContext(b.Context(), path)}
	p.cmd.Env = append(os.Environ(), "LIVEKIT_URL="+s.URL(), "LIVEKIT_API_KEY="+s.APIKey(), "LIVEKIT_API_SECRET="+s.APISecret())
	p.cmd.Env = append(p.cmd.Env, env...)
	p.cmd.Stderr = os.Stderr
	in, err := p.cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	p.in, p.out = in, bufio.NewReader(out)
	if err := p.cmd.Start(); err != nil {
		b.Fatal(err)
	}
	return p
}

// end has the program end, and waits for it.
func (p *program) end(b *testing.B) {
	b.Helper()
	_ = p.in.Close()
	if err := p.cmd.Wait(); err != nil {
		b.Fatal(err)
	}
}

// ask returns the figures of the agents. With collect they collect their garbage before.
func (p *program) ask(b *testing.B, collect bool) (f figures) {
	b.Helper()
	q := "now"
	if collect {
		q = "collect"
	}
	if _, err := fmt.Fprintln(p.in, q); err != nil {
		b.Fatal(err)
	}
	line, err := p.out.ReadBytes('\n')
	if err != nil {
		b.Fatal(err)
	}
	if err := json.Unmarshal(line, &f); err != nil {
		b.Fatal(err)
	}
	return f
}

// BenchmarkSessions is what conversations cost their worker: rooms, codec, sessions, but no models. Every
// caller is heard all the time and speaks for a quarter of it; agents speak for half of it.
func BenchmarkSessions(b *testing.B) {
	srv, err := startServer()
	if err != nil {
		b.Fatal(err)
	}
	for range b.N { // not b.Loop: one round takes as long as it is told to
		load(b, srv)
	}
}

func load(b *testing.B, srv *lkserver.Server) {
	packets, err := utterance()
	if err != nil {
		b.Fatal(err)
	}
	name := fmt.Sprint("agents-", time.Now().UnixNano())
	p := start(b, srv, os.Args[0], envAgents+"="+name)
	before := p.ask(b, true)
	ctx, cancel := context.WithCancel(b.Context())
	var wg sync.WaitGroup
	var all []*caller
	for i := range *sessions {
		token, err := srv.Token("ann", fmt.Sprint(name, "-", i), lkserver.Dispatch(name, ""))
		if err != nil {
			b.Fatal(err)
		}
		c, err := dial(srv.URL(), token)
		if err != nil {
			b.Fatal(err)
		}
		all = append(all, c)
		wg.Go(func() {
			if err := c.speak(ctx, packets); err != nil {
				b.Error(err)
			}
		})
	}
	for end := time.Now().Add(time.Minute); p.ask(b, false).Sessions < *sessions; time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			b.Fatal("not all sessions have begun")
		}
	}
	time.Sleep(round) // each has spoken once
	count := func(f func(c *caller) int64) (n int64) {
		for _, c := range all {
			n += f(c)
		}
		return n
	}
	heard, lost := (*caller).heardNow, (*caller).lostNow
	from, began, got, missed := p.ask(b, true), time.Now(), count(heard), count(lost)
	time.Sleep(*window)
	took := time.Since(began)
	to := p.ask(b, false)
	got, missed = count(heard)-got, count(lost)-missed
	memory := p.ask(b, true)
	cancel()
	wg.Wait()
	for _, c := range all {
		c.room.Disconnect()
	}
	p.end(b)

	n := float64(*sessions)
	cores := (to.CPU - from.CPU).Seconds() / took.Seconds()
	const mib = 1 << 20
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(cores, "cores")
	b.ReportMetric(2*n/cores, "sessions/2cores")
	b.ReportMetric(float64(to.RSS-before.RSS)/n/mib, "MiB/session")
	b.ReportMetric(float64(memory.Heap-before.Heap)/n/mib, "heap-MiB/session")
	b.ReportMetric(float64(got)/n/took.Seconds(), "packets/s")
	b.ReportMetric(100*float64(missed)/float64(max(got+missed, 1)), "lost-%")
	turns := to.Turns[len(from.Turns):]
	slices.Sort(turns)
	b.ReportMetric(float64(len(turns))/n/took.Seconds()*round.Seconds(), "turns/round")
	if len(turns) > 0 {
		b.ReportMetric(turns[len(turns)/2].Seconds(), "turn-p50-s")
		b.ReportMetric(turns[len(turns)*99/100].Seconds(), "turn-p99-s")
	}
}

func (c *caller) heardNow() int64 { return c.heard.Load() }
func (c *caller) lostNow() int64  { return c.lost.Load() }

// BenchmarkReady is the time from the start of a worker's process until it is registered with the server.
func BenchmarkReady(b *testing.B) {
	srv, err := startServer()
	if err != nil {
		b.Fatal(err)
	}
	path := filepath.Join(b.TempDir(), "ready")
	build := exec.Command("go", "build", "-o", path, "./ready")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	var all []time.Duration
	for b.Loop() {
		began := time.Now()
		p := start(b, srv, path)
		line, err := p.out.ReadString('\n')
		all = append(all, time.Since(began))
		if err != nil || line != "ready\n" {
			b.Fatalf("says %q: %v", line, err)
		}
		b.StopTimer()
		p.end(b)
		b.StartTimer()
	}
	slices.Sort(all)
	b.ReportMetric(float64(all[len(all)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(all[0].Microseconds())/1000, "best-ms")
}
