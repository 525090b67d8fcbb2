package providertest

import (
	"net"
	"sync"
	"testing"
	"time"

	"github.com/parley-go/parley/internal/sandbox"
	"github.com/parley-go/parley/internal/sandbox/cartesiabox"
	"github.com/parley-go/parley/model/fault"
	"github.com/parley-go/parley/session"
	"github.com/parley-go/parley/tts"
)

const sessions = 50

// begin starts sessions that share a voice.
func begin(t *testing.T, n int, m *tts.Model) []*call {
	calls := make([]*call, n)
	for i := range calls {
		calls[i] = start(t, session.Options{TTS: m})
	}
	return calls
}

func TestFiftySessionsShareAConnection(t *testing.T) {
	t.Parallel()
	m, box := voice(t, fault.Plan{})
	calls := begin(t, sessions, m)
	for i, c := range calls { // all live at once, and talk one after another
		if err := c.Say("Hi.", nil).Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		if conns := c.connections("tts"); len(conns) != 1 || i > 0 && !conns[0].Reused {
			t.Errorf("session %d: %+v", i, conns)
		}
		idle(t, box)
	}
	// A session that starts while another one talks may get a connection ready for itself.
	if box.Dials() > 2 || box.Calls() != sessions {
		t.Errorf("%d dials for %d speeches", box.Dials(), box.Calls())
	}
}

// No session dials while there is an idle connection, however many talk.
func TestConnectionsAreAsManyAsSpeechesAtATime(t *testing.T) {
	t.Parallel()
	m, box := voice(t, fault.Plan{})
	calls := begin(t, sessions, m)
	for range 2 {
		var all sync.WaitGroup
		for _, c := range calls {
			all.Go(func() { _ = c.Say("Hello to all of you.", nil).Wait(t.Context()) })
		}
		all.Wait()
		idle(t, box)
	}
	if box.Dials() > sessions || box.Calls() != 2*sessions {
		t.Errorf("%d dials for %d speeches, %d at a time", box.Dials(), box.Calls(), sessions)
	}
}

// idle waits until the sandbox has no speech under way.
func idle(t *testing.T, box *sandbox.Server) {
	t.Helper()
	for end := time.Now().Add(patience); box.Open() > 0; {
		if time.Now().After(end) {
			t.Fatal("the provider is not idle")
		}
		time.Sleep(time.Millisecond)
	}
}

// barrier lets connections in when there are two of them: one dial after the other would wait for ever.
type barrier struct {
	net.Listener
	once    sync.Once
	waiting []net.Conn
}

func (b *barrier) Accept() (net.Conn, error) {
	var err error
	b.once.Do(func() {
		for range 2 {
			var c net.Conn
			if c, err = b.Listener.Accept(); err != nil {
				return
			}
			b.waiting = append(b.waiting, c)
		}
	})
	if err != nil {
		return nil, err
	}
	if n := len(b.waiting); n > 0 {
		c := b.waiting[n-1]
		b.waiting = b.waiting[:n-1]
		return c, nil
	}
	return b.Listener.Accept()
}

func TestColdRequestsDialInParallel(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	box, err := sandbox.New(sandbox.Options{Listener: &barrier{Listener: ln}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = box.Close() })
	cartesiabox.TTS(box, cartesiabox.TTSOptions{})
	calls := begin(t, 2, voiceOf(t, box))
	a, b := calls[0].Say("One.", nil), calls[1].Say("Two.", nil)
	for i, sp := range []interface{ Err() error }{a, b} {
		<-[]<-chan struct{}{a.Done(), b.Done()}[i]
		if sp.Err() != nil || len(calls[i].failures("tts")) > 0 {
			t.Errorf("speech %d failed: %v, %v", i, sp.Err(), calls[i].failures("tts"))
		}
	}
}

func TestSocketThatDiedWhileIdleIsNotHandedOut(t *testing.T) {
	t.Parallel()
	m, box := voice(t, fault.Plan{})
	c := start(t, session.Options{TTS: m})
	for i := range 3 {
		sp := c.Say("Hi.", nil)
		if err := sp.Wait(t.Context()); err != nil || sp.Err() != nil {
			t.Fatalf("speech %d: %v, %v", i, err, sp.Err())
		}
		idle(t, box)
		box.HangUp()
		for end := time.Now().Add(patience); box.Sockets() > 0; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("the socket does not end")
			}
		}
		time.Sleep(20 * time.Millisecond) // for the client to notice: the end is on its way through the kernel
	}
	if e := c.failures("tts"); len(e) > 0 || box.Dials() != 3 {
		t.Errorf("%d dials, failures %v", box.Dials(), e)
	}
}
