package google

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/internal/modeltest"
	"github.com/parley-go/parley/internal/sandbox"
	"github.com/parley-go/parley/internal/sandbox/googlebox"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/model/fault"
	"github.com/parley-go/parley/opt"
	"github.com/parley-go/parley/stt"
	"github.com/parley-go/parley/stt/driver"
)

// live is a stream to a sandbox, in a bubble.
type live struct {
	*testing.T
	box    *sandbox.Server
	s      *stt.Stream
	log    modeltest.Log
	mu     sync.Mutex
	asked  []googlebox.Recognition
	events []string // kinds, and texts with their times
	end    error
	done   chan struct{}

	failures int // that are expected
}

// inBubble runs f with a stream in virtual time.
func inBubble(t *testing.T, o STTOptions, so googlebox.SpeechOptions, call *stt.Options, f func(l *live)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		box, dial := sandbox.InMemory(t)
		defer box.Close()
		l := &live{T: t, box: box, done: make(chan struct{})}
		so.Asked = func(r googlebox.Recognition) { // of several connections at once, when one is asked again
			l.mu.Lock()
			defer l.mu.Unlock()
			l.asked = append(l.asked, r)
		}
		googlebox.Speech(box, so)
		protocols := &http.Protocols{}
		protocols.SetUnencryptedHTTP2(true)
		transport := &http.Transport{DialContext: dial, Protocols: protocols}
		defer transport.CloseIdleConnections()
		o.BaseURL, o.Project, o.HTTPClient = box.URL(), "sandbox", &http.Client{Transport: transport}
		o.Credentials.AccessToken = box.Key
		m, err := NewSTT(&o)
		if err != nil {
			t.Fatal(err)
		}
		if l.s, err = m.Stream(l.log.Context(t.Context()), call); err != nil {
			t.Fatal(err)
		}
		defer l.s.Close()
		go l.collect()
		f(l)
		_ = l.s.EndInput()
		<-l.done
		if l.end != io.EOF {
			t.Errorf("the stream ended with %v", l.end)
		}
		if n := len(l.log.Errors()); n != l.failures {
			t.Errorf("errors: %v", l.log.Errors())
		}
		l.paid()
	})
}

func (l *live) collect() {
	defer close(l.done)
	for {
		e, err := l.s.Next()
		if err != nil {
			l.end = err
			return
		}
		s := e.Kind.String()
		if len(e.Alternatives) > 0 {
			a := e.Alternatives[0]
			s = fmt.Sprintf("%s %q %v-%v", s, a.Text, a.Start.Round(time.Millisecond), a.End.Round(time.Millisecond))
		} else if e.Kind == stt.StartOfSpeech {
			s += " " + e.SpeechStart.String()
		}
		l.events = append(l.events, s)
	}
}

