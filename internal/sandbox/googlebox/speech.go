package googlebox

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/internal/sandbox"
	"github.com/parley-go/parley/internal/wire"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model/fault"
)

// Recognition is what a client asks for.
type Recognition struct {
	Recognizer  string
	Rate        int
	Model       string
	Languages   []string
	Features    map[protowire.Number]uint64 // of RecognitionFeatures
	Speakers    int
	Phrases     []string
	Boost       float64
	Denoise     bool
	Activity    bool
	Interim     bool
	configured  bool
	audio       []byte
	audioLength time.Duration
}

// SpeechOptions are the options of Speech.
type SpeechOptions struct {
	Limit time.Duration // of calls, and of their audio: default 5 min
	Idle  time.Duration // how long a call may be without audio: default 10 s
	// Asked, if set, sees what every call asks for.
	Asked func(r Recognition)
	// Confidence of final results; default 0.9.
	Confidence float32
}

// Speech serves google.cloud.speech.v2.Speech; the key is the access token.
func Speech(s *sandbox.Server, o SpeechOptions) {
	if o.Limit == 0 {
		o.Limit = 5 * time.Minute
	}
	if o.Idle == 0 {
		o.Idle = 10 * time.Second
	}
	if o.Confidence == 0 {
		o.Confidence = 0.9
	}
	const service = "/google.cloud.speech.v2.Speech/"
	s.HandleGRPC(service+"StreamingRecognize", func(c *sandbox.Call) (func([]byte), func(*sandbox.GRPC)) {
		if !c.Authorized("Authorization", "Bearer ") {
			return nil, nil
		}
		l := &listener{c: c, o: o}
		return l.bill, l.serve
	})
	s.HandleGRPC(service+"Recognize", func(c *sandbox.Call) (func([]byte), func(*sandbox.GRPC)) {
		if !c.Authorized("Authorization", "Bearer ") {
			return nil, nil
		}
		return func([]byte) {}, func(g *sandbox.GRPC) { recognize(c, g, o) }
	})
}

// listener is one stream.
type listener struct {
	c      *sandbox.Call
	o      SpeechOptions
	asked  Recognition // by serve
	ear    sandbox.Ear
	billed Recognition // by bill: what came
	g      *sandbox.GRPC
	began  time.Time
}

// bill takes a message as it comes.
func (l *listener) bill(m []byte) {
	l.billed.audio = nil
	if l.billed.read(m, true) == nil {
		book(l.c, l.billed.Model, audio.Samples(len(l.billed.audio)/2).At(l.billed.Rate))
	}
}

func book(c *sandbox.Call, name string, d time.Duration) {
	if d > 0 {
		e := &metrics.STT{AudioDuration: d}
		e.Metadata = metrics.Metadata{ModelName: name, ModelProvider: "google"}
		c.Ledger.Bill(e)
	}
}

func (l *listener) serve(g *sandbox.GRPC) {
	l.g, l.began = g, time.Now()
	m, err := g.Next(l.o.Idle)
	if err == nil {
		err = l.asked.read(m, true)
	}
	if err == nil {
		err = l.asked.check()
	}
	switch {
	case err == nil && (!l.asked.configured || len(l.asked.audio) > 0):
		g.End(3, "the first message must have a configuration and no audio")
		return
	case errors.Is(err, sandbox.ErrOver):
		return
	case errors.Is(err, sandbox.ErrIdle):
		g.End(10, "Stream timed out after receiving no more client requests.")
		return
	case err != nil:
		g.End(3, err.Error())
		return
	}
	if l.o.Asked != nil {
		l.o.Asked(l.asked)
	}
	l.ear.Rate = l.asked.Rate
	for l.next() {
	}
}

// next takes a message; false means that the call is over.
func (l *listener) next() bool {
	m, err := l.g.Next(l.o.Idle)
	switch {
	case errors.Is(err, sandbox.ErrIdle):
		l.g.End(10, "Stream timed out after receiving no more client requests.")
		return false
	case err == io.EOF && l.ear.At() == 0:
		l.g.End(3, "audio should not be empty")
		return false
	case err == io.EOF:
		if l.tell(l.ear.Finish(), true) && l.send(nil, l.metadata()) {
			l.g.End(0, "")
		}
		return false
	case err != nil:
		return false
	}
	l.asked.audio, l.asked.configured = nil, false
	if err := l.asked.read(m, true); err != nil || l.asked.configured || len(l.asked.audio) == 0 || len(l.asked.audio) > 15*1024 {
		l.g.End(3, fmt.Sprintf("message of %d bytes of audio: %v", len(l.asked.audio), err))
		return false
	}
	l.asked.audioLength += audio.Samples(len(l.asked.audio) / 2).At(l.asked.Rate)
	if max(l.asked.audioLength, time.Since(l.began)) > l.o.Limit {
		l.g.End(10, "Max duration of 5 minutes reached for stream.")
		return false
	}
	return l.tell(l.ear.Hear(l.asked.audio), false)
}

// tell sends what the ear noticed. At the end of a call speech does not end.
func (l *listener) tell(heard []sandbox.Heard, end bool) bool {
	for _, h := range heard {
		ok := true
		switch h.Kind {
		case sandbox.Began:
			ok = l.event(2, h.Start)
		case sandbox.More:
			if l.asked.Interim || l.c.Fault != fault.None {
				ok = l.send(l.interim(h), nil)
			}
		case sandbox.Ended:
			if !end {
				ok = l.event(3, h.End)
			}
			if ok {
				ok = l.final(h)
			}
		}
		if !ok {
			return false
		}
	}
	return true
}

func (l *listener) event(kind int64, at time.Duration) bool {
	if !l.asked.Activity {
		return true
	}
	var m wire.Proto
	m.Int(3, kind)
	m.Message(7, seconds(at))
	return l.g.Send(m, false)
}

