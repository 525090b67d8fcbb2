package cartesia

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/internal/wire"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/tts/driver"
)

// cancelLimit bounds the sending of a cancellation.
const cancelLimit = 100 * time.Millisecond

// Open implements driver.Streamer.
func (d *synthesizer) Open(ctx context.Context) (driver.Stream, error) {
	l, err := d.pool.Acquire(ctx)
	if err != nil {
		return nil, err
	}
	return &segment{
		d: d, Lease: l, ids: []string{metrics.NewID("ctx_")},
		sem: make(chan struct{}, 1), wake: make(chan struct{}, 1), gone: make(chan struct{}),
	}, nil
}

// segment implements driver.Stream: a context of the provider, on a connection that it has alone. The
// provider ends a context a second after its last audio; text that comes later gets another one, and so
// does text that was on its way.
type segment struct {
	d *synthesizer
	*wire.Lease
	sem  chan struct{} // size 1: held while a message is written
	wake chan struct{} // one token: there is text to wait for, or the text is complete
	gone chan struct{} // closed by Close

	// What follows belongs to Next.
	chunk driver.Chunk
	pcm   []int16
	heard time.Duration // audio until now
	base  time.Duration // audio of the contexts before

	mu      sync.Mutex
	ids     []string // of the contexts, the present one last
	open    bool     // the provider has text in the present one
	began   bool     // audio of the present one has come
	unheard []string // texts that were sent since the last audio
	late    int      // messages that the provider refuses, or has refused, and that are sent again
	ended   bool     // the text is complete
	over    bool     // Close was called
}

// Push implements driver.Stream.
func (s *segment) Push(ctx context.Context, text string) error { return s.send(ctx, text, true) }

// CloseSend implements driver.Stream.
func (s *segment) CloseSend(ctx context.Context) error { return s.send(ctx, "", false) }

func (s *segment) send(ctx context.Context, text string, more bool) error {
	if err := s.lock(ctx); err != nil {
		return err
	}
	defer func() { <-s.sem }()
	id, needed, err := s.sending(text, more)
	if err == nil && needed {
		err = s.WriteJSON(ctx, s.d.packet(id, text, more))
	}
	select {
	case s.wake <- struct{}{}:
	default: // a token is waiting
	}
	return err
}

// lock makes the caller the only one who sends.
func (s *segment) lock(ctx context.Context) error {
	select {
	case s.sem <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// sending notes what is about to be sent, and says whether it is needed at all.
func (s *segment) sending(text string, more bool) (id string, needed bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return "", false, s.d.Error(model.KindConnection, "send", net.ErrClosed)
	}
	needed = more || s.open // a context that has ended needs no end
	s.open, s.ended = needed, !more
	if text != "" {
		s.unheard = append(s.unheard, text)
	}
	return s.ids[len(s.ids)-1], needed, nil
}

// reply is a message of the provider.
type reply struct {
	Type      string `json:"type"`
	ContextID string `json:"context_id"`
	Data      []byte `json:"data"`
	Words     *struct {
		Words []string  `json:"words"`
		Start []float64 `json:"start"`
		End   []float64 `json:"end"`
	} `json:"word_timestamps"`
	Status  int             `json:"status_code"`
	Error   json.RawMessage `json:"error"`
	Message string          `json:"message"`
}

// Next implements driver.AudioStream.
func (s *segment) Next(ctx context.Context) (*driver.Chunk, error) {
	for {
		if err := s.expect(ctx); err != nil {
			return nil, err
		}
		var r reply
		if err := s.ReadJSON(ctx, &r); err != nil {
			return nil, err
		}
		if !s.mine(&r) {
			continue
		}
		s.chunk = driver.Chunk{RequestID: r.ContextID}
		switch r.Type {
		case "chunk":
			s.spoken()
			s.pcm = wire.Samples(s.pcm[:0], r.Data)
			s.chunk.Frame = audio.Frame{Data: s.pcm, Rate: s.d.o.Rate, Channels: 1}
			s.heard += s.chunk.Frame.Duration()
			return &s.chunk, nil
		case "timestamps":
			if s.words(&r); len(s.chunk.Words) > 0 {
				return &s.chunk, nil
			}
		case "done":
			if err := s.done(ctx, r.ContextID); err != nil {
				return nil, err
			}
		case "error":
			return nil, s.d.refused(&r)
		}
	}
}

// expect waits until there is something to read, if only an error; io.EOF says that the provider has
// said all.
func (s *segment) expect(ctx context.Context) error {
	for {
		s.mu.Lock()
		open, ended := s.open, s.ended
		s.mu.Unlock()
		switch {
		case open:
			return nil
		case ended:
			return io.EOF
		}
		select {
		case <-s.wake:
			continue
		case <-s.Dead():
		case <-s.gone:
		case <-ctx.Done():
		}
		return nil // reading tells what happened
	}
}

// mine reports whether a message is about this speech: not about one that was cancelled, nor about a context
// that is over. That such a one takes nothing any more is known for the texts that were sent again.
func (s *segment) mine(r *reply) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.ContextID == "" || r.ContextID == s.ids[len(s.ids)-1] {
		return true
	}
	if r.Type != "error" || !slices.Contains(s.ids, r.ContextID) {
		return false
	}
	s.late--
	return s.late < 0
}

