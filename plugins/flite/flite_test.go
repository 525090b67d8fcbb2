package flite

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/model"
	data "github.com/parley-go/parley/models/flite"
	"github.com/tetratelabs/wazero"
)

const sentence = "The weather in Berlin is fine today."

// say returns all audio of a text and checks that it comes in whole chunks.
func say(t testing.TB, s *Synthesizer, text string) []int16 {
	t.Helper()
	ctx := context.Background()
	a, err := s.Synthesize(ctx, text)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	var all []int16
	for {
		c, err := a.Next(ctx)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Frame.Validate(); err != nil {
			t.Fatal(err)
		}
		if d := c.Frame.Duration(); d <= 0 || d > 20*time.Millisecond {
			t.Fatalf("chunk of %v", d)
		}
		if c.Frame.Rate != s.Capabilities().SampleRate {
			t.Fatalf("chunk at %d Hz", c.Frame.Rate)
		}
		all = append(all, c.Frame.Data...)
	}
}

func hash(samples []int16) string {
	h := sha256.New()
	_ = binary.Write(h, binary.LittleEndian, samples)
	return hex.EncodeToString(h.Sum(nil))[:16]
}

func TestVoicesSpeakTheSameEveryTime(t *testing.T) {
	for _, c := range []struct {
		voice string
		rate  int
		hash  string
	}{
		{"", 16000, "73fd530f96ccbee8"},
		{"slt", 16000, "73fd530f96ccbee8"},
		{"rms", 16000, "09885c071e683168"},
		{"awb", 16000, "8a63fad8512fe31a"},
		{"kal16", 16000, "7e13e84891ef6f6d"},
		{"kal", 8000, "b009ef88a5bff526"},
	} {
		s := NewSynthesizer(&Options{Voice: c.voice})
		if got := s.Capabilities().SampleRate; got != c.rate {
			t.Errorf("%s: %d Hz, want %d", c.voice, got, c.rate)
		}
		got := say(t, s, sentence)
		if d := audio.Samples(len(got)).At(c.rate); d < 1500*time.Millisecond || d > 3*time.Second {
			t.Errorf("%s: speech of %v", c.voice, d)
		}
		if h := hash(got); h != c.hash {
			t.Errorf("%s: audio has hash %s, want %s", c.voice, h, c.hash)
		}
	}
}

func TestConcurrentRunsAreEqualByteForByte(t *testing.T) {
	s := NewSynthesizer(nil)
	want := say(t, s, sentence)
	got := make([][]int16, 4)
	var wg sync.WaitGroup
	for i := range got {
		wg.Go(func() { got[i] = say(t, s, sentence) })
	}
	wg.Wait()
	for i := range got {
		if !slices.Equal(got[i], want) {
			t.Errorf("run %d differs", i)
		}
	}
}

func TestInterpreterMakesTheSameAudio(t *testing.T) {
	if testing.Short() || raceEnabled {
		t.Skip("takes seconds")
	}
	module, err := data.Module()
	if err != nil {
		t.Fatal(err)
	}
	e, err := compile(module, wazero.NewRuntimeConfigInterpreter())
	if err != nil {
		t.Fatal(err)
	}
	defer e.runtime.Close(context.Background())
	got, err := e.run(context.Background(), "kal", "1", "ok.")
	if err != nil {
		t.Fatal(err)
	}
	fast, err := loaded()
	if err != nil {
		t.Fatal(err)
	}
	want, err := fast.run(context.Background(), "kal", "1", "ok.")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("interpreter and compiler make different audio")
	}
}

func TestSpeedStretchesTheSpeech(t *testing.T) {
	normal := len(say(t, NewSynthesizer(nil), sentence))
	for _, c := range []struct{ speed, least, most float64 }{{2, 0.4, 0.65}, {1.25, 0.7, 0.9}, {0.5, 1.7, 2.2}} {
		got := float64(len(say(t, NewSynthesizer(&Options{Speed: c.speed}), sentence))) / float64(normal)
		if got < c.least || got > c.most {
			t.Errorf("speed %v: %.2f times as long", c.speed, got)
		}
	}
}

func TestWrongOptionsAreTheErrorOfCheckAndSynthesize(t *testing.T) {
	for _, c := range []struct {
		o    Options
		want string
	}{
		{Options{Voice: "awb_time"}, `unknown voice "awb_time", there are awb, kal, kal16, rms, slt`},
		{Options{Voice: "../x"}, "unknown voice"},
		{Options{Speed: 3}, "speed 3 is outside of 0.5 to 2"},
		{Options{Speed: -1}, "speed -1 is outside"},
	} {
		_, err := NewSynthesizer(&c.o).Synthesize(context.Background(), "hi")
		for _, err := range []error{Check(&c.o), err} {
			var e *model.Error
			if !errors.As(err, &e) || e.Kind != model.KindRequest || model.Retryable(err) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%+v: error %v, want %q", c.o, err, c.want)
			}
		}
	}
}

func TestCheckSpeaks(t *testing.T) {
	for _, voice := range Voices() {
		if err := Check(&Options{Voice: voice}); err != nil {
			t.Errorf("%s: %v", voice, err)
		}
	}
}

func TestNothingToSayHasNoAudio(t *testing.T) {
	s := NewSynthesizer(nil)
	for _, text := range []string{"", " \n", "...", "?!", " - ", "\x00\x01", "👍"} {
		if got := say(t, s, text); len(got) != 0 {
			t.Errorf("%q: %d samples", text, len(got))
		}
	}
}

