package moonshine

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/internal/golden"
	"github.com/parley-go/parley/model"
	data "github.com/parley-go/parley/models/moonshine"
	"github.com/parley-go/parley/stt/driver"
)

func frame(samples []int16) audio.Frame {
	return audio.Frame{Data: samples, Rate: golden.Rate, Channels: 1}
}

func recognize(t *testing.T, r *Recognizer, f audio.Frame) *driver.Result {
	t.Helper()
	res, err := r.Recognize(context.Background(), f, driver.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func TestRecognizeReturnsTextWithConfidenceAndTimes(t *testing.T) {
	f := frame(golden.Samples(t, "flite_awb_yes.wav"))
	res := recognize(t, NewRecognizer(nil), f)
	if res.Text != "Yes, please." || res.Language != "en" || res.Start != 0 || res.End != f.Duration() {
		t.Errorf("result is %+v", res.Alternative)
	}
	if res.Confidence < 0.5 || res.Confidence > 1 {
		t.Errorf("confidence of clear speech is %v", res.Confidence)
	}
	if res.Usage != nil {
		t.Errorf("usage %+v was stated: the front counts the audio", res.Usage)
	}
}

func TestFrontResamplesAndTranscribes(t *testing.T) {
	in := golden.Samples(t, "flite_awb_yes.wav")
	stereo := make([]int16, 0, 2*len(in))
	for _, v := range in {
		stereo = append(stereo, v, v)
	}
	res, err := New(nil).Recognize(context.Background(), audio.Frame{Data: stereo, Rate: golden.Rate, Channels: 2}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if res.Text != "Yes, please." {
		t.Errorf("text is %q", res.Text)
	}
}

func TestNothingSaidGivesNoTextAndNoConfidence(t *testing.T) {
	for name, samples := range map[string][]int16{
		"nothing":      nil,
		"too short":    golden.Samples(t, "flite_awb_yes.wav")[8000 : 8000+3199],
		"0.2s of it":   make([]int16, 3200),
		"silence":      golden.Samples(t, "silence.wav"),
		"white noise":  golden.Samples(t, "noise_white.wav"),
		"pink noise":   golden.Samples(t, "noise_pink.wav"),
		"music":        golden.Samples(t, "tones.wav"),
		"long silence": make([]int16, 13*golden.Rate),
	} {
		if res := recognize(t, NewRecognizer(nil), frame(samples)); res.Text != "" || res.Confidence != 0 {
			t.Errorf("%s gives %q with confidence %v", name, res.Text, res.Confidence)
		}
	}
}

func TestLongAudioIsTranscribedInParts(t *testing.T) {
	var samples []int16
	for _, name := range []string{"flite_slt_weather.wav", "flite_rms_lights.wav", "flite_awb_yes.wav", "flite_slt_weather.wav"} {
		samples = append(samples, golden.Samples(t, name)...)
	}
	res := recognize(t, NewRecognizer(nil), frame(samples))
	for _, want := range []string{"weather like in Paris", "lights in the kitchen", "please"} {
		if !strings.Contains(res.Text, want) {
			t.Errorf("%q is missing in %q", want, res.Text)
		}
	}
	if strings.Count(res.Text, "weather like in Paris") != 2 {
		t.Errorf("want the first sentence at both ends of %q", res.Text)
	}
}

func TestOtherFormatsAreRefused(t *testing.T) {
	for _, f := range []audio.Frame{
		{Data: make([]int16, 48000), Rate: 48000, Channels: 1},
		{Data: make([]int16, 32000), Rate: golden.Rate, Channels: 2},
	} {
		_, err := NewRecognizer(nil).Recognize(context.Background(), f, driver.Options{})
		var e *model.Error
		if !errors.As(err, &e) || e.Kind != model.KindRequest || e.Retryable() {
			t.Errorf("%d channels at %d Hz: error is %v, want a request error", f.Channels, f.Rate, err)
		}
	}
}

func TestOtherLanguageIsWarnedAboutOnce(t *testing.T) {
	var log bytes.Buffer
	r := NewRecognizer(&Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	for _, c := range []struct {
		language string
		lines    int
	}{{"", 0}, {"en", 0}, {"en-GB", 0}, {"en_US", 0}, {"de", 1}, {"fr", 1}} {
		if _, err := r.Recognize(context.Background(), frame(nil), driver.Options{Language: c.language}); err != nil {
			t.Fatal(err)
		}
		if got := strings.Count(log.String(), "level=WARN"); got != c.lines {
			t.Errorf("after language %q there are %d warnings, want %d", c.language, got, c.lines)
		}
	}
	if !strings.Contains(log.String(), "language=de") {
		t.Errorf("the warning does not name the language: %s", log.String())
	}
}

func TestConcurrentRunsAreAllRight(t *testing.T) {
	r := NewRecognizer(nil)
	f := frame(golden.Samples(t, "flite_awb_yes.wav"))
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			res, err := r.Recognize(context.Background(), f, driver.Options{})
			if err != nil || res.Text != "Yes, please." {
				t.Errorf("result %+v, error %v", res, err)
			}
		})
	}
	wg.Wait()
}

func TestCancelledRunReturnsTheErrorOfItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := NewRecognizer(nil).Recognize(ctx, frame(make([]int16, 16000)), driver.Options{})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v, want context.Canceled", err)
	}
}

