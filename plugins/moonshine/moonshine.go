// Package moonshine turns speech into text with Moonshine tiny, in the process itself: no service,
// no key, no cgo. English only.
//
// It hears whole utterances; stt.Adapt makes it streaming with a voice activity detector:
//
//	recogniser := stt.Adapt(moonshine.New(nil), silero.New(nil), nil)
//
// An utterance of 3.4 s takes about 60 ms of one core with AVX2 and 0.6 s without. The weights are
// part of the program (28 MB), are prepared at the first use (40 ms, 55 MB of memory) and shared by
// everything in the process. At most one run less than there are cores computes at the same time;
// others wait for their turn.
package moonshine

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/plugins/moonshine/internal/kernel"
	"github.com/parley-go/parley/plugins/moonshine/internal/tiny"
	"github.com/parley-go/parley/stt"
	"github.com/parley-go/parley/stt/driver"
)

// Options of New. The zero value means the defaults.
type Options struct {
	// ModelDir is a folder with files that replace the embedded ones: encoder_model.onnx and
	// decoder_model_merged.onnx, and vocabulary.txt if the pieces differ. They must be of the same
	// shape. Default: the embedded files.
	ModelDir string
	// Threads is the number of cores for one utterance: default 1, at most all. Two make a lone speaker's text
	// come about a fifth sooner and serve fewer speakers.
	Threads int
	// Logger is told when a language is asked for that the model does not know. Default:
	// slog.Default().
	Logger *slog.Logger
}

// New returns a recogniser; nil options mean the defaults. Nothing is read before the first use.
// A broken model file is the error of Recognize; Check tells of it before.
func New(o *Options) *stt.Model { return stt.New(NewRecognizer(o), nil) }

// Check loads what New with the same options would use and says what is wrong with it. It is also
// the way to have the weights ready before the first call comes in.
func Check(o *Options) error {
	_, err := NewRecognizer(o).load()
	return err
}

// Recognizer is the driver behind New. It is safe for concurrent use and needs no closing.
type Recognizer struct {
	dir    string
	kernel kernel.Kernel
	log    *slog.Logger
	warn   sync.Once
}

var (
	_ driver.STT        = (*Recognizer)(nil)
	_ driver.Recognizer = (*Recognizer)(nil)
)

// NewRecognizer returns a driver for stt.New; nil options mean the defaults.
func NewRecognizer(o *Options) *Recognizer {
	if o == nil {
		o = &Options{}
	}
	r := &Recognizer{dir: o.ModelDir, kernel: kernel.Best(min(o.Threads, runtime.GOMAXPROCS(0))), log: o.Logger}
	if r.log == nil {
		r.log = slog.Default()
	}
	return r
}

// Info implements driver.STT.
func (r *Recognizer) Info() model.Info {
	return model.Info{Label: "moonshine.STT", Provider: "local", Model: "moonshine-tiny-en"}
}

// Capabilities implements driver.STT.
func (r *Recognizer) Capabilities() driver.Capabilities {
	return driver.Capabilities{SampleRate: tiny.Rate, Speculative: true}
}

// Prewarm prepares the weights. What is wrong with them is the error of Recognize.
func (r *Recognizer) Prewarm(context.Context) {
	_, _ = r.load()
}

// Recognize implements driver.Recognizer for mono audio at 16 kHz. Audio below 0.2 s, silence and
// noise have no text. Audio above 12 s is cut at pauses into parts that are transcribed one by one.
// When ctx ends, the run stops within some milliseconds and returns the error of ctx.
func (r *Recognizer) Recognize(ctx context.Context, f audio.Frame, o driver.Options) (*driver.Result, error) {
	if f.Rate != tiny.Rate || f.Channels != 1 {
		return nil, r.requestError(fmt.Errorf("want mono audio at %d Hz, found %d channels at %d Hz", tiny.Rate, f.Channels, f.Rate))
	}
	r.checkLanguage(o.Language)
	m, err := r.load()
	if err != nil {
		return nil, r.requestError(err)
	}
	s, err := running.enter(ctx)
	if err != nil {
		return nil, fmt.Errorf("moonshine: wait for a free core: %w", err)
	}
	defer running.leave(s)
	a, err := r.transcribe(ctx, m, s, f.Data)
	if err != nil {
		return nil, fmt.Errorf("moonshine: %w", err)
	}
	a.Language, a.End = "en", f.Duration()
	return &driver.Result{Alternative: a}, nil
}

// transcribe joins the texts of the parts of the audio.
func (r *Recognizer) transcribe(ctx context.Context, m *tiny.Model, s *tiny.Scratch, samples []int16) (driver.Alternative, error) {
	var texts []string
	var logProb float64
	count := 0
	for part := range parts(samples) {
		t, err := m.Transcribe(ctx, r.kernel, s, part)
		if err != nil {
			return driver.Alternative{}, err
		}
		if t.Text == "" {
			continue
		}
		texts = append(texts, t.Text)
		logProb += t.LogProb * float64(t.Tokens)
		count += t.Tokens
	}
	a := driver.Alternative{Text: strings.Join(texts, " ")}
	if count > 0 {
		a.Confidence = math.Exp(logProb / float64(count))
	}
	return a, nil
}

// load is the model of r, read once per process and folder.
func (r *Recognizer) load() (*tiny.Model, error) { return loaded.get(r.dir) }

// checkLanguage warns once if the language is another than English.
func (r *Recognizer) checkLanguage(tag string) {
	base, _, _ := strings.Cut(strings.ToLower(strings.ReplaceAll(tag, "_", "-")), "-")
	switch base {
	case "", "en", "eng", "english":
		return
	}
	r.warn.Do(func() { r.log.Warn("moonshine knows English only", "language", tag) })
}

func (r *Recognizer) requestError(err error) error {
	return &model.Error{Kind: model.KindRequest, Provider: r.Info().Provider, Op: "recognize", Err: err}
}

// seconds is d in samples.
func seconds(d time.Duration) int { return audio.SamplesIn(d, tiny.Rate) }