func TestOtherScriptsAreSilentAndWarnedAboutOnce(t *testing.T) {
	var log bytes.Buffer
	s := NewSynthesizer(&Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	for range 2 {
		got := say(t, s, "你好")
		if len(got) != 1600 || slices.Max(got) != 0 || slices.Min(got) != 0 {
			t.Errorf("%d samples that are not silence of 0.1 s", len(got))
		}
	}
	if n := strings.Count(log.String(), "English only"); n != 1 {
		t.Errorf("warned %d times: %s", n, log.String())
	}
}

func TestTextThatLooksLikeAnOptionIsSpoken(t *testing.T) {
	s := NewSynthesizer(&Options{Voice: "kal"})
	want := say(t, s, "version")
	if got := say(t, s, "--version"); !slices.Equal(got, want) {
		t.Errorf("%d samples, want %d", len(got), len(want))
	}
}

func TestSilenceAtTheEndsIsTrimmed(t *testing.T) {
	s := NewSynthesizer(nil)
	for _, c := range []struct {
		text string
		tail time.Duration
	}{{"It is fine today.", afterSentence}, {"If it is fine today,", afterClause}, {"\"Is it fine?\"", afterSentence}} {
		got := say(t, s, c.text)
		loud := func(v int16) bool { return v > quiet || v < -quiet }
		lead := slices.IndexFunc(got, loud)
		slices.Reverse(got)
		tail := slices.IndexFunc(got, loud)
		if most := audio.SamplesIn(leadIn, 16000); lead > most {
			t.Errorf("%q: %d samples of silence before, want at most %d", c.text, lead, most)
		}
		if most := audio.SamplesIn(c.tail, 16000); tail > most || tail < most/2 {
			t.Errorf("%q: %d samples of silence after, want about %d", c.text, tail, most)
		}
	}
}

func TestLongTextIsSpokenInParts(t *testing.T) {
	s := NewSynthesizer(&Options{Voice: "kal"})
	text := strings.Repeat("The weather in Berlin is fine today, and so is it in Rome. ", 12)
	list := parts(text)
	if len(list) != 12 {
		t.Fatalf("%d parts", len(list))
	}
	one := len(say(t, s, list[0]))
	if got := len(say(t, s, text)); got != 12*one {
		t.Errorf("%d samples, want 12 times %d", got, one)
	}
	if got := parts(strings.Repeat("x", 1000)); len(got) != 4 {
		t.Errorf("%d parts of a word without end", len(got))
	}
}

func TestCancelledContextEndsTheSpeech(t *testing.T) {
	s := NewSynthesizer(&Options{Voice: "kal"})
	background := context.Background()
	ctx, cancel := context.WithCancel(background)
	a, err := s.Synthesize(ctx, sentence)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Next(background); err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := a.Next(background); !errors.Is(err, context.Canceled) {
		t.Errorf("Next after the request's context: %v", err)
	}
	a, err = s.Synthesize(background, sentence)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Next(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Next with an ended context: %v", err)
	}
}

func TestWaitForAPlaceEndsWithTheContext(t *testing.T) {
	e := &engine{places: make(chan struct{}, 1)}
	e.places <- struct{}{}
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	if _, err := e.run(ctx, "slt", "1", "hi"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
}

func TestClosedStreamHasNoMoreAudio(t *testing.T) {
	a, err := NewSynthesizer(nil).Synthesize(context.Background(), sentence)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := a.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := a.Next(context.Background()); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("error %v", err)
	}
}

func TestModuleThatIsBrokenIsAnError(t *testing.T) {
	if _, err := newEngine([]byte("no module")); err == nil || !strings.Contains(err.Error(), "compile module") {
		t.Errorf("error %v", err)
	}
}

func TestFrontStreamsTextPieceByPiece(t *testing.T) {
	s := New(&Options{Voice: "kal16"}).Stream(context.Background())
	defer s.Close()
	for _, text := range []string{"Well, it is a fine ", "day today, is it not? I ", "think so. It will be warm."} {
		if err := s.Push(text); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.EndInput(); err != nil {
		t.Fatal(err)
	}
	var texts []string
	var length time.Duration
	for {
		a, err := s.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if a.Text != "" {
			texts = append(texts, strings.TrimSpace(a.Text))
		}
		length += a.Frame.Duration()
	}
	if want := []string{"Well, it is a fine day today,", "is it not? I think so.", "It will be warm."}; !slices.Equal(texts, want) {
		t.Errorf("pieces %q, want %q", texts, want)
	}
	if length < 2*time.Second || length > 6*time.Second {
		t.Errorf("%v of audio", length)
	}
}

func BenchmarkSentence(b *testing.B) {
	for _, voice := range Voices() {
		b.Run(voice, func(b *testing.B) {
			s := NewSynthesizer(&Options{Voice: voice})
			s.Prewarm(context.Background())
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				n += len(say(b, s, sentence))
			}
			spoken := audio.Samples(n).At(rates[voice])
			b.ReportMetric(b.Elapsed().Seconds()/spoken.Seconds(), "rtf")
		})
	}
}

func BenchmarkLoad(b *testing.B) {
	module, err := data.Module()
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		e, err := newEngine(module)
		if err != nil {
			b.Fatal(err)
		}
		_ = e.runtime.Close(context.Background())
	}
}
