package tts_test

import (
	"context"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/internal/modeltest"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/tts"
	"github.com/parley-go/parley/tts/driver"
	"github.com/parley-go/parley/tts/scripted"
)

// heard is all that a stream gave.
type heard struct {
	audio  time.Duration
	words  []string
	starts []time.Duration
	texts  []string
	ends   int
}

func drain(t *testing.T, s *tts.Stream) (heard, error) {
	t.Helper()
	var h heard
	for {
		a, err := s.Next()
		if errors.Is(err, io.EOF) {
			return h, nil
		}
		if err != nil {
			return h, err
		}
		if len(a.Frame.Data) > 0 && a.Frame.Channels != 1 {
			t.Fatalf("got %d channels, want mono", a.Frame.Channels)
		}
		h.audio += a.Frame.Duration()
		for _, w := range a.Words {
			h.words = append(h.words, w.Text)
			h.starts = append(h.starts, w.Start)
		}
		if a.Text != "" {
			h.texts = append(h.texts, a.Text)
		}
		if a.PieceEnd {
			h.ends++
		}
	}
}

// say pushes texts and ends the input. What a speech that failed meanwhile says to them, Next says too.
func say(t *testing.T, s *tts.Stream, texts ...string) {
	t.Helper()
	var failed *model.Error
	for _, text := range texts {
		if err := s.Push(text); err != nil && !errors.As(err, &failed) {
			t.Fatalf("push %q: %v", text, err)
		}
	}
	if err := s.EndInput(); err != nil && !errors.As(err, &failed) {
		t.Fatalf("end input: %v", err)
	}
}

func one(t *testing.T, l *modeltest.Log) *metrics.TTS {
	t.Helper()
	all := modeltest.Events[*metrics.TTS](l)
	if len(all) != 1 {
		t.Fatalf("got %d TTS events, want 1: %+v", len(all), all)
	}
	return all[0]
}

const hello = "Hello wörld, this is a test."

func TestSegmentIsOneEventWithTimesAndCharacters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l modeltest.Log
		d := scripted.New(&scripted.Options{TTFB: 300 * time.Millisecond, Pace: 500 * time.Millisecond, Words: true})
		s := tts.New(d, nil).Stream(l.Context(t.Context()))
		defer s.Close()
		time.Sleep(5 * time.Second) // before the first text nothing runs and nothing counts
		if n := d.Ledger().Calls; n != 0 {
			t.Fatalf("opened %d streams before there was text", n)
		}
		say(t, s, "Hello ", "", "wörld, ", "this is a test.")
		h, err := drain(t, s)
		if err != nil {
			t.Fatal(err)
		}
		want := time.Duration(utf8.RuneCountInString(hello)) * 60 * time.Millisecond
		if h.audio != want {
			t.Errorf("got %v of audio, want %v", h.audio, want)
		}
		if got := strings.Join(h.words, " "); got != hello {
			t.Errorf("got words %q, want %q", got, hello)
		}
		e := one(t, &l)
		if e.CharactersCount != int64(utf8.RuneCountInString(hello)) || e.AudioDuration != want || e.Source != metrics.Measured {
			t.Errorf("event says %d characters, %v audio, source %s", e.CharactersCount, e.AudioDuration, e.Source)
		}
		if e.TTFB != 300*time.Millisecond || e.Duration <= e.TTFB {
			t.Errorf("ttfb %v, duration %v", e.TTFB, e.Duration)
		}
		if !e.Streamed || e.SegmentID == "" || e.Cancelled || e.Outcome != metrics.Delivered || e.RequestID != "script_0" || e.Metadata.ModelProvider != "scripted" {
			t.Errorf("event is %+v", e)
		}
	})
}

func TestProviderStatementWins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l modeltest.Log
		s := tts.New(scripted.New(&scripted.Options{States: true}), nil).Stream(l.Context(t.Context()))
		defer s.Close()
		say(t, s, hello)
		if _, err := drain(t, s); err != nil {
			t.Fatal(err)
		}
		if e := one(t, &l); e.Source != metrics.FromProvider || e.CharactersCount != int64(utf8.RuneCountInString(hello)) {
			t.Errorf("event is %+v", e)
		}
	})
}

