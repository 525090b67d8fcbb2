package turntest

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/turn"
	"github.com/parley-go/parley/turn/driver"
)

type kit struct {
	testing.TB
	h   Harness
	why string
}

// patience is what "soon" means.
const patience = 2 * time.Second

// check fails the case with its sentence and what was seen.
func (k *kit) check(ok bool, format string, args ...any) {
	k.Helper()
	if !ok {
		k.Logf("the contract: %s", k.why)
		k.Fatalf(format, args...)
	}
}

// text returns a new detector by text, or skips the case.
func (k *kit) text(make func(testing.TB) driver.Detector) driver.TextDetector {
	k.Helper()
	if make == nil {
		k.Skip("the harness has no detector for this case")
	}
	d, ok := make(k).(driver.TextDetector)
	if !ok {
		k.Skip("only of detectors by text")
	}
	return d
}

// audio returns a new detector by audio, or skips the case.
func (k *kit) audio(make func(testing.TB) driver.Detector) driver.AudioDetector {
	k.Helper()
	if make == nil {
		k.Skip("the harness has no detector for this case")
	}
	d, ok := make(k).(driver.AudioDetector)
	if !ok {
		k.Skip("only of detectors by audio")
	}
	return d
}

// asker returns a function that makes one prediction of a new detector, of either kind.
func (k *kit) asker(make func(testing.TB) driver.Detector) func(context.Context) (driver.Prediction, error) {
	k.Helper()
	if make == nil {
		k.Skip("the harness has no detector for this case")
	}
	switch d := make(k).(type) {
	case driver.AudioDetector:
		s := k.open(d)
		k.hear(s, k.h.Speech)
		return s.Predict
	case driver.TextDetector:
		return func(ctx context.Context) (driver.Prediction, error) {
			return d.Predict(ctx, talk("How can I help?", "I would like to"), k.h.Language)
		}
	}
	k.check(false, "the detector is of no kind")
	return nil
}

func (k *kit) open(d driver.AudioDetector) driver.Stream {
	k.Helper()
	s, err := d.NewStream(k.Context())
	k.check(err == nil && s != nil, "NewStream: %v, %v", s, err)
	k.Cleanup(func() {
		if err := s.Close(); err != nil {
			k.Errorf("Close: %v", err)
		}
	})
	return s
}

// hear pushes audio in frames of 20 ms from one buffer, as a borrowed frame may be.
func (k *kit) hear(s driver.Stream, f audio.Frame) {
	step := audio.SamplesIn(20*time.Millisecond, f.Rate) * f.Channels
	buf := make([]int16, step)
	for data := f.Data; len(data) > 0; {
		n := copy(buf, data)
		s.Push(audio.Frame{Data: buf[:n], Rate: f.Rate, Channels: f.Channels})
		data = data[n:]
	}
}

// soon returns what f returns, which must be soon.
func (k *kit) soon(f func() (driver.Prediction, error)) (driver.Prediction, error) {
	k.Helper()
	type result struct {
		p   driver.Prediction
		err error
	}
	done := make(chan result, 1)
	go func() {
		p, err := f()
		done <- result{p, err}
	}()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case r := <-done:
		return r.p, r.err
	case <-timer.C:
		k.check(false, "Predict did not return within %v", patience)
		return driver.Prediction{}, nil
	}
}

// talk is a conversation that ends with what the user says.
func talk(agent, user string) *chat.Context {
	c := &chat.Context{}
	c.Add(chat.NewMessage(chat.System, "You are a helpful assistant."))
	if agent != "" {
		c.Add(chat.NewMessage(chat.Assistant, agent))
	}
	c.Add(chat.NewMessage(chat.User, user))
	return c
}

// utterances are odd and usual things to judge.
var utterances = []string{
	"What's the weather like in Paris?", "I would like to", "yes", "um", "", " ", "...", "four one five", "ÄÖÜ 你好",
	strings.Repeat("and then ", 500), "\x00\xff", "j o h n",
}