// spoken is told of audio.
func (s *segment) spoken() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.began, s.unheard = true, s.unheard[:0]
}

// words takes the times of words, which count from the beginning of the context.
func (s *segment) words(r *reply) {
	if r.Words == nil {
		return
	}
	w := r.Words
	for i := range min(len(w.Words), len(w.Start), len(w.End)) {
		s.chunk.Words = append(s.chunk.Words, driver.Word{
			Text: w.Words[i], Start: s.base + wire.Seconds(w.Start[i]), End: s.base + wire.Seconds(w.End[i]),
		})
	}
}

// done is told that the provider has ended a context. Text that it has not spoken came too late, and is sent
// again.
func (s *segment) done(ctx context.Context, id string) error {
	if err := s.lock(ctx); err != nil {
		return err
	}
	defer func() { <-s.sem }()
	next, text, more := s.next(id)
	if text == "" {
		return nil
	}
	return s.WriteJSON(ctx, s.d.packet(next, text, more))
}

// next goes over to the next context, if id was the present one and there is need of another one, and
// returns what it begins with.
func (s *segment) next(id string) (next, text string, more bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if id != s.ids[len(s.ids)-1] {
		return "", "", false
	}
	if all := strings.Join(s.unheard, ""); s.began && strings.ContainsFunc(all, sounds) { // else it was silent
		text = all
	}
	s.late += len(s.unheard)
	if s.ended {
		s.late++
	}
	s.open, s.began, s.unheard = text != "", false, s.unheard[:0]
	if text != "" || !s.ended {
		s.ids, s.base = append(s.ids, metrics.NewID("ctx_")), s.heard
	}
	return s.ids[len(s.ids)-1], text, !s.ended
}

// sounds reports whether something may be heard of r.
func sounds(r rune) bool { return unicode.IsLetter(r) || unicode.IsNumber(r) || unicode.IsSymbol(r) }

// reason is the error that a message states of the connection, if any.
func (d *synthesizer) reason(r *reply) error {
	if r.Type != "error" || r.ContextID != "" {
		return nil
	}
	return d.refused(r)
}

// refused is the error that the provider states.
func (d *synthesizer) refused(r *reply) error {
	text := r.Message
	if len(r.Error) > 0 {
		text = wire.Explain(r.Error)
	}
	if r.Status == 0 {
		return d.Protocol("speak", "%s", text)
	}
	return d.Status("speak", r.Status, text)
}

// Close implements driver.AudioStream. A speech that is not over is cancelled; its connection stays,
// since answers name their context.
func (s *segment) Close() error {
	s.mu.Lock()
	first := !s.over
	s.over = true
	s.mu.Unlock()
	if !first {
		return nil
	}
	close(s.gone)
	if s.Broken() || s.cancel() != nil {
		s.Discard()
		return nil
	}
	s.Release()
	return nil
}

// cancel tells the provider that nobody wants the rest, after what is being sent.
func (s *segment) cancel() error {
	ctx, stop := context.WithTimeout(context.Background(), cancelLimit)
	defer stop()
	if err := s.lock(ctx); err != nil {
		return err
	}
	defer func() { <-s.sem }()
	s.mu.Lock()
	id, open := s.ids[len(s.ids)-1], s.open
	s.mu.Unlock()
	if !open {
		return nil
	}
	return s.WriteJSON(ctx, map[string]any{"context_id": id, "cancel": true})
}
