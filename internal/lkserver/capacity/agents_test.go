package capacity

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/parley-go/parley/agent"
	"github.com/parley-go/parley/llm"
	"github.com/parley-go/parley/llm/driver"
	llmscripted "github.com/parley-go/parley/llm/scripted"
	"github.com/parley-go/parley/opt"
	"github.com/parley-go/parley/session"
	"github.com/parley-go/parley/stt"
	sttscripted "github.com/parley-go/parley/stt/scripted"
	"github.com/parley-go/parley/tts"
	ttsscripted "github.com/parley-go/parley/tts/scripted"
	"github.com/parley-go/parley/vad"
	vadscripted "github.com/parley-go/parley/vad/scripted"
	"github.com/parley-go/parley/worker"
)

// envAgents is set when the test binary is the worker.
const envAgents = "CAPACITY_AGENTS"

// figures are what the worker says of itself, one line of JSON for each line it is sent.
type figures struct {
	CPU      time.Duration // used so far
	RSS      int64         // bytes
	Heap     int64         // bytes in use, after a collection
	Sessions int
	Turns    []time.Duration // latencies of those that were answered
}

// agents is the worker: its agents answer every utterance with a few sentences.
func agents() {
	var mu sync.Mutex
	var f figures
	w, err := worker.New(worker.Options{
		AgentName: os.Getenv(envAgents), Logger: slog.New(slog.DiscardHandler),
		Entrypoint: func(ctx context.Context, job *worker.Job) error {
			s := session.New(talk())
			session.On(s, func(e session.TurnCompleted) {
				mu.Lock()
				defer mu.Unlock()
				f.Turns = append(f.Turns, e.Total)
			})
			if err := s.Start(ctx, &agent.Agent{Instructions: "Be brief."}, job.Room()); err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			f.Sessions++
			return nil
		},
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() { // ends with the process
		<-w.Registered()
		for in := bufio.NewScanner(os.Stdin); in.Scan(); {
			mu.Lock()
			now := f
			now.Turns = slices.Clone(f.Turns)
			mu.Unlock()
			now.measure(in.Text() == "collect")
			_ = json.NewEncoder(os.Stdout).Encode(now)
		}
		cancel()
	}()
	if err := w.Run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// talk is what a session has: models that take as long as real ones, but no work.
func talk() session.Options {
	return session.Options{
		VAD: vad.New(vadscripted.New(nil)),
		STT: stt.New(sttscripted.New(&sttscripted.Options{Texts: slices.Repeat([]string{"What is the news of the day, please?"}, 1000), UsageEvery: 5 * time.Second}), nil),
		LLM: llm.New(llmscripted.New(&llmscripted.Options{Respond: func(int, *driver.Request) llmscripted.Answer {
			return llmscripted.Answer{Text: "There is a lot. The weather is fine, the trains run late, and the prices rise once more.", TTFT: 200 * time.Millisecond, Delay: 20 * time.Millisecond}
		}}), nil),
		TTS:       tts.New(ttsscripted.New(&ttsscripted.Options{Sine: true, Words: true, PerCharacter: 45 * time.Millisecond, TTFB: 100 * time.Millisecond, Pace: 200 * time.Millisecond}), nil),
		AECWarmup: opt.Off[time.Duration](),
		Logger:    slog.New(slog.DiscardHandler),
	}
}

// measure adds what the system says of the process.
func (f *figures) measure(collect bool) {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	f.CPU = time.Duration(u.Utime.Nano() + u.Stime.Nano())
	if collect {
		debug.FreeOSMemory()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		f.Heap = int64(m.HeapInuse + m.StackInuse)
	}
	if file, err := os.Open("/proc/self/statm"); err == nil {
		defer file.Close()
		data, _ := io.ReadAll(file)
		if fields := strings.Fields(string(data)); len(fields) > 1 {
			pages, _ := strconv.ParseInt(fields[1], 10, 64)
			f.RSS = pages * int64(os.Getpagesize())
		}
	}
}