func TestRetryReplaysTextWhileNothingWasHeard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l modeltest.Log
		d := scripted.New(&scripted.Options{Faults: []scripted.Fault{
			{Call: 0}, // refused
			{Call: 1, When: scripted.AfterText, Characters: 3},
			{Call: 2, When: scripted.AfterText, Kind: scripted.Hangup},
		}})
		s := tts.New(d, nil).Stream(l.Context(t.Context()))
		defer s.Close()
		say(t, s, "Hello ", "wörld, this is a test.")
		h, err := drain(t, s)
		if err != nil || h.audio == 0 {
			t.Fatalf("audio %v, error %v", h.audio, err)
		}
		led := d.Ledger()
		if led.Calls != 4 || led.Texts[len(led.Texts)-1] != hello {
			t.Errorf("ledger is %+v", led)
		}
		if got := l.Recoverable(); !reflect.DeepEqual(got, []bool{true, true, true}) {
			t.Errorf("recoverable error events %v, want three", got)
		}
		e := one(t, &l)
		if e.CharactersCount != int64(utf8.RuneCountInString(hello)) || e.Attempt != 3 {
			t.Errorf("counted %d characters in attempt %d", e.CharactersCount, e.Attempt)
		}
		if e.TTFB < 4*time.Second {
			t.Errorf("ttfb %v leaves out the failed attempts", e.TTFB)
		}
	})
}

func TestCountReplaysCountsEveryAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l modeltest.Log
		d := scripted.New(&scripted.Options{Faults: []scripted.Fault{{Call: 0, When: scripted.AfterText}}})
		s := tts.New(d, &tts.ModelOptions{CountReplays: true}).Stream(l.Context(t.Context()))
		defer s.Close()
		say(t, s, hello)
		if _, err := drain(t, s); err != nil {
			t.Fatal(err)
		}
		if e := one(t, &l); e.CharactersCount != d.Ledger().Characters {
			t.Errorf("counted %d characters, provider got %d", e.CharactersCount, d.Ledger().Characters)
		}
	})
}

func TestWhatWasHeardIsNotSaidAgain(t *testing.T) {
	for name, kind := range map[string]scripted.FaultKind{"error": scripted.Fail, "stall": scripted.Stall, "panic": scripted.Panic} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var l modeltest.Log
				d := scripted.New(&scripted.Options{Faults: []scripted.Fault{
					{Call: -1, When: scripted.AfterSome, Audio: 500 * time.Millisecond, Kind: kind},
				}})
				s := tts.New(d, nil).Stream(l.Context(t.Context()))
				defer s.Close()
				say(t, s, hello)
				h, err := drain(t, s)
				var e *model.Error
				if !errors.As(err, &e) {
					t.Fatalf("got error %v, want a *model.Error", err)
				}
				if h.audio != 500*time.Millisecond || d.Ledger().Calls != 1 {
					t.Errorf("heard %v in %d calls", h.audio, d.Ledger().Calls)
				}
				if got := l.Recoverable(); !reflect.DeepEqual(got, []bool{false}) {
					t.Errorf("error events %v, want one that is final", got)
				}
				if ev := one(t, &l); ev.Outcome != metrics.Failed || ev.Cancelled || ev.CharactersCount == 0 {
					t.Errorf("event is %+v", ev)
				}
			})
		})
	}
}

func TestLastErrorNamesTheAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l modeltest.Log
		d := scripted.New(&scripted.Options{Faults: []scripted.Fault{{Call: -1, Kind: scripted.Stall}}})
		s := tts.New(d, &tts.ModelOptions{Conn: model.ConnOptions{MaxRetry: 1, Timeout: time.Second}}).Stream(l.Context(t.Context()))
		defer s.Close()
		say(t, s, hello)
		_, err := drain(t, s)
		if err == nil || !strings.Contains(err.Error(), "2 attempts") {
			t.Errorf("got error %v", err)
		}
		if got := l.Recoverable(); !reflect.DeepEqual(got, []bool{true, false}) {
			t.Errorf("error events %v", got)
		}
		if n := len(modeltest.Events[*metrics.TTS](&l)); n != 0 {
			t.Errorf("%d events for text that nobody took", n)
		}
		if err := s.Push("more"); err == nil {
			t.Error("push after the failure succeeded")
		}
	})
}

