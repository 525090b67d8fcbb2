package livekit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/internal/modeltest"
	"github.com/parley-go/parley/internal/sandbox"
	"github.com/parley-go/parley/internal/sandbox/livekitbox"
	"github.com/parley-go/parley/internal/wire"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/model/fault"
)

// perLetter is how long a letter of the sandbox takes.
const perLetter = 40 * time.Millisecond

func TestSessionOfTTS(t *testing.T) {
	t.Parallel()
	var got livekitbox.CreateTTS
	_, g, d := speak(t, fault.Plan{}, livekitbox.TTSOptions{OnCreate: func(c livekitbox.CreateTTS) { got = c }}, TTSOptions{
		Model: "cartesia/sonic-3:katie", Language: "en", Rate: 16000, Extra: map[string]any{"speed": 1.2},
		Fallback: []Fallback{{Model: "rime/arcana:luna"}, {Model: "deepgram/aura-2", Extra: map[string]any{"mip_opt_out": true}}},
	})
	if i := d.Info(); i != (model.Info{Label: "livekit.TTS", Provider: "livekit", Model: "cartesia/sonic-3"}) {
		t.Errorf("info is %+v", i)
	}
	if said, err := modeltest.Say(t, d, "Hello there.", " Bye."); err != nil || said.Round(time.Millisecond) != 15*perLetter {
		t.Errorf("said %v, %v", said, err)
	}
	b, _ := json.Marshal(got)
	want := `{"type":"session.create","model":"cartesia/sonic-3","voice":"katie","language":"en","sample_rate":"16000","encoding":"pcm_s16le",` +
		`"extra":{"speed":1.2},"fallback":{"models":[{"model":"rime/arcana","voice":"luna","extra":{}},` +
		`{"model":"deepgram/aura-2","voice":"","extra":{"mip_opt_out":true}}]},"connection":{"timeout":10,"retries":3}}`
	if string(b) != want {
		t.Errorf("\n got %s\nwant %s", b, want)
	}
	if h := g.Headers(); len(h) != 1 || h[0].Get("User-Agent") != "Parley" || h[0].Get("X-LiveKit-Job-ID") != "" {
		t.Errorf("headers are %v", h)
	}
}

// words are the words of a speech, and the ids of its messages.
func words(t *testing.T, d *synthesizer, text string) (list, id string) {
	t.Helper()
	s, err := d.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	_ = s.Push(t.Context(), text)
	_ = s.CloseSend(t.Context())
	for {
		c, err := s.Next(t.Context())
		if errors.Is(err, io.EOF) {
			return strings.TrimSpace(list), id
		}
		if err != nil {
			t.Fatal(err)
		}
		id = c.RequestID
		for _, w := range c.Words {
			list += fmt.Sprintf("%s %d-%d ", w.Text, w.Start.Milliseconds(), w.End.Milliseconds())
		}
	}
}

func TestTimesOfWordsAndLetters(t *testing.T) {
	t.Parallel()
	for _, letters := range []bool{false, true} {
		_, g, d := speak(t, fault.Plan{}, livekitbox.TTSOptions{Letters: letters}, TTSOptions{Model: "inworld/inworld-tts-2", Extra: map[string]any{"timestamp_type": "WORD"}})
		want := "Hi 0-80 you. 80-240"
		if letters {
			want = "Hi 0-53 you. 80-208" // the sandbox counts the space behind a word
		}
		got, id := words(t, d, "Hi you.")
		if got != want || !d.Capabilities().AlignedTranscript {
			t.Errorf("letters %v: %s, want %s", letters, got, want)
		}
		if session := g.Headers()[0].Get(headSession); !strings.HasPrefix(id, session+"_tts_") {
			t.Errorf("request %q of session %q", id, session)
		}
	}
}

// saying speaks text in a bubble, and returns how long the end took after the last audio.
func saying(t *testing.T, ctx context.Context, d *synthesizer, text string) (said, end time.Duration) {
	t.Helper()
	s, err := d.Open(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	_ = s.Push(ctx, text)
	_ = s.CloseSend(ctx)
	last := time.Now()
	for {
		c, err := s.Next(ctx)
		if errors.Is(err, io.EOF) {
			return said.Round(time.Millisecond), time.Since(last)
		}
		if err != nil {
			t.Fatal(err)
		}
		if len(c.Frame.Data) > 0 {
			said, last = said+c.Frame.Duration(), time.Now()
		}
	}
}

// Providers cut a long text into generations, and each ends like the last.
func TestGenerationsOfALongText(t *testing.T) {
	long := strings.TrimSpace(strings.Repeat("Hello there. ", 80))
	for _, c := range []struct {
		name  string
		o     livekitbox.TTSOptions
		text  string
		words int
		end   time.Duration
		dials int // for two speeches
	}{
		{"short", livekitbox.TTSOptions{}, "Hello there.", 1, 0, 1},
		{"long in one", livekitbox.TTSOptions{}, long, 80, silence, 3},
		{"long in five", livekitbox.TTSOptions{Generation: 32, Gap: 1300 * time.Millisecond}, long, 80, silence, 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				box, dial := sandbox.InMemory(t)
				defer box.Close()
				livekitbox.New(box).TTS(c.o)
				d, err := newTTS(&TTSOptions{Model: "inworld/inworld-tts-2", APIKey: livekitbox.APIKey, APISecret: box.Key, BaseURL: box.URL() + "/v1"})
				if err != nil {
					t.Fatal(err)
				}
				d.dial = dial
				defer d.Close(t.Context())
				want := time.Duration(c.words*11) * perLetter
				for range 2 {
					if said, end := saying(t, t.Context(), d, c.text); said != want || end != c.end {
						t.Errorf("said %v of %v, and the end took %v, want %v", said, want, end, c.end)
					}
				}
				synctest.Wait()
				if box.Dials() != c.dials {
					t.Errorf("%d dials, want %d", box.Dials(), c.dials)
				}
			})
		})
	}
}

