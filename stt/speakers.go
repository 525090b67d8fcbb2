package stt

import (
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/parley-go/parley/audio"
)

// MultiSpeakerOptions tune MultiSpeaker; nil and zero values mean the defaults.
type MultiSpeakerOptions struct {
	// SuppressBackground leaves out what others than the primary speaker say: their finals are empty,
	// their interims do not come at all.
	SuppressBackground bool
	// PrimaryFormat and BackgroundFormat are how the words of the two are put: "{text}" stands for them,
	// "{speaker}" for the speaker's id. Default "{text}".
	PrimaryFormat, BackgroundFormat string
}

// How the primary speaker is told from the others.
const (
	levelFrame   = 100 * time.Millisecond
	levelHistory = 120 * time.Second
	minLevels    = 3                // frames that say how loud an utterance was
	oldShare     = 0.5              // of a speaker's loudness in the next utterance's
	louder       = 1.3              // than the primary speaker, to become it
	leastLouder  = 0.5              // when that one was silent for long
	evenAfter    = 60 * time.Second // silence of the primary speaker; then it takes just as much
	maxSpeakers  = 64               // whose loudness is kept
)

// MultiSpeaker returns m with the roles of speakers told, for microphones that hear more people than the
// one to talk with; o may be nil. The primary speaker is the first, until another one is louder by a
// third. It takes less the longer the primary one has been silent: nothing after a minute, half as loud
// after about three.
//
// It needs a model that tells speakers apart (Diarization) and when they spoke; others are returned as
// they are. It acts on streams, and reports nothing itself: metrics and errors are those of m. It goes
// around a Fallback, not into one.
func MultiSpeaker(m *Model, o *MultiSpeakerOptions) *Model {
	if !m.caps.Diarization {
		return m
	}
	x := *m
	x.multi = &MultiSpeakerOptions{}
	if o != nil {
		*x.multi = *o
	}
	return &x
}

// speakers knows how loud the speakers of a stream are. It belongs to the stream's lock; nil knows none.
type speakers struct {
	o       MultiSpeakerOptions
	sum     float64   // of squares, of the frame that is not full yet
	n       int       // samples in it
	levels  []float64 // of the latest frames
	first   int       // number of levels[0]
	loud    map[string]float64
	primary string        // "" for nobody yet
	seen    time.Duration // until when the primary speaker spoke last
}

func newSpeakers(o MultiSpeakerOptions) *speakers {
	return &speakers{o: o, loud: make(map[string]float64)}
}

// reset forgets who is who.
func (s *speakers) reset() {
	if s != nil {
		clear(s.loud)
		s.primary, s.seen = "", 0
	}
}

// hear takes the next audio of the stream.
func (s *speakers) hear(data []int16, rate int) {
	if s == nil {
		return
	}
	size := audio.SamplesIn(levelFrame, rate)
	for _, v := range data {
		s.sum += float64(v) * float64(v)
		if s.n++; s.n == size {
			s.levels = append(s.levels, math.Sqrt(s.sum/float64(size)))
			s.sum, s.n = 0, 0
		}
	}
	if over := len(s.levels) - int(levelHistory/levelFrame); over > 0 {
		s.levels, s.first = slices.Delete(s.levels, 0, over), s.first+over
	}
}

// level is how loud it was in a stretch of the stream; 0 when it is too short, or too long ago.
func (s *speakers) level(from, to time.Duration) float64 {
	i := max(int(from/levelFrame)-s.first, 0)
	j := min(int((to+levelFrame-1)/levelFrame)-s.first, len(s.levels))
	if j-i < minLevels {
		return 0
	}
	sorted := slices.Sorted(slices.Values(s.levels[i:j]))
	return sorted[len(sorted)/2]
}

// judge tells the role of who said e, and puts its words accordingly. It reports whether e is to be
// handed on.
func (s *speakers) judge(e *Event) bool {
	if s == nil || len(e.Alternatives) == 0 || e.Alternatives[0].SpeakerID == "" {
		return true
	}
	if e.Kind == Final {
		s.listen(&e.Alternatives[0])
	}
	keep := e.Kind == Final
	for i := range e.Alternatives {
		keep = s.put(&e.Alternatives[i]) || keep
	}
	return keep
}

// listen takes note of how loud a was.
func (s *speakers) listen(a *Alternative) {
	id := a.SpeakerID
	if now := s.level(a.Start, a.End); now > 0 {
		if old, ok := s.loud[id]; ok {
			now = oldShare*old + (1-oldShare)*now
		} else if len(s.loud) >= maxSpeakers {
			maps.DeleteFunc(s.loud, func(id string, _ float64) bool { return id != s.primary }) // too many to be people
		}
		s.loud[id] = now
	}
	if id != s.primary && s.yields(id, a.End-s.seen) {
		s.primary = id
	}
	if s.primary == id {
		s.seen = max(s.seen, a.End)
	}
}

// yields reports whether the primary speaker, silent for a while, gives way to id.
func (s *speakers) yields(id string, silent time.Duration) bool {
	primary := s.loud[s.primary]
	if primary == 0 { // not known
		return s.primary == "" || silent >= evenAfter
	}
	return s.loud[id] > primary*margin(silent)
}

// margin is how much louder than the primary speaker, silent for a while, somebody has to be.
func margin(silent time.Duration) float64 {
	fall := (louder - 1) * silent.Seconds() / evenAfter.Seconds()
	return min(max(louder-fall, leastLouder), louder)
}

// put sets role and text of a; false for words that nobody wants.
func (s *speakers) put(a *Alternative) bool {
	format := s.o.PrimaryFormat
	a.Role = Primary
	if a.SpeakerID != s.primary && s.primary != "" {
		a.Role, format = Background, s.o.BackgroundFormat
		if s.o.SuppressBackground {
			a.Text, a.Words = "", nil
			return false
		}
	}
	if format != "" && a.Text != "" {
		a.Text = strings.NewReplacer("{text}", a.Text, "{speaker}", a.SpeakerID).Replace(format)
	}
	return true
}

// tellApart has the speakers judge e, and reports whether it is to be handed on.
func (s *Stream) tellApart(e *Event) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.speakers.judge(e)
}