func infoCase(k *kit) {
	i := k.h.New(k).Info()
	k.check(i.Label != "" && i.Provider != "" && i.Provider == strings.ToLower(i.Provider), "Info is %+v", i)
}

func kindCase(k *kit) {
	d := k.h.New(k)
	_, text := d.(driver.TextDetector)
	_, sound := d.(driver.AudioDetector)
	k.check(text || sound, "%T is neither", d)
}

func languageCase(k *kit) {
	d := k.h.New(k)
	k.check(d.SupportsLanguage(k.h.Language), "%q is not supported", k.h.Language)
	k.check(k.h.Unsupported == "" || !d.SupportsLanguage(k.h.Unsupported), "%q is supported", k.h.Unsupported)
}

func thresholdCase(k *kit) {
	t := k.h.New(k).Threshold(k.h.Language)
	k.check(t > 0 && t <= 1, "the threshold of %q is %v", k.h.Language, t)
}

func (k *kit) valid(p driver.Prediction, err error, of string) {
	k.Helper()
	k.check(err == nil, "Predict of %.40q: %v", of, err)
	k.check(p.Probability >= 0 && p.Probability <= 1, "%.40q has the probability %v", of, p.Probability)
	k.check(p.Duration >= 0 && p.TotalDuration >= 0 && p.DetectionDelay >= 0 && p.Requests >= 0, "%.40q has accounts %+v", of, p)
}

func probabilityCase(k *kit) {
	d, ok := k.h.New(k).(driver.TextDetector)
	if !ok {
		p, err := k.asker(k.h.New)(k.Context())
		k.valid(p, err, "speech")
		return
	}
	for _, u := range utterances {
		p, err := d.Predict(k.Context(), talk("What is your number?", u), k.h.Language)
		k.valid(p, err, u)
	}
}

func emptyCase(k *kit) {
	d := k.text(k.h.New)
	image := &chat.Message{Role: chat.User, Content: []chat.Part{&chat.Image{URL: "https://example.test/x.png"}}}
	only := &chat.Context{}
	only.Add(chat.NewMessage(chat.Assistant, "Hello?"))
	pictures := &chat.Context{}
	pictures.Add(image, &chat.FunctionCall{Name: "f"})
	for name, c := range map[string]*chat.Context{
		"nil": nil, "empty": {}, "agent only": only, "no text": pictures, "empty text": talk("", ""),
	} {
		p, err := d.Predict(k.Context(), c, k.h.Language)
		if err == nil {
			k.valid(p, err, name)
		}
	}
}

func readOnlyCase(k *kit) {
	d := k.text(k.h.New)
	c := talk("What is your name?", "My name is Anna Bell")
	before := c.Copy(nil)
	text := c.Items()[2].(*chat.Message).Text()
	p, err := d.Predict(k.Context(), c, k.h.Language)
	k.valid(p, err, text)
	k.check(c.Equivalent(before) && c.Items()[2].(*chat.Message).Text() == text, "the conversation has changed: %v", c.Items())
}

func deterministicCase(k *kit) {
	if !k.h.Local {
		k.Skip("only of local detectors")
	}
	a, errA := k.asker(k.h.New)(k.Context())
	b, errB := k.asker(k.h.New)(k.Context())
	k.check(errA == nil && errB == nil && a.Probability == b.Probability, "got %v (%v), then %v (%v)", a.Probability, errA, b.Probability, errB)
}

func concurrentCase(k *kit) {
	detector := k.h.New(k)
	same := func(testing.TB) driver.Detector { return detector }
	want, err := k.asker(same)(k.Context())
	k.valid(want, err, "speech")
	const callers = 8
	asks := make([]func(context.Context) (driver.Prediction, error), callers)
	for i := range asks {
		asks[i] = k.asker(same)
	}
	got, errs := make([]driver.Prediction, callers), make([]error, callers)
	var all sync.WaitGroup
	for i := range asks {
		all.Go(func() { got[i], errs[i] = asks[i](k.Context()) })
	}
	all.Wait()
	for i := range asks {
		k.valid(got[i], errs[i], "speech")
		k.check(!k.h.Local || got[i].Probability == want.Probability, "got %v among others, %v alone", got[i].Probability, want.Probability)
	}
}

