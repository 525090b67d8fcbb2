// Package caller is a simulated person on the telephone: it joins a room, speaks to the agent there,
// and hears it. Tests, examples and the demo use it.
package caller

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	lksdk "github.com/livekit/server-sdk-go/v2"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/room"
	"github.com/parley-go/parley/session"
)

const (
	// rate is the sample rate of what is heard and said, in Hz.
	rate = 24_000
	// loud is the level, as a fraction of full scale, from which a frame counts as speech.
	loud = 0.005
	// hangover is how long speech lasts after the last loud frame.
	hangover = 300 * time.Millisecond
	// closeTimeout bounds what Hangup does for itself.
	closeTimeout = 5 * time.Second
)

// ErrHungUp is returned by the methods of a call that is over.
var ErrHungUp = errors.New("the call is over")

// Options are what a caller does with what he hears. The callbacks come from goroutines of the call
// and should return soon.
type Options struct {
	// OnAudio gets every frame that is heard, 20 ms of mono at 24 kHz (borrowed), silence too, and
	// whether the agent is speaking, judged by loudness.
	OnAudio func(f audio.Frame, speaking bool)
	// OnTranscript gets the transcripts that the agent publishes.
	OnTranscript func(t Transcript)
	Logger       *slog.Logger // default: nothing is logged
}

// Transcript is what somebody said according to the agent.
type Transcript struct {
	Speaker string // identity
	Segment string
	Text    string // all of it so far
	Final   bool
}

// Call is a call that goes on. Its methods may be called from any goroutine, but one Say at a time.
type Call struct {
	opts Options
	room *room.Room
	tr   session.Transport
	io   session.IO

	linked   chan struct{} // closed when the agent was there
	finished chan bool     // 1: how a segment that was said ended, true if to its end
	hungUp   context.Context
	hangUp   context.CancelFunc
	done     sync.WaitGroup

	mu       sync.Mutex
	once     bool          // linked is closed
	speaking bool          // the agent
	since    time.Time     // when speaking last changed
	changed  chan struct{} // closed when speaking changes
}

// Dial joins the room of the token. opts may be nil. The caller hangs up.
func Dial(ctx context.Context, url, token string, opts *Options) (*Call, error) {
	c := &Call{
		linked:   make(chan struct{}),
		finished: make(chan bool, 1),
		since:    time.Now(),
		changed:  make(chan struct{}),
	}
	if opts != nil {
		c.opts = *opts
	}
	if c.opts.Logger == nil {
		c.opts.Logger = slog.New(slog.DiscardHandler)
	}
	r, err := room.Join(ctx, room.Options{URL: url, Token: token, Logger: c.opts.Logger})
	if err != nil {
		return nil, fmt.Errorf("dial: %w", err)
	}
	c.room = r
	c.hungUp, c.hangUp = context.WithCancel(context.Background())
	if err := c.start(ctx); err != nil {
		c.hangUp()
		_ = r.Leave(ctx)
		return nil, fmt.Errorf("dial: %w", err)
	}
	return c, nil
}

func (c *Call) start(ctx context.Context) error {
	if c.opts.OnTranscript != nil {
		if err := c.room.SDK().RegisterTextStreamHandler("lk.transcription", c.readTranscript); err != nil {
			return err
		}
	}
	c.tr = c.room.With(room.IOOptions{
		Kinds: []string{"agent"}, KeepOpen: true, NoTextInput: true, InputRate: rate, OutputRate: rate})
	io, err := c.tr.Open(ctx, host{c})
	if err != nil {
		return err
	}
	c.io = io
	io.AudioOut.Notify(func(e session.PlaybackEvent) {
		if e.Finished {
			select {
			case c.finished <- !e.Interrupted:
			default:
			}
		}
	})
	c.done.Go(c.listen)
	return nil
}

// WaitAgent waits until an agent is in the room.
func (c *Call) WaitAgent(ctx context.Context) error { return c.wait(ctx, c.linked) }