// speak pushes audio in real time.
func (l *live) speak(f audio.Frame) {
	step := audio.SamplesIn(100*time.Millisecond, f.Rate)
	for at := 0; at < len(f.Data); at += step {
		if err := l.s.Push(audio.Frame{Data: f.Data[at:min(at+step, len(f.Data))], Rate: f.Rate, Channels: 1}); err != nil {
			l.Fatal(err)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func (l *live) expect(want ...string) {
	l.Helper()
	synctest.Wait()
	if got, want := strings.Join(l.events, "\n"), strings.Join(want, "\n"); got != want {
		l.Errorf("got\n%s\nwant\n%s", got, want)
	}
	l.events = nil
}

// paid checks that what was booked is what was billed.
func (l *live) paid() {
	l.Helper()
	var booked time.Duration
	for _, e := range modeltest.Events[*metrics.STT](&l.log) {
		booked += e.AudioDuration
	}
	if billed := l.box.Audio(); booked != billed {
		l.Errorf("%v were booked, %v billed", booked, billed)
	}
}

var utterance = sandbox.EarSpeech(16000).Duration()

func TestWhatAStreamTells(t *testing.T) {
	inBubble(t, STTOptions{}, googlebox.SpeechOptions{}, nil, func(l *live) {
		l.speak(sandbox.EarSpeech(16000))
		l.expect(
			"start_of_speech 0s",
			`interim_transcript "turn" 0s-150ms`, `interim_transcript "turn on" 0s-300ms`, `interim_transcript "turn on the" 0s-450ms`,
			`interim_transcript "turn on the lights" 0s-600ms`,
			"end_of_speech", `final_transcript "turn on the lights" 0s-800ms`,
		)
		l.speak(sandbox.EarSpeech(16000))
		synctest.Wait()
		if n := len(l.events); n == 0 || l.events[0] != "start_of_speech 1.6s" || l.events[n-1] != `final_transcript "turn on the lights" 1.6s-2.4s` {
			l.Errorf("then came %q", l.events)
		}
	})
}

func TestWithoutEventsSpeechFollowsFromTranscripts(t *testing.T) {
	inBubble(t, STTOptions{NoActivity: true, NoInterim: true, NoWordTimes: true}, googlebox.SpeechOptions{}, nil, func(l *live) {
		l.speak(sandbox.EarSpeech(16000))
		l.expect("start_of_speech 0s", `final_transcript "turn on the lights" 0s-800ms`, "end_of_speech")
	})
}

func TestNoiseIsNoTranscript(t *testing.T) {
	for confidence, n := range map[float32]int{0.5: 0, 0.7: 1} {
		inBubble(t, STTOptions{NoInterim: true}, googlebox.SpeechOptions{Confidence: confidence}, nil, func(l *live) {
			l.speak(sandbox.EarSpeech(16000))
			synctest.Wait()
			if got := strings.Count(strings.Join(l.events, " "), "final"); got != n {
				l.Errorf("%d finals of confidence %v", got, confidence)
			}
		})
	}
	r := &recognizer{o: STTOptions{MinConfidence: opt.Off[float64]()}}
	if !r.trusts(0.1) || !(&recognizer{}).trusts(0) {
		t.Error("a transcript was dropped for nothing")
	}
}

func TestFlushGivesTheFinalAtOnce(t *testing.T) {
	inBubble(t, STTOptions{NoInterim: true}, googlebox.SpeechOptions{}, nil, func(l *live) {
		speech := sandbox.EarSpeech(16000)
		speech.Data = speech.Data[:audio.SamplesIn(800*time.Millisecond, 16000)]
		l.speak(speech)
		if err := l.s.Flush(); err != nil {
			l.Fatal(err)
		}
		l.expect("start_of_speech 0s", `final_transcript "turn on the lights" 0s-800ms`, "end_of_speech")
		time.Sleep(time.Second)
		l.speak(sandbox.EarSpeech(16000)) // goes to the next call, and its times go on
		l.expect("start_of_speech 800ms", "end_of_speech", `final_transcript "turn on the lights" 800ms-1.6s`)
		if n := l.box.Calls(); n != 2 {
			l.Errorf("there were %d calls", n)
		}
	})
}

// What a call has cost that does not state it is not covered by what the next one states.
func TestCallThatStatesNoUsageIsMeasured(t *testing.T) {
	inBubble(t, STTOptions{NoInterim: true}, googlebox.SpeechOptions{}, nil, func(l *live) {
		l.box.Plan(fault.Once(fault.UsageMissing))
		for range 2 {
			l.speak(audio.Silence(1500*time.Millisecond, 16000, 1))
			if err := l.s.Flush(); err != nil {
				l.Fatal(err)
			}
			time.Sleep(time.Second)
		}
		var sources []metrics.Source
		for _, e := range modeltest.Events[*metrics.STT](&l.log) {
			if e.AudioDuration > 0 {
				sources = append(sources, e.Source)
			}
		}
		if !slices.Equal(sources, []metrics.Source{metrics.Measured, metrics.FromProvider}) {
			l.Errorf("booked by %q", sources)
		}
	})
}

// Nor is what the next one has been sent meanwhile left out of the bill, should that be cut off.
func TestAudioBehindACallThatStatesNoUsageIsBooked(t *testing.T) {
	inBubble(t, STTOptions{NoInterim: true}, googlebox.SpeechOptions{}, nil, func(l *live) {
		l.box.Plan(fault.Always(fault.UsageMissing))
		for range 2 {
			if err := l.s.Push(audio.Silence(1500*time.Millisecond, 16000, 1)); err != nil {
				l.Fatal(err)
			}
			if err := l.s.Flush(); err != nil {
				l.Fatal(err)
			}
		}
		if err := l.s.Push(audio.Silence(2*time.Second, 16000, 1)); err != nil {
			l.Fatal(err)
		}
		synctest.Wait()
		_ = l.s.Close()
		<-l.done
		l.end = io.EOF // it was closed
	})
}

// What a call was sent that the provider refuses costs nothing.
func TestRefusedCallIsNotBooked(t *testing.T) {
	inBubble(t, STTOptions{NoInterim: true}, googlebox.SpeechOptions{}, nil, func(l *live) {
		l.failures = 1
		l.speak(sandbox.EarSpeech(16000))
		if err := l.s.Flush(); err != nil {
			l.Fatal(err)
		}
		synctest.Wait()
		l.box.Plan(fault.Once(fault.ServerError))
		l.speak(sandbox.EarSpeech(16000))
	})
}

// TestCallsGiveWay speaks for 12 minutes: no word is lost, no call is longer than the provider allows,
// and nobody notices.
func TestCallsGiveWay(t *testing.T) {
	inBubble(t, STTOptions{NoInterim: true}, googlebox.SpeechOptions{}, nil, func(l *live) {
		const n = 12 * 60 * 10 / 16
		for i := range n {
			l.speak(sandbox.EarSpeech(16000))
			at := time.Duration(i) * utterance
			l.expect("start_of_speech "+at.String(), "end_of_speech", fmt.Sprintf("final_transcript %q %v-%v", sandbox.EarText, at, at+800*time.Millisecond))
		}
		if c := l.box.Calls(); c != 3 || l.box.Dials() != 1 {
			l.Errorf("there were %d calls over %d connections", c, l.box.Dials())
		}
	})
}

// TestCallsGiveWayToSpeechWithoutAnEnd speaks for 10 minutes without a pause.
func TestCallsGiveWayToSpeechWithoutAnEnd(t *testing.T) {
	inBubble(t, STTOptions{NoInterim: true}, googlebox.SpeechOptions{}, nil, func(l *live) {
		sound := sandbox.EarSpeech(16000)
		sound.Data = sound.Data[:audio.SamplesIn(500*time.Millisecond, 16000)]
		for range 10 * 60 * 2 {
			l.speak(sound)
		}
		l.expect(
			"start_of_speech 0s", fmt.Sprintf("final_transcript %q 0s-4m45s", sandbox.EarText), "end_of_speech",
			"start_of_speech 4m45s", fmt.Sprintf("final_transcript %q 4m45s-9m30s", sandbox.EarText), "end_of_speech",
			"start_of_speech 9m30s",
		)
	})
}

func TestSilenceOfTheMicrophone(t *testing.T) {
	inBubble(t, STTOptions{NoInterim: true}, googlebox.SpeechOptions{}, nil, func(l *live) {
		time.Sleep(time.Minute)
		speech := sandbox.EarSpeech(16000)
		speech.Data = speech.Data[:audio.SamplesIn(800*time.Millisecond, 16000)]
		l.speak(speech) // and no more: the microphone is off in the middle of it
		time.Sleep(time.Hour)
		l.expect("start_of_speech 0s", `final_transcript "turn on the lights" 0s-800ms`, "end_of_speech")
		l.speak(speech)
		l.speak(audio.Silence(time.Second, 16000, 1))
		l.expect("start_of_speech 800ms", "end_of_speech", `final_transcript "turn on the lights" 800ms-1.6s`)
		if c := l.box.Calls(); c != 3 {
			l.Errorf("there were %d calls", c)
		}
	})
}

// TestLastWordsThatDoNotCome has a call that does not end when it is told to.
func TestLastWordsThatDoNotCome(t *testing.T) {
	inBubble(t, STTOptions{}, googlebox.SpeechOptions{}, nil, func(l *live) {
		l.failures = 1
		synctest.Wait() // for the first call
		l.box.Plan(fault.Once(fault.Stall))
		l.speak(audio.Silence(100*time.Millisecond, 16000, 1))
		_ = l.s.Flush()
		l.speak(sandbox.EarSpeech(16000))
		_ = l.s.Flush()
		time.Sleep(drainLimit + 5*time.Second)
		synctest.Wait()
		var e *model.Error
		if errs := l.log.Errors(); len(errs) != 1 || !errors.As(errs[0].Err, &e) || e.Kind != model.KindTimeout || !errs[0].Recoverable {
			l.Errorf("errors: %v", errs)
		}
		if last := l.events[len(l.events)-1]; !strings.HasPrefix(last, "final_transcript") {
			l.Errorf("heard %q", l.events)
		}
	})
}

func TestWhatIsAskedFor(t *testing.T) {
	for _, c := range []struct {
		name string
		o    STTOptions
		call *stt.Options
		ok   func(r googlebox.Recognition) bool
	}{
		{"defaults", STTOptions{}, nil, func(r googlebox.Recognition) bool {
			return r.Recognizer == "projects/sandbox/locations/global/recognizers/_" && r.Model == "latest_long" && r.Rate == 16000 &&
				fmt.Sprint(r.Languages, r.Features, r.Phrases) == "[en-US] map[2:1 4:1] []" && r.Activity && r.Interim && !r.Denoise && r.Speakers == 0
		}},
		{"all", STTOptions{
			Location: "eu", Recognizer: "mine", Model: "chirp_3", Languages: []string{"de-DE", "fr-FR"}, NoInterim: true, NoPunctuation: true,
			SpokenPunctuation: true, SpokenEmojis: true, ProfanityFilter: true, NoWordTimes: true, NoActivity: true, Denoise: true, Speakers: 2,
			Keyterms: []string{"Parley"}, Boost: 7,
		}, &stt.Options{Keyterms: []string{"Kelly"}}, func(r googlebox.Recognition) bool {
			return r.Recognizer == "projects/sandbox/locations/eu/recognizers/mine" && r.Model == "chirp_3" && r.Boost == 7 && r.Denoise && r.Speakers == 2 &&
				fmt.Sprint(r.Languages, r.Features, r.Phrases) == "[de-DE fr-FR] map[1:1 14:1 15:1] [Parley Kelly]" && !r.Activity && !r.Interim
		}},
		{"language of the call", STTOptions{Languages: []string{"de-DE", "fr-FR"}}, &stt.Options{Language: "it-IT"}, func(r googlebox.Recognition) bool {
			return len(r.Languages) == 1 && r.Languages[0] == "it-IT"
		}},
	} {
		inBubble(t, c.o, googlebox.SpeechOptions{}, c.call, func(l *live) {
			l.speak(audio.Silence(100*time.Millisecond, 16000, 1))
			synctest.Wait()
			if len(l.asked) != 1 || !c.ok(l.asked[0]) {
				l.Errorf("%s: asked for %+v", c.name, l.asked)
			}
		})
	}
}

func TestRecognizeUtterance(t *testing.T) {
	box := sandbox.Start(t, fault.Plan{})
	googlebox.Speech(box, googlebox.SpeechOptions{})
	googlebox.Token(box, googlebox.TokenOptions{Email: account, Key: &serviceKey().PublicKey})
	t.Setenv("GOOGLE_CLOUD_PROJECT", "")
	m, err := NewSTT(&STTOptions{BaseURL: box.URL(), Speakers: 2, Credentials: Credentials{JSON: googlebox.KeyFile(box, account, pkcs8(t, serviceKey()))}})
	if err != nil {
		t.Fatal(err)
	}
	r, err := m.Recognize(t.Context(), sandbox.EarSpeech(16000), &stt.Options{Language: "de-DE"})
	if err != nil {
		t.Fatal(err)
	}
	if r.Text != sandbox.EarText || r.Language != "de-de" || len(r.Words) != 4 || r.SpeakerID != "2" || r.RequestID != "req-1" || r.Usage.AudioDuration != utterance {
		t.Errorf("got %+v", r)
	}
}

func TestPortionsAreJoined(t *testing.T) {
	r := (&recognizer{}).result(&answer{results: []result{
		{text: " turn on", confidence: 0.9, end: time.Second},
		{text: " noise", confidence: 0.2, end: 2 * time.Second},
		{text: "", end: 2 * time.Second},
		{text: "the lights ", confidence: 0.8, end: 3 * time.Second, language: "en-us"},
	}})
	if r.Text != "turn on the lights" || r.End != 3*time.Second || r.Confidence != 0.8 || r.Language != "en-us" {
		t.Errorf("got %+v", r)
	}
}

func TestWordsOfBeforeAreNotToldAgain(t *testing.T) {
	w := func(text string, from, to time.Duration) word {
		return word{driver.Word{Text: text, Start: from * time.Second, End: to * time.Second}, "1"}
	}
	r := result{text: "b", words: []word{w("a", 0, 1), w("b", 2, 3)}, end: 3 * time.Second}
	a := r.alternative(time.Second, 10*time.Second)
	if len(a.Words) != 1 || a.Words[0].Text != "b" || a.Start != 12*time.Second || a.End != 13*time.Second || a.SpeakerID != "1" {
		t.Errorf("got %+v", a)
	}
}

func TestSTTMissingCredentials(t *testing.T) {
	for _, name := range []string{"GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_CLOUD_PROJECT"} {
		t.Setenv(name, "")
	}
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	t.Setenv("HOME", t.TempDir())
	for want, o := range map[string]*STTOptions{
		"GOOGLE_APPLICATION_CREDENTIALS": nil,
		"GOOGLE_CLOUD_PROJECT":           {Credentials: Credentials{AccessToken: "t"}},
	} {
		if _, err := NewSTT(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
	r, err := newSTT(&STTOptions{Project: "p", Location: "eu", Credentials: Credentials{AccessToken: "t"}})
	if err != nil || r.base.Host != "eu-speech.googleapis.com" {
		t.Errorf("%v, %v", r.base, err)
	}
}

func TestDriverStreamIsOverAfterClose(t *testing.T) {
	box := sandbox.Start(t, fault.Plan{})
	googlebox.Speech(box, googlebox.SpeechOptions{})
	r, err := newSTT(&STTOptions{BaseURL: box.URL(), Project: "p", Credentials: Credentials{AccessToken: box.Key}})
	if err != nil {
		t.Fatal(err)
	}
	s, err := r.Open(t.Context(), driver.Options{})
	if err != nil {
		t.Fatal(err)
	}
	_ = s.Flush(context.Background()) // nothing came: the call is dropped
	_ = s.Close()
	if err := s.Push(t.Context(), audio.Silence(100*time.Millisecond, 16000, 1)); !model.Retryable(err) {
		t.Errorf("push gave %v", err)
	}
	if _, err := s.Next(t.Context()); err == nil || err == io.EOF {
		t.Errorf("next gave %v", err)
	}
}

func FuzzAnswer(f *testing.F) {
	f.Add([]byte{0x32, 0x02, 0x10, 0x01}, true)
	f.Add([]byte{0x3a, 0x04, 0x08, 0xff, 0x01, 0x10}, true)
	f.Add([]byte{0x2a, 0x04, 0x32, 0x02, 0x08, 0x05}, false)
	f.Add([]byte{0xff, 0xff}, true)
	f.Fuzz(func(t *testing.T, b []byte, streaming bool) {
		a, err := readAnswer(b, streaming)
		if err != nil {
			return
		}
		for i := range a.results {
			if alt := a.results[i].alternative(time.Second, time.Minute); alt.End < alt.Start {
				t.Errorf("%+v", alt)
			}
		}
		if a.billed < 0 || a.at < 0 {
			t.Errorf("%+v", a)
		}
	})
}
