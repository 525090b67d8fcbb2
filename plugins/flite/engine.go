package flite

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"

	data "github.com/parley-go/parley/models/flite"
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/experimental"
	"github.com/tetratelabs/wazero/experimental/sysfs"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
	"github.com/tetratelabs/wazero/sys"
)

// engine is the compiled module. It lives as long as the process.
type engine struct {
	runtime wazero.Runtime
	module  wazero.CompiledModule
	slow    bool // there is no compiler for this machine
	warn    sync.Once
	places  chan struct{} // a value is a run that goes on; full means wait
}

// loaded returns the engine of this process and makes it at the first call.
var loaded = sync.OnceValues(func() (*engine, error) {
	module, err := data.Module()
	if err != nil {
		return nil, err
	}
	return newEngine(module)
})

// memoryPages bounds the memory of one run: 64 MB, of which flite needs 17.
const memoryPages = 1024

func newEngine(module []byte) (*engine, error) {
	e, err := compile(module, wazero.NewRuntimeConfigCompiler())
	if err == nil || !errors.Is(err, errNoCompiler) {
		return e, err
	}
	// A run of the interpreter can take many seconds, so it is worth the price of being stoppable.
	if e, err = compile(module, wazero.NewRuntimeConfigInterpreter().WithCloseOnContextDone(true)); err == nil {
		e.slow = true
	}
	return e, err
}

var errNoCompiler = errors.New("no compiler for this machine")

func compile(module []byte, config wazero.RuntimeConfig) (e *engine, err error) {
	defer func() {
		if p := recover(); p != nil { // the runtime's way to say that it cannot compile here
			e, err = nil, fmt.Errorf("%w: %v", errNoCompiler, p)
		}
	}()
	ctx := context.Background()
	e = &engine{places: make(chan struct{}, runtime.GOMAXPROCS(0))}
	e.runtime = wazero.NewRuntimeWithConfig(ctx, config.WithMemoryLimitPages(memoryPages))
	if _, err := wasi_snapshot_preview1.Instantiate(ctx, e.runtime); err != nil {
		return nil, fmt.Errorf("prepare module: %w", err)
	}
	if e.module, err = e.runtime.CompileModule(ctx, module); err != nil {
		return nil, fmt.Errorf("compile module: %w", err)
	}
	return e, nil
}

// run speaks text and returns the WAV file that flite wrote. It waits for a place; when ctx ends
// meanwhile it returns the error of ctx. Output does not depend on other runs.
func (e *engine) run(ctx context.Context, voice, stretch, text string) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	select {
	case e.places <- struct{}{}:
		defer func() { <-e.places }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	const name = "out.wav"
	disk := &memFS{}
	var complaint limitedBuffer
	config := wazero.NewModuleConfig().
		WithName(""). // several at the same time
		WithArgs("flite", "-voice", voice, "--setf", "duration_stretch="+stretch, "-t", text, "-o", "/"+name).
		WithFSConfig(wazero.NewFSConfig().(sysfs.FSConfig).WithSysFSMount(disk, "/")).
		WithStderr(&complaint)
	instance, err := e.runtime.InstantiateModule(experimental.WithMemoryAllocator(ctx, memories), e.module, config)
	if instance != nil {
		_ = instance.Close(ctx)
	}
	var exit *sys.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 0 {
		err = nil
	}
	if err != nil {
		return nil, fmt.Errorf("run module: %w%s", err, complaint.suffix())
	}
	file := disk.take(name)
	if file == nil { // it exits with 0 also when it failed
		return nil, fmt.Errorf("run module: no audio was written%s", complaint.suffix())
	}
	return file, nil
}

// limitedBuffer keeps the start of what is written to it.
type limitedBuffer struct{ text []byte }

func (b *limitedBuffer) Write(p []byte) (int, error) {
	b.text = append(b.text, p[:min(len(p), 200-len(b.text))]...)
	return len(p), nil
}

func (b *limitedBuffer) suffix() string {
	if s := strings.TrimSpace(string(b.text)); s != "" {
		return ": " + s
	}
	return ""
}
