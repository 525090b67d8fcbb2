package cartesia

import (
	"encoding/json"
	"errors"
	"flag"
	"io"
	"reflect"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/parley-go/parley/internal/modeltest"
	"github.com/parley-go/parley/internal/sandbox"
	"github.com/parley-go/parley/internal/sandbox/cartesiabox"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/model/fault"
	"github.com/parley-go/parley/opt"
	"github.com/parley-go/parley/tts"
	"github.com/parley-go/parley/tts/driver"
	"github.com/parley-go/parley/tts/ttstest"
)

func TestMain(m *testing.M) {
	flag.Parse()
	_ = flag.Set("test.parallel", "8") // the kits wait more than they work
	goleak.VerifyTestMain(m)
}

// speaker is a synthesiser in a sandbox.
func speaker(t testing.TB, p fault.Plan, o TTSOptions, bo cartesiabox.TTSOptions) (*sandbox.Server, *synthesizer) {
	box := sandbox.Start(t, p)
	cartesiabox.TTS(box, bo)
	o.APIKey, o.BaseURL = box.Key, box.URL()
	d, err := newTTS(&o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close(t.Context()) })
	return box, d
}

func ttsHarness(o TTSOptions) ttstest.Harness {
	return ttstest.Harness{
		Secret: sandbox.DefaultKey, CountReplays: true,
		Start: func(t testing.TB, p fault.Plan) ttstest.Provider {
			box, d := speaker(t, p, o, cartesiabox.TTSOptions{})
			return ttstest.Provider{Driver: d, Served: func() ttstest.Served {
				return ttstest.Served{Characters: box.Characters(), Calls: box.Calls(), Dials: box.Dials(), Open: box.Open()}
			}}
		},
	}
}

func TestTTSConformance(t *testing.T) {
	t.Parallel()
	for _, c := range ttstest.Cases() {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			c.Run(t, ttsHarness(TTSOptions{Language: "de-DE", Speed: opt.Some(1.2)}))
		})
	}
}

// Text as it is written has the same failures, but another protocol.
func TestTTSConformanceOfBuffering(t *testing.T) {
	t.Parallel()
	for _, c := range ttstest.Cases() {
		if c.Plan == (fault.Plan{}) || c.Plan.Kind == fault.Slow {
			t.Run(c.Name, func(t *testing.T) { c.Run(t, ttsHarness(TTSOptions{Buffer: time.Second})) })
		}
	}
}

// A context ends a second after its last audio. Text that is written later is spoken all the same, and
// its words have their times in the whole speech.
func TestAPauseInTheText(t *testing.T) {
	box, d := speaker(t, fault.Plan{}, TTSOptions{}, cartesiabox.TTSOptions{Expire: 20 * time.Millisecond})
	m := tts.New(d, &tts.ModelOptions{Conn: model.ConnOptions{MaxRetry: -1}})
	for _, last := range []string{" It is sunny in Rome today, by the way.", ""} {
		var log modeltest.Log
		s := m.Stream(log.Context(t.Context()))
		defer s.Close()
		const first = "Let me look at the weather for you. One"
		_ = s.Push(first)
		var words []string
		var audio, at time.Duration
		listen := func(n int) {
			for len(words) < n {
				a, err := s.Next()
				if err != nil {
					t.Fatalf("after %q: %v", words, err)
				}
				for _, w := range a.Words {
					if w.Start < at || w.Start < audio-time.Second {
						t.Errorf("%q at %v, after %v of audio", w.Text, w.Start, audio)
					}
					at = w.Start
					words = append(words, w.Text)
				}
				audio += a.Frame.Duration()
			}
		}
		listen(8)
		time.Sleep(60 * time.Millisecond) // the context expires
		_ = s.Push(last)
		_ = s.EndInput()
		want := strings.Fields(first + last)
		listen(len(want))
		if _, err := s.Next(); !errors.Is(err, io.EOF) {
			t.Errorf("the end is %v", err)
		}
		if !reflect.DeepEqual(words, want) {
			t.Errorf("words are %q", words)
		}
	}
	if n := box.Calls(); n != 4 {
		t.Errorf("%d contexts", n)
	}
}

