package background

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/parley-go/parley/agent"
	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/room"
	"github.com/parley-go/parley/session"
)

const (
	// trackName is the name of the track, as LiveKit's clients know it.
	trackName = "background_audio"
	// queue is how much mixed audio waits to be sent. A sound begins and ends so much later, and a frame
	// more that waits for room in the queue: 80 ms.
	queue = 60 * time.Millisecond
	// frameSamples are mixed at a time: 20 ms.
	frameSamples = rate / 50
	// closeTimeout bounds taking the track out of the room when the session has ended.
	closeTimeout = 5 * time.Second
)

var (
	// ErrStarted is returned by Start when the player was started before.
	ErrStarted = errors.New("background player was started already")
	// ErrClosed is returned for what is asked of a player that is closed.
	ErrClosed = errors.New("background player is closed")

	errNoSource = errors.New("sound has no source")
)

// Options say what is played by itself. Of each list one sound is chosen, by its probability: when the
// player starts, and each time the agent begins to think.
type Options struct {
	Ambient  []Sound      // all the time
	Thinking []Sound      // while the agent's state is thinking
	Logger   *slog.Logger // default slog.Default()
}

// Room is where the sounds are heard: a *room.Room or a *worker.Room.
type Room interface {
	PublishTrack(ctx context.Context, o room.TrackOptions) (*room.Track, error)
}

// output is what a player needs of a track.
type output interface {
	Write(ctx context.Context, f audio.Frame) error
	Close(ctx context.Context) error
}

// Player plays sounds behind one session. Make one with New, Start it once; it ends with the session or
// the room, or by Close. Its methods may be called from any goroutine.
type Player struct {
	o       Options
	random  func() float64
	ctx     context.Context // ends with the player
	cancel  context.CancelFunc
	streams sync.WaitGroup // the sources that run
	wake    chan struct{}  // size 1: the mixer should look again; a full one means that it will
	ended   chan struct{}  // closed when the mixer has ended

	mu       sync.Mutex // never held while waiting or calling out
	started  bool
	running  bool // there is a mixer
	closed   bool
	playing  []*Handle
	thinking bool
	thought  *Handle // what is played while the agent thinks; nil for silence
	sum      []float64
	pcm      []int16 // of one sound
	out      []int16
}

// New makes a player. It does nothing before it is started.
func New(o Options) *Player {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	p := &Player{
		o: o, random: rand.Float64,
		wake: make(chan struct{}, 1), ended: make(chan struct{}),
		sum: make([]float64, frameSamples), pcm: make([]int16, frameSamples), out: make([]int16, frameSamples),
	}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	return p
}

// Start publishes the track in the room and plays what the options say, following the state of s until
// that is closed or the room is over. It may be called before s is started or after. ctx bounds the
// publishing. After an error the player is as before.
func (p *Player) Start(ctx context.Context, s *session.Session, r Room) error {
	return p.start(ctx, s, func(ctx context.Context) (output, error) {
		return r.PublishTrack(ctx, room.TrackOptions{Name: trackName, SampleRate: rate, Queue: queue})
	})
}

func (p *Player) start(ctx context.Context, s *session.Session, publish func(context.Context) (output, error)) error {
	if err := p.claim(); err != nil {
		return fmt.Errorf("starting background audio: %w", err)
	}
	over := session.On(s, func(session.Closed) { p.cancel() })
	out, err := publish(ctx)
	if err != nil {
		over()
		p.mu.Lock()
		defer p.mu.Unlock()
		p.started = false
		return fmt.Errorf("starting background audio: %w", err)
	}
	states := session.On(s, func(session.AgentStateChanged) { p.follow(s) })
	p.follow(s)
	p.mu.Lock()
	p.running = true
	if sound, ok := pick(p.o.Ambient, p.random()); ok {
		p.add(sound, true)
	}
	p.mu.Unlock()
	go func() {
		defer close(p.ended)
		defer over()
		defer states()
		p.run(out)
	}()
	return nil
}

// claim makes sure that the player is started once.
func (p *Player) claim() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.closed || p.ctx.Err() != nil:
		return ErrClosed
	case p.started:
		return ErrStarted
	}
	p.started = true
	return nil
}