// A speech that is cut off cannot be cancelled; the next one has a connection of its own, and hears
// nothing of it.
func TestTheNextSpeechAfterAnInterruption(t *testing.T) {
	t.Parallel()
	box, _, d := speak(t, fault.Plan{}, livekitbox.TTSOptions{}, TTSOptions{})
	s, err := d.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_ = s.Push(t.Context(), strings.Repeat("Hello there. ", 20))
	if _, err := s.Next(t.Context()); err != nil {
		t.Fatal(err)
	}
	_ = s.Close()
	if said, err := modeltest.Say(t, d, "Bye."); err != nil || said.Round(time.Millisecond) != 4*perLetter {
		t.Errorf("said %v, %v", said, err)
	}
	if box.Dials() != 2 {
		t.Errorf("%d dials", box.Dials())
	}
}

// jobOf is a context of a job.
func jobOf(ctx context.Context, id string) context.Context {
	return model.WithJob(ctx, func() model.Job {
		return model.Job{ID: id, RoomID: "RM_1", AgentID: "PA_1", Header: map[string][]string{"X-Livekit-Inference-Priority": {"low"}}}
	})
}

func TestEachJobHasItsOwnConnections(t *testing.T) {
	t.Setenv("LIVEKIT_WORKER_TOKEN", "worker-token")
	box, g, d := speak(t, fault.Plan{}, livekitbox.TTSOptions{}, TTSOptions{})
	for _, id := range []string{"AJ_1", "AJ_2", "AJ_1"} {
		s, err := d.Open(jobOf(t.Context(), id))
		if err != nil {
			t.Fatal(err)
		}
		_ = s.Push(t.Context(), "Hi.")
		_ = s.CloseSend(t.Context())
		for err == nil {
			_, err = s.Next(t.Context())
		}
		_ = s.Close()
	}
	if box.Dials() != 2 {
		t.Errorf("%d dials, want 2", box.Dials())
	}
	for i, h := range g.Headers() {
		for name, want := range map[string]string{
			"X-LiveKit-Job-ID": fmt.Sprintf("AJ_%d", i+1), "X-LiveKit-Room-ID": "RM_1", "X-LiveKit-Agent-ID": "PA_1",
			"X-LiveKit-Worker-Token": "worker-token", "X-LiveKit-Inference-Priority": "low",
		} {
			if got := h.Get(name); got != want {
				t.Errorf("%s is %q, want %q", name, got, want)
			}
		}
	}
}

func TestConnectionsOfFormerJobsAreGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		box, dial := sandbox.InMemory(t)
		defer box.Close()
		livekitbox.New(box).TTS(livekitbox.TTSOptions{})
		d, err := newTTS(&TTSOptions{Model: "a/b", APIKey: livekitbox.APIKey, APISecret: box.Key, BaseURL: box.URL() + "/v1"})
		if err != nil {
			t.Fatal(err)
		}
		d.dial = dial
		defer d.Close(t.Context())
		for i := range 3 {
			saying(t, jobOf(t.Context(), fmt.Sprint(i)), d, "Hi.")
			time.Sleep(3 * time.Minute)
		}
		if len(d.pools) != 2 {
			t.Errorf("%d jobs have connections, want 2", len(d.pools))
		}
	})
}

func TestASendTellsWhyItWasRefused(t *testing.T) {
	for name, at := range map[string]func(key, url string) (any, error){
		"tts": func(key, url string) (any, error) {
			return newTTS(&TTSOptions{Model: "a/b", APIKey: "k", APISecret: key, BaseURL: url})
		},
		"stt": func(key, url string) (any, error) {
			return newSTT(&STTOptions{Model: "a/b", APIKey: "k", APISecret: key, BaseURL: url})
		},
	} {
		err := modeltest.Refused(t, `{"type":"error","code":404,"message":"no such voice"}`, at)
		if err == nil || !strings.Contains(err.Error(), "no such voice") {
			t.Errorf("%s: error is %v", name, err)
		}
	}
}

func FuzzReply(f *testing.F) {
	f.Add([]byte(`{"type":"output_audio","audio":"AAECAw==","session_id":"s"}`), true)
	f.Add([]byte(`{"type":"output_alignment","chars":[{"char":"a","start":-1,"end":1e300},{"char":" "}]}`), false)
	f.Add([]byte(`{"type":"error","message":"no","code":400}`), false)
	f.Fuzz(func(t *testing.T, b []byte, flushed bool) {
		var r reply
		if json.Unmarshal(b, &r) != nil || r.Type == "done" {
			return
		}
		s := &speech{Exchange: &wire.Exchange{}, d: &synthesizer{o: TTSOptions{Rate: 8000}}}
		s.flushed.Store(flushed)
		more, err := s.take(&r)
		if more && err != nil {
			t.Errorf("a chunk and %v", err)
		}
		for _, w := range s.chunk.Words {
			if w.Start < 0 || w.End < w.Start {
				t.Errorf("word %+v", w)
			}
		}
	})
}
