package conservation

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/parley-go/parley/internal/sandbox"
	"github.com/parley-go/parley/internal/sandbox/googlebox"
	"github.com/parley-go/parley/internal/sandbox/nvidiabox"
	"github.com/parley-go/parley/internal/sandbox/openaibox"
	"github.com/parley-go/parley/internal/sandbox/phonicbox"
	"github.com/parley-go/parley/internal/sandbox/ultravoxbox"
	"github.com/parley-go/parley/llm"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/opt"
	"github.com/parley-go/parley/plugins/google"
	"github.com/parley-go/parley/plugins/nvidia"
	"github.com/parley-go/parley/plugins/openai"
	"github.com/parley-go/parley/plugins/phonic"
	"github.com/parley-go/parley/plugins/ultravox"
	"github.com/parley-go/parley/realtime"
	"github.com/parley-go/parley/session"
)

// conversers are the realtime models.
func conversers(s *script) []provider[*realtime.Model] {
	talk := sandbox.Talk{Answer: s.reply}
	return []provider[*realtime.Model]{
		{"openai", func(b *sandbox.Server) (*realtime.Model, error) {
			openaibox.Converse(b, "", openaibox.ConverseOptions{Talk: talk, Pace: 1})
			return openai.NewRealtime(&openai.RealtimeOptions{Service: openai.OpenAI, APIKey: b.Key, BaseURL: b.URL()})
		}},
		{"openai without turns", func(b *sandbox.Server) (*realtime.Model, error) {
			openaibox.Converse(b, "", openaibox.ConverseOptions{Talk: talk, Pace: 2})
			return openai.NewRealtime(&openai.RealtimeOptions{Service: openai.OpenAI, APIKey: b.Key, BaseURL: b.URL(), Turns: opt.Off[openai.RealtimeTurns]()})
		}},
		{"azure older", func(b *sandbox.Server) (*realtime.Model, error) {
			openaibox.Converse(b, "/openai", openaibox.ConverseOptions{Talk: talk, Pace: 1, Provider: "azure", Header: "api-key", Form: openaibox.Older})
			return openai.NewRealtime(&openai.RealtimeOptions{Service: openai.Azure, APIKey: b.Key, BaseURL: b.URL(), APIVersion: "2025-04-01-preview"})
		}},
		{"xai", func(b *sandbox.Server) (*realtime.Model, error) {
			openaibox.Converse(b, "", openaibox.ConverseOptions{Talk: talk, Pace: 1, Provider: "xai", Form: openaibox.XAI})
			return openai.NewRealtime(&openai.RealtimeOptions{Service: openai.XAI, APIKey: b.Key, BaseURL: b.URL()})
		}},
		{"gemini", func(b *sandbox.Server) (*realtime.Model, error) {
			googlebox.Live(b, googlebox.LiveOptions{Talk: talk, Pace: 1, Thought: "What may he want?"})
			return google.NewRealtime(&google.RealtimeOptions{APIKey: b.Key, BaseURL: b.URL()})
		}},
		{"vertex", func(b *sandbox.Server) (*realtime.Model, error) {
			googlebox.Live(b, googlebox.LiveOptions{Talk: talk, Pace: 1, Late: true})
			return google.NewRealtime(&google.RealtimeOptions{VertexAI: opt.Some(true), Project: "project",
				Credentials: google.Credentials{AccessToken: b.Key}, BaseURL: b.URL()})
		}},
		{"ultravox", func(b *sandbox.Server) (*realtime.Model, error) {
			ultravoxbox.Converse(b, "/api", ultravoxbox.Options{Talk: talk, Pace: 1})
			return ultravox.NewRealtime(&ultravox.RealtimeOptions{APIKey: b.Key, BaseURL: b.URL() + "/api"})
		}},
		{"phonic", func(b *sandbox.Server) (*realtime.Model, error) {
			phonicbox.Converse(b, "/v1", phonicbox.Options{Talk: talk, Pace: 1})
			return phonic.NewRealtime(&phonic.RealtimeOptions{APIKey: b.Key, BaseURL: b.URL() + "/v1"})
		}},
		{"nvidia", func(b *sandbox.Server) (*realtime.Model, error) {
			nvidiabox.Converse(b, "", nvidiabox.ConverseOptions{Talk: talk})
			return nvidia.NewRealtime(&nvidia.RealtimeOptions{BaseURL: b.URL()})
		}},
	}
}

// converser is a realtime model, or several of a kind.
func (w *world) converser(s *script) *realtime.Model {
	list := conversers(s)
	s.calls(false)
	defer s.calls(true)
	if w.rng.IntN(3) > 0 {
		m := pick(w, "realtime", list)
		w.hear(m)
		return m
	}
	list = slices.DeleteFunc(list, func(p provider[*realtime.Model]) bool { return !slices.Contains(alike, p.name) })
	a, b := pick(w, "realtime", list), pick(w, "realtime", list)
	w.hear(a)
	w.hear(b)
	return realtime.Fallback(nil, a, b)
}