func TestModelOfAFolderIsLoadedOnceAndShared(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, data.EncoderFile, data.Encoder())
	write(t, dir, data.DecoderFile, data.Decoder())
	if err := Check(&Options{ModelDir: dir}); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	res := recognize(t, NewRecognizer(&Options{ModelDir: dir}), frame(golden.Samples(t, "flite_awb_yes.wav")))
	if res.Text != "Yes, please." {
		t.Errorf("text is %q", res.Text)
	}
	a, errA := loaded.get("")
	b, errB := loaded.get("")
	if a != b || errA != nil || errB != nil {
		t.Errorf("the embedded model was loaded twice: %v, %v", errA, errB)
	}
}

func write(t *testing.T, dir, name, content string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestBrokenFileIsNamedInOneLineAndTriedAgain(t *testing.T) {
	for _, c := range []struct {
		name, file, content, want string
	}{
		{"no encoder", data.EncoderFile, "", "no such file"},
		{"no decoder", data.DecoderFile, "", "no such file"},
		{"cut encoder", data.EncoderFile, data.Encoder()[:100_000], ""},
		{"cut decoder", data.DecoderFile, data.Decoder()[:len(data.Decoder())-1], ""},
		{"text for an encoder", data.EncoderFile, "not found\n", ""},
		{"encoder for a decoder", data.DecoderFile, data.Encoder(), "else_branch"},
		{"decoder for an encoder", data.EncoderFile, data.Decoder(), "not in the graph"},
		{"short vocabulary", data.VocabularyFile, "<unk>\n<s>\n</s>", "want 32000 pieces, found 3"},
	} {
		dir := t.TempDir()
		write(t, dir, data.EncoderFile, data.Encoder())
		write(t, dir, data.DecoderFile, data.Decoder())
		path := filepath.Join(dir, c.file)
		if c.content == "" {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		} else {
			write(t, dir, c.file, c.content)
		}
		_, err := NewRecognizer(&Options{ModelDir: dir}).Recognize(context.Background(), frame(make([]int16, 16000)), driver.Options{})
		var e *model.Error
		if !errors.As(err, &e) || e.Retryable() {
			t.Errorf("%s: error is %v, want one that is not tried again", c.name, err)
			continue
		}
		if text := err.Error(); !strings.Contains(text, path) || !strings.Contains(text, c.want) || strings.Contains(text, "\n") {
			t.Errorf("%s: error %q does not name %s in one line", c.name, text, path)
		}
	}
}

func TestMendedFileIsReadAgain(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, data.EncoderFile, "broken")
	write(t, dir, data.DecoderFile, data.Decoder())
	o := &Options{ModelDir: dir}
	if Check(o) == nil {
		t.Fatal("a broken encoder was accepted")
	}
	write(t, dir, data.EncoderFile, data.Encoder())
	if err := Check(o); err != nil {
		t.Errorf("after the encoder was mended: %v", err)
	}
}

func TestSlotsHandOutNoMoreThanThereAre(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSlots(1)
		a, err := s.enter(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		result := make(chan error, 1)
		go func() {
			_, err := s.enter(ctx)
			result <- err
		}()
		synctest.Wait()
		if len(result) != 0 {
			t.Fatalf("a second run got in beside the first: %v", <-result)
		}
		cancel()
		if err := <-result; !errors.Is(err, context.Canceled) {
			t.Errorf("a cancelled wait ended with %v", err)
		}
		s.leave(a)
		b, err := s.enter(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if a != b {
			t.Error("the memory of the first run was not used again")
		}
		s.leave(b)
	})
}

func TestPartsLoseNothing(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{0, 1, goodLength, goodLength + 1, hardLength, hardLength + 1, 55 * golden.Rate} {
		samples := make([]int16, n)
		for i := range samples {
			samples[i] = int16(rng.IntN(2000) - 1000)
		}
		at := 0
		for part := range parts(samples) {
			if len(part) == 0 || len(part) > hardLength {
				t.Fatalf("%d samples: a part of %d", n, len(part))
			}
			if &part[0] != &samples[at] {
				t.Fatalf("%d samples: a part does not start where the last ended, at %d", n, at)
			}
			at += len(part)
		}
		if at != n {
			t.Errorf("%d samples: parts hold %d", n, at)
		}
	}
}

func TestPartsEndInPauses(t *testing.T) {
	for _, c := range []struct {
		name       string
		seconds    int
		pause, end float64 // where it is, seconds; 0 for none
		want       float64 // end of the first part
	}{
		{"short audio stays whole", 11, 5, 6, 11},
		{"pause before the good length", 15, 10, 10.5, 10.25},
		{"pause after the good length", 25, 13, 13.5, 13.25},
		{"pause too early to count", 14, 2, 3, 14},
		{"no pause in what is just too long", 19, 0, 0, 19},
		{"no pause at all", 30, 0, 0, 18.5},
	} {
		rng := rand.New(rand.NewPCG(3, 4))
		samples := make([]int16, c.seconds*golden.Rate)
		for i := range samples {
			at, loud := float64(i)/golden.Rate, 4000
			switch {
			case at >= c.pause && at < c.end:
				loud = 20
			case at >= 18.3 && at < 18.7:
				loud = 3000 // quieter, but no pause
			}
			samples[i] = int16(rng.IntN(2*loud) - loud)
		}
		got := float64(partLength(samples)) / golden.Rate
		if got < c.want-0.2 || got > c.want+0.2 {
			t.Errorf("%s: the first part ends at %.2f s, want %.2f", c.name, got, c.want)
		}
	}
}

func BenchmarkRecognize(b *testing.B) {
	r := NewRecognizer(nil)
	r.Prewarm(b.Context())
	f := frame(golden.Samples(b, "espeak_timer.wav"))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Recognize(context.Background(), f, driver.Options{}); err != nil {
			b.Fatal(err)
		}
	}
}