func TestErrorsThatRetryingCannotHelpAreFinal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := scripted.New(&scripted.Options{Faults: []scripted.Fault{
			{Call: -1, Err: &model.Error{Kind: model.KindStatus, Status: 401}},
		}})
		s := tts.New(d, nil).Stream(t.Context())
		defer s.Close()
		say(t, s, hello)
		_, err := drain(t, s)
		var e *model.Error
		if !errors.As(err, &e) || e.Status != 401 || d.Ledger().Calls != 1 {
			t.Errorf("got error %v after %d calls", err, d.Ledger().Calls)
		}
	})
}

func TestClientClosedEndsQuietly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l modeltest.Log
		d := scripted.New(&scripted.Options{Faults: []scripted.Fault{
			{When: scripted.AfterText, Err: &model.Error{Kind: model.KindStatus, Status: 499}},
		}})
		s := tts.New(d, nil).Stream(l.Context(t.Context()))
		defer s.Close()
		say(t, s, hello)
		if _, err := drain(t, s); err != nil || len(l.Errors()) != 0 {
			t.Errorf("error %v, error events %v", err, l.Errors())
		}
	})
}

func TestCloseBeforeTheEndCountsWhatWasSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l modeltest.Log
		d := scripted.New(&scripted.Options{Pace: time.Second})
		s := tts.New(d, nil).Stream(l.Context(t.Context()))
		if err := s.Push("Hello wörld. "); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Next(); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		e := one(t, &l) // recorded before Close returned
		if e.CharactersCount != 13 || e.Outcome != metrics.Interrupted || !e.Cancelled {
			t.Errorf("event is %+v", e)
		}
		_ = s.Close()
		if _, err := s.Next(); !errors.Is(err, tts.ErrClosed) {
			t.Errorf("next after close: %v", err)
		}
		if err := s.Push("more"); !errors.Is(err, tts.ErrClosed) {
			t.Errorf("push after close: %v", err)
		}
		synctest.Wait()
		if led := d.Ledger(); led.Open != 0 || led.Cut != 1 {
			t.Errorf("ledger is %+v", led)
		}
		if n := len(modeltest.Events[*metrics.TTS](&l)); n != 1 {
			t.Errorf("%d events, want 1", n)
		}
	})
}

func TestEndOfContextCancels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l modeltest.Log
		ctx, cancel := context.WithCancel(l.Context(t.Context()))
		s := tts.New(scripted.New(&scripted.Options{TTFB: time.Hour}), nil).Stream(ctx)
		defer s.Close()
		if err := s.Push(hello); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		cancel()
		if _, err := s.Next(); !errors.Is(err, context.Canceled) {
			t.Errorf("next: %v", err)
		}
		synctest.Wait()
		if e := one(t, &l); e.Outcome != metrics.Interrupted || e.TTFB != metrics.NoOutput {
			t.Errorf("event is %+v", e)
		}
		if len(l.Errors()) != 0 {
			t.Errorf("a cancelled speech reported %v", l.Errors())
		}
	})
}

func TestOneSegmentPerStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := tts.New(scripted.New(nil), nil).Stream(t.Context())
		defer s.Close()
		say(t, s, hello)
		if err := s.Push("again"); !errors.Is(err, tts.ErrInputEnded) {
			t.Errorf("push after the end: %v", err)
		}
		if err := s.EndInput(); err != nil {
			t.Errorf("second end: %v", err)
		}
	})
}

func TestTextWithoutSoundAsksNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l modeltest.Log
		d := scripted.New(nil)
		s := tts.New(d, nil).Stream(l.Context(t.Context()))
		defer s.Close()
		say(t, s, " ", "...")
		if _, err := drain(t, s); err != nil {
			t.Fatal(err)
		}
		if d.Ledger().Calls != 0 || len(modeltest.Events[*metrics.TTS](&l)) != 0 {
			t.Error("punctuation was sent")
		}
	})
}

func TestTextIsLimited(t *testing.T) {
	s := tts.New(scripted.New(nil), nil).Stream(t.Context())
	defer s.Close()
	if err := s.Push(strings.Repeat("x", 2<<20)); !errors.Is(err, tts.ErrTooLong) {
		t.Errorf("got %v", err)
	}
}

func TestAcquisitionIsToldOncePerLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l modeltest.Log
		d := scripted.New(&scripted.Options{
			Acquire: &scripted.Acquire{Took: 40 * time.Millisecond},
			Faults:  []scripted.Fault{{Call: 0, When: scripted.AfterText}},
		})
		s := tts.New(d, nil).Stream(l.Context(t.Context()))
		defer s.Close()
		say(t, s, hello)
		if _, err := drain(t, s); err != nil {
			t.Fatal(err)
		}
		var took time.Duration
		var chars int64
		for _, e := range modeltest.Events[*metrics.TTS](&l) {
			took += e.AcquireTime
			chars += e.CharactersCount
		}
		if took != 80*time.Millisecond || chars != int64(utf8.RuneCountInString(hello)) {
			t.Errorf("acquisitions of %v, %d characters", took, chars)
		}
	})
}

func TestSpansOfRequestAndAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l modeltest.Log
		d := scripted.New(&scripted.Options{Faults: []scripted.Fault{{Call: 0}}})
		s := tts.New(d, nil).Stream(l.Context(t.Context()))
		defer s.Close()
		say(t, s, hello)
		if _, err := drain(t, s); err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, sp := range l.Spans() {
			names = append(names, sp.Name+" "+sp.Attrs["lk.retry_count"])
			if sp.Ends != 1 {
				t.Errorf("span %s ended %d times", sp.Name, sp.Ends)
			}
		}
		if want := []string{"tts_request ", "tts_request_run 0", "tts_request_run 1"}; !reflect.DeepEqual(names, want) {
			t.Errorf("got spans %q, want %q", names, want)
		}
		if got := l.Spans()[0].Attrs["lk.pii.input_text"]; got != hello {
			t.Errorf("input text of the span is %q", got)
		}
	})
}

func TestStereoAndOtherRatesBecomeMonoAtTheStatedRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := rated{scripted.NewBatch(&scripted.Options{SampleRate: 16000, Channels: 2, Sine: true})}
		s := tts.New(d, nil).Synthesize(t.Context(), hello)
		defer s.Close()
		n := 0
		for {
			a, err := s.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if len(a.Frame.Data) > 0 && (a.Frame.Rate != 48000 || a.Frame.Channels != 1) {
				t.Fatalf("frame at %d Hz with %d channels", a.Frame.Rate, a.Frame.Channels)
			}
			n += len(a.Frame.Data)
		}
		if want := 28 * 60 * 48; n < want || n > want+2000 {
			t.Errorf("got %d samples, want about %d", n, want)
		}
	})
}

// rated states another rate than its audio has.
type rated struct{ *scripted.Batch }

func (r rated) Capabilities() driver.Capabilities { return driver.Capabilities{SampleRate: 48000} }

// nothing implements no way to speak.
type nothing struct{}

func (nothing) Info() model.Info                  { return model.Info{Provider: "nothing"} }
func (nothing) Capabilities() driver.Capabilities { return driver.Capabilities{} }

func TestDriverThatCannotSpeakIsAnError(t *testing.T) {
	var l modeltest.Log
	s := tts.New(nothing{}, nil).Stream(l.Context(t.Context()))
	defer s.Close()
	if _, err := drain(t, s); err == nil || len(l.Errors()) != 1 {
		t.Errorf("error %v, error events %v", err, l.Errors())
	}
}

// endless speaks one chunk for ever.
type endless struct{ chunk driver.Chunk }

func (e *endless) Info() model.Info                  { return model.Info{Provider: "endless"} }
func (e *endless) Capabilities() driver.Capabilities { return driver.Capabilities{SampleRate: 24000} }
func (e *endless) Synthesize(context.Context, string) (driver.AudioStream, error) {
	return e, nil
}
func (e *endless) Next(ctx context.Context) (*driver.Chunk, error) { return &e.chunk, ctx.Err() }
func (e *endless) Close() error                                    { return nil }

func BenchmarkNext(b *testing.B) {
	d := &endless{driver.Chunk{Frame: audio.Silence(20*time.Millisecond, 24000, 1), RequestID: "r"}}
	s := tts.New(d, nil).Synthesize(b.Context(), "for ever")
	defer s.Close()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Next(); err != nil {
			b.Fatal(err)
		}
	}
}