// Say speaks mono audio of any sample rate and returns when it was sent, in real time. Until the
// agent listens, it waits.
func (c *Call) Say(ctx context.Context, f audio.Frame) error {
	if f.Rate != rate {
		rs, err := audio.NewResampler(f.Rate, rate, f.Channels, audio.Fast)
		if err != nil {
			return fmt.Errorf("say: %w", err)
		}
		data := rs.Process(nil, f.Data)
		f = audio.Frame{Data: rs.Flush(data), Rate: rate, Channels: f.Channels}
	}
	select {
	case <-c.finished: // of a Say that was given up
	default:
	}
	if err := c.io.AudioOut.Write(ctx, f); err != nil {
		return fmt.Errorf("say: %w", err)
	}
	c.io.AudioOut.Flush()
	select {
	case <-c.finished:
		return nil
	case <-ctx.Done():
		c.io.AudioOut.Clear()
		return fmt.Errorf("say: %w", context.Cause(ctx))
	case <-c.hungUp.Done():
		return fmt.Errorf("say: %w", ErrHungUp)
	}
}

// Type sends a text message to the agent.
func (c *Call) Type(ctx context.Context, text string) error {
	return c.room.SendText(ctx, "lk.chat", text)
}

// Speaking says whether the agent is speaking, and since when.
func (c *Call) Speaking() (bool, time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.speaking, c.since
}

// WaitReply waits until the agent speaks, and then until it was quiet for a while.
func (c *Call) WaitReply(ctx context.Context, quiet time.Duration) error {
	for spoke := false; ; {
		c.mu.Lock()
		speaking, changed := c.speaking, c.changed
		c.mu.Unlock()
		spoke = spoke || speaking
		var enough <-chan time.Time
		if spoke && !speaking {
			enough = time.After(quiet)
		}
		select {
		case <-changed:
		case <-enough:
			return nil
		case <-ctx.Done():
			return fmt.Errorf("wait for a reply: %w", context.Cause(ctx))
		case <-c.hungUp.Done():
			return fmt.Errorf("wait for a reply: %w", ErrHungUp)
		}
	}
}

// Room is the caller's side of the room.
func (c *Call) Room() *room.Room { return c.room }

// Done is closed when the call is over.
func (c *Call) Done() <-chan struct{} { return c.room.Disconnected() }

// Hangup leaves the room. It may be called more than once.
func (c *Call) Hangup() error {
	c.hangUp()
	c.done.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	return errors.Join(c.tr.Close(ctx), c.room.Leave(ctx))
}

func (c *Call) wait(ctx context.Context, what <-chan struct{}) error {
	select {
	case <-what:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-c.hungUp.Done():
		return ErrHungUp
	}
}

// listen hears until the call is over.
func (c *Call) listen() {
	var lastLoud time.Time
	for {
		f, err := c.io.AudioIn.ReadFrame(c.hungUp)
		if err != nil {
			return
		}
		now := time.Now()
		if audio.RMS(f.Data) > loud {
			lastLoud = now
		}
		speaking := !lastLoud.IsZero() && now.Sub(lastLoud) < hangover
		c.setSpeaking(speaking, now)
		if c.opts.OnAudio != nil {
			c.opts.OnAudio(f, speaking)
		}
	}
}

func (c *Call) setSpeaking(speaking bool, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if speaking == c.speaking {
		return
	}
	c.speaking, c.since = speaking, now
	close(c.changed)
	c.changed = make(chan struct{})
}

// readTranscript reads one text stream. The SDK calls it on a goroutine of its own, which ends with
// the stream or with the connection.
func (c *Call) readTranscript(s *lksdk.TextStreamReader, speaker string) {
	t := Transcript{Speaker: speaker, Segment: s.Info.Attributes["lk.segment_id"]}
	agent := speaker != c.room.LocalIdentity()
	buf := make([]byte, 16<<10)
	for {
		n, err := s.Read(buf)
		t.Text += string(buf[:n])
		if errors.Is(err, io.EOF) {
			// The agent's stream ends with its segment; of ours there is one for each update.
			t.Final = agent || s.Info.Attributes["lk.transcription_final"] == "true"
			c.opts.OnTranscript(t)
			return
		}
		if err != nil {
			return
		}
		if agent && n > 0 {
			c.opts.OnTranscript(t)
		}
	}
}

// host is the call as the room sees it.
type host struct{ c *Call }

func (h host) ReceiveText(session.TextInput) {}
func (h host) OutputReady()                  {}
func (h host) Disconnected(string)           { h.c.hangUp() }

func (h host) ParticipantLinked(session.Participant) {
	h.c.mu.Lock()
	defer h.c.mu.Unlock()
	if !h.c.once {
		h.c.once = true
		close(h.c.linked)
	}
}

func (h host) ParticipantLeft(session.Participant, string, bool) {}
