package elevenlabs

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/parley-go/parley/internal/modeltest"
	"github.com/parley-go/parley/internal/sandbox"
	"github.com/parley-go/parley/internal/sandbox/elevenlabsbox"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/model/fault"
	"github.com/parley-go/parley/opt"
	"github.com/parley-go/parley/tts"
)

// say speaks text to its end and returns the words that were heard.
func say(ctx context.Context, m *tts.Model, text string) (string, error) {
	s := m.Stream(ctx)
	defer s.Close()
	if err := s.Push(text); err != nil {
		return "", err
	}
	_ = s.EndInput()
	var words []string
	for {
		a, err := s.Next()
		if errors.Is(err, io.EOF) {
			return strings.Join(words, " "), nil
		}
		if err != nil {
			return "", err
		}
		for _, w := range a.Words {
			words = append(words, w.Text)
		}
	}
}

// Twelve speeches at the same time are three connections, and each hears itself only.
func TestSpeechesShareConnections(t *testing.T) {
	box, d := speaker(t, fault.Plan{Kind: fault.Slow, Times: -1}, TTSOptions{}, elevenlabsbox.TTSOptions{})
	m := tts.New(d, &tts.ModelOptions{Conn: model.ConnOptions{MaxRetry: -1}})
	var log modeltest.Log
	var wg sync.WaitGroup
	for i := range 12 {
		wg.Go(func() {
			want := strings.Repeat(string(rune('a'+i)), 4) + " said it."
			if got, err := say(log.Context(t.Context()), m, want); err != nil || got != want {
				t.Errorf("heard %q, %v, want %q", got, err, want)
			}
		})
	}
	wg.Wait()
	fresh := 0
	for _, c := range modeltest.Events[*metrics.Connection](&log) {
		if !c.Reused {
			fresh++
		}
	}
	if box.Dials() != 3 || fresh != 3 {
		t.Errorf("%d dials, %d events tell of one", box.Dials(), fresh)
	}
}

// The provider goes on with what it has begun. Whoever interrupts quickly and often must not open more
// contexts on a connection than it takes.
func TestManyInterruptionsInARow(t *testing.T) {
	box, d := speaker(t, fault.Plan{Kind: fault.Slow, Times: -1}, TTSOptions{}, elevenlabsbox.TTSOptions{})
	m := tts.New(d, &tts.ModelOptions{Conn: model.ConnOptions{MaxRetry: -1}})
	var log modeltest.Log
	for range 14 {
		s := m.Stream(log.Context(t.Context()))
		_ = s.Push("I will tell you a very long story now, which nobody hears. And then")
		if _, err := s.Next(); err != nil {
			t.Fatal(err)
		}
		_ = s.Close()
	}
	if len(log.Errors()) > 0 {
		t.Errorf("errors: %v", log.Errors())
	}
	var booked int64
	for _, e := range modeltest.Events[*metrics.TTS](&log) {
		booked += e.CharactersCount
	}
	if booked != box.Characters() || booked == 0 {
		t.Errorf("booked %d characters, the provider %d", booked, box.Characters())
	}
	if box.Dials() < 2 || box.Dials() > 14 {
		t.Errorf("%d dials", box.Dials())
	}
}

// scripted answers the n-th text of a connection with messages[n].
func scripted(t *testing.T, messages ...string) *synthesizer {
	box := sandbox.Start(t, fault.Plan{})
	box.HandleSocket("/v1/text-to-speech/{voice}/multi-stream-input", func(c *sandbox.Call, ws *sandbox.Socket) {
		n := 0
		for {
			_, data, err := ws.Read()
			if err != nil {
				return
			}
			var m struct {
				Text      string `json:"text"`
				ContextID string `json:"context_id"`
			}
			_ = json.Unmarshal(data, &m)
			if strings.TrimSpace(m.Text) == "" || n == len(messages) {
				continue
			}
			for _, x := range strings.Split(messages[n], "\n") {
				_ = ws.Send(json.RawMessage(strings.ReplaceAll(x, "CTX", m.ContextID)), false)
			}
			n++
		}
	}, func(*sandbox.Call) bool { return true })
	d, err := newTTS(&TTSOptions{APIKey: box.Key, BaseURL: box.URL() + "/v1"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close(t.Context()) })
	return d
}

func TestErrorsThatTheProviderStates(t *testing.T) {
	for _, c := range []struct {
		message   string
		permanent bool
		status    int
		text      string
	}{
		{`{"contextId":"CTX","error":"quota_exceeded","message":"out of credits"}`, true, 0, "quota_exceeded: out of credits"},
		{`{"context_id":"CTX","error":{"message":"try later"},"code":503}`, false, 503, "try later"},
		{`{"error":"max_active_conversations","message":"five","code":1008}`, false, 1008, "five"},
		{`{"error":"invalid_api_key","message":"` + sandbox.DefaultKey + `","code":1008}`, true, 1008, "[key]"},
	} {
		d := scripted(t, c.message)
		_, err := say(t.Context(), tts.New(d, &tts.ModelOptions{Conn: model.ConnOptions{MaxRetry: -1}}), "Hello there.")
		var e *model.Error
		if !errors.As(err, &e) || e.Retryable() == c.permanent || e.Status != c.status || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: error is %v", c.message, err)
		}
	}
}