// Play plays one of the sounds, chosen by its probability, beside all others. It returns at once. Before
// Start, the sound begins when the player does. When silence is chosen, the handle is done already.
func (p *Player) Play(sounds ...Sound) *Handle {
	p.mu.Lock()
	defer p.mu.Unlock()
	if sound, ok := pick(sounds, p.random()); ok {
		return p.add(sound, sound.Loop)
	}
	return endedHandle(nil)
}

// add adds a sound to those that are playing. The lock is held.
func (p *Player) add(s Sound, loop bool) *Handle {
	switch {
	case p.closed || p.ctx.Err() != nil:
		return endedHandle(ErrClosed)
	case s.Source == nil:
		p.o.Logger.Error("cannot play a background sound", "err", errNoSource)
		return endedHandle(errNoSource)
	}
	h := p.newHandle(s, loop)
	p.playing = append(p.playing, h)
	select {
	case p.wake <- struct{}{}:
	default:
	}
	return h
}

// follow begins or ends the sound of thinking. What it goes by is the state at this moment, not that of
// the event it is called for: events come later than the state, and on another goroutine than Start.
func (p *Player) follow(s *session.Session) {
	p.mu.Lock()
	defer p.mu.Unlock()
	thinking := s.AgentState() == agent.Thinking
	if thinking == p.thinking {
		return
	}
	p.thinking = thinking
	if p.thought != nil {
		p.thought.stop()
		p.thought = nil
	}
	if !thinking {
		return
	}
	if sound, ok := pick(p.o.Thinking, p.random()); ok {
		p.thought = p.add(sound, true)
	}
}

// run mixes until the player, the session or the room ends. The output takes frames at the speed at which
// they are heard.
func (p *Player) run(out output) {
	quiet := true // the last frame was silence, so the encoder owes nothing
	for p.ctx.Err() == nil {
		playing, over := p.mix()
		if !playing && quiet {
			select {
			case <-p.wake:
			case <-p.ctx.Done():
			}
			continue
		}
		quiet = !playing
		err := out.Write(p.ctx, audio.Frame{Data: p.out, Rate: rate, Channels: 1})
		p.end(over)
		if err != nil {
			if p.ctx.Err() == nil && !errors.Is(err, audio.ErrClosed) {
				p.o.Logger.Error("background audio has ended", "err", err)
			}
			break
		}
	}
	p.shut()
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	_ = out.Close(ctx) // what takes longer ends with the room
}

// mix makes the next frame. It reports whether there is anything in it, and what is over with it.
func (p *Player) mix() (playing bool, over []*Handle) {
	p.mu.Lock()
	defer p.mu.Unlock()
	clear(p.sum)
	playing = len(p.playing) > 0
	p.playing = slices.DeleteFunc(p.playing, func(h *Handle) bool {
		if !h.mix(p.sum, p.pcm) {
			return false
		}
		over = append(over, h)
		return true
	})
	for i, x := range p.sum {
		p.out[i] = clip16(x)
	}
	return playing, over
}

// end finishes sounds whose last frame is on its way.
func (p *Player) end(over []*Handle) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, h := range over {
		var err error
		if !h.stopping { // else the source need not have ended, and nobody wants to know
			err = h.from.failure()
		}
		if err != nil {
			p.o.Logger.Warn("a background sound has failed", "err", err)
		}
		h.end(err)
	}
}

// shut ends all sounds.
func (p *Player) shut() {
	p.cancel()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, h := range p.playing {
		h.end(nil)
	}
	p.playing = nil
}

// Close ends all sounds at once, takes the track out of the room and waits for that and for the sources,
// or until ctx ends. It may be called more than once.
func (p *Player) Close(ctx context.Context) error {
	p.shut()
	p.mu.Lock()
	running := p.running
	p.mu.Unlock()
	done := make(chan struct{})
	go func() { // ends with the player
		defer close(done)
		if running {
			<-p.ended
		}
		p.streams.Wait()
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("closing background audio: %w", context.Cause(ctx))
	}
}