// interim is a portion that is stable, and one that is not.
func (l *listener) interim(h sandbox.Heard) []wire.Proto {
	var results []wire.Proto
	n := len(h.Words) - 1
	if n > 0 {
		results = append(results, result(h.Words[:n], false, l.asked.languages(), 0, false, 0))
	}
	last := result(h.Words[n:], false, l.asked.languages(), 0, false, 0)
	return append(results, last)
}

func (l *listener) final(h sandbox.Heard) bool {
	times := l.asked.Features[2] != 0
	r := result(h.Words, times, l.asked.languages(), l.o.Confidence, true, l.asked.Speakers)
	ok := l.send([]wire.Proto{r}, l.metadata())
	if ok && l.c.Fault == fault.DoubleFinal {
		ok = l.send([]wire.Proto{r}, l.metadata())
	}
	if ok && l.c.Fault == fault.UsageRepeated {
		ok = l.send(nil, l.metadata())
	}
	return ok
}

// metadata states what was billed until now; nil for nothing.
func (l *listener) metadata() wire.Proto {
	if l.c.Fault == fault.UsageMissing {
		return nil
	}
	return metadata(l.asked.audioLength)
}

func metadata(billed time.Duration) wire.Proto {
	var m wire.Proto
	m.Message(6, seconds(billed))
	m.String(9, "req-1")
	return m
}

func (l *listener) send(results []wire.Proto, metadata wire.Proto) bool {
	var m wire.Proto
	for _, r := range results {
		m.Message(6, r)
	}
	if metadata != nil {
		m.Message(5, metadata)
	}
	m.String(99, "news") // of a later version
	return l.g.Send(m, len(results) > 0)
}

// result is a StreamingRecognitionResult.
func result(words []sandbox.HeardWord, times bool, language string, confidence float32, final bool, speakers int) wire.Proto {
	alternative := reading(words, times, confidence, speakers)
	var r wire.Proto
	r.Message(1, alternative)
	r.Message(1, alternative) // a second one, which is worse
	r.Bool(2, final)
	r.Message(4, seconds(words[len(words)-1].End))
	r.String(6, language)
	return r
}

func reading(words []sandbox.HeardWord, times bool, confidence float32, speakers int) wire.Proto {
	var a wire.Proto
	text := ""
	for _, w := range words {
		text += " " + w.Text
	}
	a.String(1, text)
	a.Float(2, confidence)
	for _, w := range words {
		var m wire.Proto
		if times {
			m.Message(1, seconds(w.Start))
			m.Message(2, seconds(w.End))
		}
		m.String(3, w.Text)
		if speakers > 0 {
			m.String(6, "2")
		}
		if times || speakers > 0 {
			a.Message(3, m)
		}
	}
	return a
}

// seconds is a google.protobuf.Duration.
func seconds(d time.Duration) wire.Proto {
	var m wire.Proto
	m.Int(1, int64(d/time.Second))
	m.Int(2, int64(d%time.Second))
	return m
}

// recognize serves a whole utterance.
func recognize(c *sandbox.Call, g *sandbox.GRPC, o SpeechOptions) {
	var r Recognition
	m, err := g.Next(o.Idle)
	if err == nil {
		err = r.read(m, false)
	}
	if err == nil {
		err = r.check()
	}
	if err == nil && len(r.audio) == 0 {
		err = errors.New("audio should not be empty")
	}
	if err == nil {
		_, end := g.Next(o.Idle)
		if end != io.EOF {
			return
		}
	}
	if err != nil {
		g.End(3, err.Error())
		return
	}
	if o.Asked != nil {
		o.Asked(r)
	}
	d := audio.Samples(len(r.audio) / 2).At(r.Rate)
	ear := sandbox.Ear{Rate: r.Rate}
	var answer wire.Proto
	for _, h := range append(ear.Hear(r.audio), ear.Finish()...) {
		if h.Kind == sandbox.Ended {
			var portion wire.Proto
			portion.Message(1, reading(h.Words, r.Features[2] != 0, o.Confidence, r.Speakers))
			portion.Message(4, seconds(h.End))
			portion.String(5, r.languages())
			answer.Message(3, portion)
		}
	}
	if c.Fault != fault.UsageMissing {
		answer.Message(2, metadata(d))
	}
	// The faults of streams strike at the third message, and here is only one.
	switch c.Fault {
	case fault.Stall, fault.HalfOpen:
		g.Hang()
		return
	case fault.Reset:
		g.Reset()
	case fault.HangUp:
		g.End(0, "")
		return
	case fault.Malformed, fault.Oversized:
	default:
		book(c, r.Model, d) // before anybody can compare
	}
	if g.Send(answer, true) {
		g.End(0, "")
	}
}

var recognizerName = regexp.MustCompile(`^projects/[^/]+/locations/[^/]+/recognizers/[^/]+$`)

// check refuses what the provider refuses.
func (r *Recognition) check() error {
	switch {
	case !recognizerName.MatchString(r.Recognizer):
		return fmt.Errorf("invalid resource field value in the request: %q", r.Recognizer)
	case r.Rate < 8000 || r.Rate > 48000:
		return fmt.Errorf("sample_rate_hertz %d is not supported", r.Rate)
	case r.Model == "" || len(r.Languages) == 0:
		return errors.New("model and language_codes are needed")
	case r.Boost < 0 || r.Boost > 20:
		return errors.New("boost must be between 0 and 20")
	case r.Speakers > 6:
		return errors.New("max_speaker_count must be at most 6")
	}
	return nil
}

// languages is the one that was found out.
func (r *Recognition) languages() string { return strings.ToLower(r.Languages[len(r.Languages)-1]) }