// The text may be complete when its context has expired: then nobody is asked for anything.
func TestAPauseBeforeTheEnd(t *testing.T) {
	box, d := speaker(t, fault.Plan{}, TTSOptions{}, cartesiabox.TTSOptions{Expire: time.Millisecond})
	s, err := d.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Push(t.Context(), "Hello there."); err != nil {
		t.Fatal(err)
	}
	got := make(chan error, 1)
	go func() {
		for {
			if _, err := s.Next(t.Context()); err != nil {
				got <- err
				return
			}
		}
	}()
	for box.Open() > 0 || box.Calls() == 0 {
		time.Sleep(time.Millisecond)
	}
	time.Sleep(20 * time.Millisecond)
	if err := s.CloseSend(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-got; !errors.Is(err, io.EOF) || box.Calls() != 1 {
		t.Errorf("the end is %v after %d contexts", err, box.Calls())
	}
}

// A text may be on its way when its context expires: the provider refuses it, and it is sent again.
func TestTextThatComesTooLate(t *testing.T) {
	for name, tt := range map[string]struct {
		late []string // is sent after the context has ended, before that is known
		then []string // is sent when it is known
		want string
	}{
		"one text":      {late: []string{"It is sunny. "}, then: []string{"Bye. "}, want: "Hello there. It is sunny. Bye."},
		"several texts": {late: []string{"It is sunny. ", "In Rome. "}, want: "Hello there. It is sunny. In Rome."},
		"none":          {then: []string{"Bye. "}, want: "Hello there. Bye."},
	} {
		for _, last := range []string{"end late", "end in time"} {
			t.Run(name+", "+last, func(t *testing.T) {
				box, d := speaker(t, fault.Plan{}, TTSOptions{}, cartesiabox.TTSOptions{Expire: time.Millisecond})
				s, err := d.Open(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				defer s.Close()
				sent := 0
				push := func(texts ...string) {
					for _, text := range texts {
						if err := s.Push(t.Context(), text); err != nil {
							t.Fatal(err)
						}
						sent += len(text)
					}
				}
				var words []string
				listen := func(n int) {
					for len(words) < n {
						c, err := s.Next(t.Context())
						if err != nil {
							t.Fatalf("after %q: %v", words, err)
						}
						for _, w := range c.Words {
							words = append(words, w.Text)
						}
					}
				}
				push("Hello there. ")
				listen(2)
				for box.Open() > 0 {
					time.Sleep(time.Millisecond) // the context expires
				}
				push(tt.late...)
				end := func() {
					if err := s.CloseSend(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
				if last == "end late" && len(tt.then) == 0 {
					end()
				}
				listen(2 + len(strings.Fields(strings.Join(tt.late, " "))))
				push(tt.then...)
				if last == "end in time" || len(tt.then) > 0 {
					end()
				}
				listen(len(strings.Fields(tt.want)))
				for err == nil {
					_, err = s.Next(t.Context())
				}
				if !errors.Is(err, io.EOF) || strings.Join(words, " ") != tt.want {
					t.Errorf("heard %q, then %v", words, err)
				}
				if n := box.Characters(); n != int64(sent) {
					t.Errorf("%d characters are billed, %d were sent", n, sent)
				}
			})
		}
	}
}

// A text that is refused although it seems to have been spoken, since audio from before it was only heard after it, is
// an error as soon as there is more to say: its words are not dropped in silence.
func TestTextThatIsLostIsAnError(t *testing.T) {
	box, d := speaker(t, fault.Plan{}, TTSOptions{}, cartesiabox.TTSOptions{Expire: time.Millisecond})
	s, err := d.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	push := func(text string) {
		if err := s.Push(t.Context(), text); err != nil {
			t.Fatal(err)
		}
		for box.Open() > 0 || box.Calls() == 0 {
			time.Sleep(time.Millisecond) // the context expires, and nobody listens meanwhile
		}
	}
	push("Hello there. ")
	push("It is sunny. ")
	push("In Rome. ")
	heard := 0
	for err == nil && heard < 2 {
		var c *driver.Chunk
		if c, err = s.Next(t.Context()); err == nil {
			heard += len(c.Words)
		}
	}
	go func() { _ = s.Push(t.Context(), "Bye. ") }()
	for err == nil {
		_, err = s.Next(t.Context())
	}
	if e := (*model.Error)(nil); !errors.As(err, &e) || e.Status != 400 {
		t.Errorf("the end is %v", err)
	}
}

func TestOptionsOfTTS(t *testing.T) {
	t.Setenv("CARTESIA_API_KEY", "")
	if _, err := NewTTS(nil); err == nil || !strings.Contains(err.Error(), "CARTESIA_API_KEY") {
		t.Errorf("without a key: %v", err)
	}
	d, err := newTTS(&TTSOptions{APIKey: "k", Voice: "v", Language: "pt-BR", Volume: opt.Some(0.7), Emotion: "calm", NoWords: true})
	if err != nil {
		t.Fatal(err)
	}
	b, _ := json.Marshal(d.packet("c", "Olá.", true))
	want := `{"model_id":"sonic-3","voice":{"mode":"id","id":"v"},"output_format":{"container":"raw","encoding":"pcm_s16le","sample_rate":24000},` +
		`"language":"pt","generation_config":{"volume":0.7,"emotion":"calm"},"transcript":"Olá.","context_id":"c","continue":true,"add_timestamps":false,"max_buffer_delay_ms":0}`
	if string(b) != want {
		t.Errorf("packet is %s", b)
	}
}

func TestASendTellsWhyItWasRefused(t *testing.T) {
	for name, at := range map[string]func(key, url string) (any, error){
		"tts":   func(key, url string) (any, error) { return newTTS(&TTSOptions{APIKey: key, BaseURL: url}) },
		"turns": func(key, url string) (any, error) { return newSTT(&STTOptions{APIKey: key, BaseURL: url}) },
		"whisper": func(key, url string) (any, error) {
			return newSTT(&STTOptions{APIKey: key, BaseURL: url, Language: "fr"})
		},
	} {
		err := modeltest.Refused(t, `{"type":"error","status_code":400,"message":"no such voice"}`, at)
		if err == nil || !strings.Contains(err.Error(), "no such voice") {
			t.Errorf("%s: error is %v", name, err)
		}
	}
}

func FuzzReply(f *testing.F) {
	f.Add(`{"type":"chunk","context_id":"c","data":"AAAA","step_time":1.5}`)
	f.Add(`{"type":"timestamps","word_timestamps":{"words":["a","b"],"start":[0,1e300],"end":[0.1]}}`)
	f.Add(`{"type":"error","status_code":429,"error":{"message":"no"}}`)
	f.Fuzz(func(t *testing.T, data string) {
		d, err := newTTS(&TTSOptions{APIKey: "k"})
		if err != nil {
			t.Fatal(err)
		}
		var r reply
		if json.Unmarshal([]byte(data), &r) != nil {
			return
		}
		s := &segment{d: d, ids: []string{"c"}}
		s.words(&r)
		s.next(r.ContextID)
		s.mine(&r)
		if d.refused(&r) == nil {
			t.Error("no error")
		}
	})
}