// alike are models that can take each other's place.
var alike = []string{"openai", "azure older", "gemini", "vertex"}

// converses has the session use the realtime model, by itself or with others beside it.
func (x *talk) converses(o *session.Options) {
	o.Realtime, o.LLM, o.STT = x.w.rt, nil, nil
	if x.rng.IntN(3) > 0 {
		o.TTS = nil
	}
	if x.rng.IntN(3) > 0 && x.w.rt.Capabilities().ServerTurns {
		o.VAD = nil
	}
	if o.VAD != nil && x.rng.IntN(2) == 0 {
		o.STT = x.w.stt
	}
}

// sure is what must be booked: all that is billed, but for what a realtime model's transcripts of the user cost that it
// did not tell, which nobody can know.
func (b *box) sure() metrics.Usage {
	u := b.Ledger.Billed()
	if !strings.HasPrefix(b.name, "realtime ") {
		return u
	}
	u.Models = slices.DeleteFunc(slices.Clone(u.Models), transcribes)
	for _, m := range b.Ledger.Stated().Models {
		if transcribes(m) {
			u.Models = append(u.Models, m)
		}
	}
	return u
}

func transcribes(m metrics.ModelUsage) bool {
	_, ok := m.(metrics.STTUsage)
	return ok
}

// Estimates of models that hear and speak are from half of what is billed to the double, and up to eighty tokens an
// answer off besides: each one counts the whole conversation, and nobody knows what of the sound; see docs/usage.md.
const (
	spokenBound = 1
	spokenLeast = 0.5
	spokenSlack = 80
)

// boundsOf are the factors that the estimates of a model are between, slackOf how far one of them may be off besides.
func boundsOf(k metrics.Key, billed account) (least, most float64) {
	if billed.speaks(k) {
		return spokenLeast, 1 + spokenBound
	}
	return 1 - bound, 1 + bound
}

func slackOf(k metrics.Key, billed account) float64 {
	if billed.speaks(k) {
		return spokenSlack
	}
	return slack
}

func (a account) speaks(k metrics.Key) bool { return a[k].spoken.inText+a[k].spoken.inAudio > 0 }

// hear has a realtime model state its usage, since nobody can guess what its prompt costs.
func (w *world) hear(m *realtime.Model) {
	if !m.Capabilities().BilledByTokens {
		return
	}
	tools, err := llm.NewToolContext((&talk{w: w, rng: w.rng}).newAgent().Tools...)
	if err != nil {
		w.t.Fatal(err)
	}
	s, err := m.Session(metrics.WithRecorder(context.Background(), &w.spent), &realtime.SessionOptions{
		Instructions: "You are a receptionist. Be friendly and brief.", Tools: tools.Specs(), ClientTurns: !m.Capabilities().ServerTurns,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			if _, err := s.Next(); err != nil {
				return
			}
		}
	}()
	g, err := s.Generate(context.Background(), nil)
	if err != nil {
		w.t.Fatal(err)
	}
	<-g.Done()
	_ = s.Close()
	<-done
}

// spoken is what realtime models bill besides.
type spoken struct {
	inAudio, inText, cachedAudio, cachedText, outAudio, outText int64
	time                                                        time.Duration
}

func (s *spoken) add(u metrics.LLMUsage) {
	s.inAudio, s.inText = s.inAudio+u.InputAudioTokens, s.inText+u.InputTextTokens
	s.cachedAudio, s.cachedText = s.cachedAudio+u.InputCachedAudioTokens, s.cachedText+u.InputCachedTextTokens
	s.outAudio, s.outText, s.time = s.outAudio+u.OutputAudioTokens, s.outText+u.OutputTextTokens, s.time+u.SessionDuration
}

func (s spoken) within(from, to spoken) bool {
	return in(s.inAudio, from.inAudio, to.inAudio) && in(s.inText, from.inText, to.inText) && in(s.cachedAudio, from.cachedAudio, to.cachedAudio) &&
		in(s.cachedText, from.cachedText, to.cachedText) && in(s.outAudio, from.outAudio, to.outAudio) && in(s.outText, from.outText, to.outText)
}

func (s spoken) measured(from, to spoken) bool {
	return in(int64(s.time), int64(from.time-rounding), int64(to.time+rounding))
}

// calls says whether tools are called.
func (s *script) calls(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.plain = !on
}

func (s *script) reply(r sandbox.TalkRequest) (a sandbox.Reply) {
	var tools []string
	for _, t := range r.Tools {
		tools = append(tools, t.Name)
	}
	a.Text, a.Calls = s.answer(tools, r.Last().Role == "output")
	return a
}