// What one context did wrong is not the others' fault; what is wrong with the connection is told to all.
func TestErrorsOfAContextAndOfTheConnection(t *testing.T) {
	open := func(d *synthesizer) *speech {
		s, err := d.Open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		if err := s.Push(t.Context(), "Hello."); err != nil {
			t.Fatal(err)
		}
		return s.(*speech)
	}
	d := scripted(t, `{"contextId":"CTX","audio":"AAAAAA=="}`, `{"contextId":"CTX","error":"bad text"}`, `{"type":"flush_done"}`+"\n"+`{"error":"server_error"}`)
	one := open(d)
	if _, err := one.Next(t.Context()); err != nil {
		t.Fatal(err)
	}
	two := open(d)
	if _, err := two.Next(t.Context()); err == nil || !strings.Contains(err.Error(), "bad text") {
		t.Errorf("error is %v", err)
	}
	three := open(d)
	for _, s := range []*speech{one, three} {
		if _, err := s.Next(t.Context()); err == nil || !strings.Contains(err.Error(), "server_error") {
			t.Errorf("error is %v", err)
		}
	}
	if _, reused := open(d).Acquired(); reused {
		t.Error("a broken connection carries another speech")
	}
}

func TestAudioThatIsCutInASample(t *testing.T) {
	d := scripted(t, `{"contextId":"CTX","audio":"AQ=="}`+"\n"+`{"contextId":"CTX","audio":"AgMEBQ=="}`+"\n"+`{"contextId":"CTX","audio":"Bg==","isFinal":true}`)
	s, err := d.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	_ = s.Push(t.Context(), "Hello.")
	var got []int16
	for {
		c, err := s.Next(t.Context())
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, c.Frame.Data...)
	}
	if !reflect.DeepEqual(got, []int16{0x201, 0x403, 0x605}) {
		t.Errorf("samples are %x", got)
	}
}

func TestOptionsOfTTS(t *testing.T) {
	t.Setenv("ELEVEN_API_KEY", "")
	t.Setenv("ELEVENLABS_API_KEY", "")
	if _, err := NewTTS(nil); err == nil || !strings.Contains(err.Error(), "ELEVEN_API_KEY") {
		t.Errorf("without a key: %v", err)
	}
	if _, err := NewTTS(&TTSOptions{APIKey: "k", Rate: 11025}); err == nil {
		t.Error("a rate that there is not was accepted")
	}
	t.Setenv("ELEVENLABS_API_KEY", "k")
	d, err := newTTS(&TTSOptions{
		Language: "ja-JP", Voice: "v", NoWords: true, NoLogging: true, ChunkSchedule: []int{50},
		Speed: opt.Some(1.1), SpeakerBoost: opt.Some(false), Dictionaries: []Dictionary{{ID: "d"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if q := d.query(); q.Get("language_code") != "ja" || q.Has("sync_alignment") || q.Get("enable_logging") != "false" || q.Get("auto_mode") != "false" {
		t.Errorf("query is %v", q)
	}
	b, _ := json.Marshal(d.init)
	if want := `{"text":" ","context_id":"","voice_settings":{"speed":1.1,"use_speaker_boost":false},"generation_config":{"chunk_length_schedule":[50]},"pronunciation_dictionary_locators":[{"pronunciation_dictionary_id":"d"}]}`; string(b) != want {
		t.Errorf("first message is %s", b)
	}
	if !d.o.OriginalWords.Default(false) || d.Info() != (model.Info{Label: "elevenlabs.TTS", Provider: "elevenlabs", Model: "eleven_turbo_v2_5"}) {
		t.Errorf("options are %+v, info %+v", d.o, d.Info())
	}
}

func TestASendTellsWhyItWasRefused(t *testing.T) {
	for name, at := range map[string]func(key, url string) (any, error){
		"tts": func(key, url string) (any, error) { return newTTS(&TTSOptions{APIKey: key, BaseURL: url}) },
		"stt": func(key, url string) (any, error) {
			s, err := newScribe(&STTOptions{APIKey: key, BaseURL: url})
			return s.driver(), err
		},
	} {
		err := modeltest.Refused(t, `{"message_type":"input_error","error":"no such voice"}`, at)
		if err == nil || !strings.Contains(err.Error(), "no such voice") {
			t.Errorf("%s: error is %v", name, err)
		}
	}
}
