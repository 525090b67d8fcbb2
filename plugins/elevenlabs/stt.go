package elevenlabs

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/internal/wire"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/opt"
	"github.com/parley-go/parley/stt"
	"github.com/parley-go/parley/stt/driver"
)

const (
	sttRate  = 16000
	sttChunk = 50 * time.Millisecond // of one message
	// aliveEvery is how often a stream tells that it lives; pings do not count.
	aliveEvery = 10 * time.Second
)

// STTOptions are the options of NewSTT. The zero value, or nil, takes the key from ELEVEN_API_KEY.
type STTOptions struct {
	APIKey  string // default ELEVEN_API_KEY, else ELEVENLABS_API_KEY
	BaseURL string // default ELEVEN_BASE_URL, else https://api.elevenlabs.io/v1
	// Model is "scribe_v2_realtime", the default, for live audio, or one for recordings: "scribe_v2",
	// "scribe_v1".
	Model string
	// Language is a BCP-47 tag; default "": the model finds out. That of a single call (stt.Options) goes
	// before it.
	Language string
	Keyterms []string // words to expect, which costs more; those of a single call (stt.Options) are added
	// NoVerbatim leaves out filler words and false starts.
	NoVerbatim bool
	// NoLogging keeps ElevenLabs from keeping texts and audio; for enterprises.
	NoLogging bool

	// What follows is for live audio.

	// ManualCommit makes utterances end by Flush only. By default ElevenLabs ends them after a silence.
	ManualCommit bool
	Silence      time.Duration      // that ends an utterance, 0.3 to 3 s; 0: ElevenLabs's, 1.5 s
	Threshold    opt.Value[float64] // of what is speech, 0.1 to 0.9; unset: ElevenLabs's, 0.4
	MinSpeech    time.Duration      // of an utterance, 50 ms to 2 s; 0: ElevenLabs's, 100 ms
	MinSilence   time.Duration      // in an utterance, 50 ms to 2 s; 0: ElevenLabs's, 100 ms
	NoWords      bool               // leave out the times of words and the language, which come a little later
	PreviousText string             // what was said before, as a context

	// What follows is for recordings.

	NoAudioEvents bool // leave out "(laughter)" and the like
	Diarize       bool // tell speakers apart: alternatives have a SpeakerID

	// Front are retries and timeouts; nil for the defaults.
	Front *stt.ModelOptions
}

// NewSTT returns a model that transcribes live audio over a websocket or, if Model says so, recordings
// by HTTP. A missing key is an error that names the environment variable.
func NewSTT(o *STTOptions) (*stt.Model, error) {
	s, err := newScribe(o)
	if err != nil {
		return nil, err
	}
	return stt.New(s.driver(), s.o.Front), nil
}

// scribe is what the drivers for live audio and for recordings have in common.
type scribe struct {
	service
	o STTOptions
}

func newScribe(o *STTOptions) (*scribe, error) {
	s := &scribe{}
	if o != nil {
		s.o = *o
	}
	s.o.Model = cmp.Or(s.o.Model, "scribe_v2_realtime")
	tuned := s.o.Silence != 0 || !s.o.Threshold.IsUnset() || s.o.MinSpeech != 0 || s.o.MinSilence != 0
	switch {
	case s.o.ManualCommit && tuned:
		return nil, fmt.Errorf("elevenlabs: STTOptions.ManualCommit leaves nothing for Silence, Threshold, MinSpeech and MinSilence to decide")
	case s.live() && (s.o.Diarize || s.o.NoAudioEvents):
		return nil, fmt.Errorf("elevenlabs: STTOptions.Diarize and NoAudioEvents are for recordings, and not for %s", s.o.Model)
	case !s.live() && (tuned || s.o.ManualCommit || s.o.PreviousText != ""):
		return nil, fmt.Errorf("elevenlabs: %s is for recordings: it takes no STTOptions of live audio", s.o.Model)
	}
	sv, err := newService("STTOptions", "elevenlabs.STT", "stt", s.o.Model, s.o.APIKey, s.o.BaseURL)
	s.service = sv
	return s, err
}

func (s *scribe) live() bool { return strings.HasSuffix(s.o.Model, "_realtime") }

func (s *scribe) driver() driver.STT {
	if s.live() {
		return &recognizer{s}
	}
	return &transcriber{s}
}

func (s *scribe) language(o driver.Options) string { return cmp.Or(o.Language, s.o.Language) }

func (s *scribe) keyterms(o driver.Options) []string {
	return append(append([]string{}, s.o.Keyterms...), o.Keyterms...)
}

// recognizer implements driver.STT for live audio.
type recognizer struct{ *scribe }

// Capabilities implements driver.STT.
func (r *recognizer) Capabilities() driver.Capabilities {
	c := driver.Capabilities{InterimResults: true, Keyterms: true, SampleRate: sttRate}
	if !r.o.NoWords {
		c.AlignedTranscript = "word"
	}
	return c
}

// Open implements driver.Streamer.
func (r *recognizer) Open(ctx context.Context, o driver.Options) (driver.Stream, error) {
	alive, err := json.Marshal(chunk(nil, false))
	if err != nil {
		return nil, r.Error(model.KindRequest, "transcribe", err)
	}
	s, err := wire.Single(ctx, &r.Peer, wire.SocketOptions{
		URL: wire.JoinSocket(r.base, "/speech-to-text/realtime", r.query(o)), Header: r.head,
		Alive: string(alive), AliveEvery: aliveEvery, Reason: wire.Reason(r.refused),
	})
	if err != nil {
		return nil, err
	}
	l := &live{Socket: s, r: r, language: r.language(o)}
	l.chunks.Size, l.chunks.Rate = 2*audio.SamplesIn(sttChunk, sttRate), sttRate
	if r.o.PreviousText != "" { // for the first message only
		first := chunk(nil, false)
		first.Previous = r.o.PreviousText
		if err := s.WriteJSON(ctx, first); err != nil {
			_ = s.Close()
			return nil, err
		}
	}
	return l, nil
}

func (r *recognizer) query(o driver.Options) url.Values {
	q := url.Values{
		"model_id": {r.o.Model}, "audio_format": {"pcm_" + strconv.Itoa(sttRate)}, "commit_strategy": {"vad"},
		"enable_logging": {strconv.FormatBool(!r.o.NoLogging)},
	}
	if r.o.ManualCommit {
		q.Set("commit_strategy", "manual")
	}
	if l := r.language(o); l != "" {
		q.Set("language_code", short(l))
	} else if !r.o.NoWords {
		q.Set("include_language_detection", "true")
	}
	if !r.o.NoWords {
		q.Set("include_timestamps", "true")
	}
	if r.o.NoVerbatim {
		q.Set("no_verbatim", "true")
	}
	if k := r.keyterms(o); len(k) > 0 {
		q["keyterms"] = k
	}
	if r.o.Silence > 0 {
		q.Set("vad_silence_threshold_secs", strconv.FormatFloat(r.o.Silence.Seconds(), 'g', -1, 64))
	}
	if v, ok := r.o.Threshold.Get(); ok {
		q.Set("vad_threshold", strconv.FormatFloat(v, 'g', -1, 64))
	}
	for name, d := range map[string]time.Duration{"min_speech_duration_ms": r.o.MinSpeech, "min_silence_duration_ms": r.o.MinSilence} {
		if d > 0 {
			q.Set(name, strconv.FormatInt(d.Milliseconds(), 10))
		}
	}
	return q
}