func deadCase(k *kit) {
	ask := k.asker(k.h.New)
	ctx, cancel := context.WithCancel(k.Context())
	cancel()
	_, err := k.soon(func() (driver.Prediction, error) { return ask(ctx) })
	k.check(errors.Is(err, context.Canceled), "the error is %v", err)
}

func cancelCase(k *kit) {
	ask := k.asker(k.h.Slow)
	ctx, cancel := context.WithCancel(k.Context())
	timer := time.AfterFunc(50*time.Millisecond, cancel)
	defer timer.Stop()
	defer cancel()
	_, err := k.soon(func() (driver.Prediction, error) { return ask(ctx) })
	k.check(errors.Is(err, context.Canceled), "the error is %v", err)
	ctx, cancel = context.WithTimeout(k.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = k.soon(func() (driver.Prediction, error) { return ask(ctx) })
	k.check(errors.Is(err, context.DeadlineExceeded), "the error is %v", err)
}

func supersedeCase(k *kit) {
	d := announced{k.audio(k.h.Slow), make(chan struct{}, 2)}
	s, err := turn.New(d, &turn.Options{Timeout: time.Second / 2}).NewStream(k.Context())
	k.check(err == nil, "NewStream: %v", err)
	defer func() {
		err := s.Close()
		k.check(err == nil, "Close: %v", err)
	}()
	first := make(chan error, 1)
	go func() {
		_, err := s.Predict(context.WithoutCancel(k.Context()), k.h.Language)
		first <- err
	}()
	<-d.began
	_, err = k.soon(func() (driver.Prediction, error) {
		_, err := s.Predict(k.Context(), k.h.Language)
		return driver.Prediction{}, err
	})
	k.check(errors.Is(err, turn.ErrTimeout), "the newer prediction, which is slow, gave %v", err)
	err = <-first
	k.check(errors.Is(err, turn.ErrDropped), "the older prediction gave %v", err)
}

// announced is a detector that tells when a prediction has begun.
type announced struct {
	driver.AudioDetector
	began chan struct{} // one per prediction; has room for all of the case
}

func (d announced) NewStream(ctx context.Context) (driver.Stream, error) {
	s, err := d.AudioDetector.NewStream(ctx)
	return announcedStream{s, d.began}, err
}

type announcedStream struct {
	driver.Stream
	began chan struct{}
}

func (s announcedStream) Predict(ctx context.Context) (driver.Prediction, error) {
	s.began <- struct{}{}
	return s.Stream.Predict(ctx)
}

func flushCase(k *kit) {
	d := k.audio(k.h.New)
	fresh := k.open(d)
	k.hear(fresh, k.h.Speech)
	want, err := fresh.Predict(k.Context())
	k.valid(want, err, "speech")
	s := k.open(d)
	k.hear(s, k.h.Speech)
	k.hear(s, audio.Silence(time.Second, k.h.Speech.Rate, k.h.Speech.Channels))
	s.Flush()
	k.hear(s, k.h.Speech)
	got, err := s.Predict(k.Context())
	k.valid(got, err, "speech after a flush")
	k.check(!k.h.Local || got.Probability == want.Probability, "got %v after a flush, %v when new", got.Probability, want.Probability)
}

func pushCase(k *kit) {
	s := k.open(k.audio(k.h.New))
	_, err := k.soon(func() (driver.Prediction, error) {
		for range 10 {
			k.hear(s, k.h.Speech)
		}
		return driver.Prediction{}, nil
	})
	k.check(err == nil, "pushing failed: %v", err)
}

func closeCase(k *kit) {
	s, err := k.audio(k.h.New).NewStream(k.Context())
	k.check(err == nil, "NewStream: %v", err)
	err = s.Close()
	k.check(err == nil, "Close: %v", err)
}
