package sandbox

import (
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// lingering is a listener whose connections go on to write when the peer has everything already.
type lingering struct {
	net.Listener
	until chan struct{}
}

type lingeringConn struct {
	net.Conn
	until chan struct{}
}

func (l lingering) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return lingeringConn{c, l.until}, err
}

func (c lingeringConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	<-c.until
	return n, err
}

// A websocket that the client has opened is hung up, also when the sandbox is not done with opening it.
func TestHangUpReachesNewSockets(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	until := make(chan struct{})
	s, err := New(Options{Listener: lingering{ln, until}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	s.HandleSocket("/", func(_ *Call, ws *Socket) { _, _, _ = ws.Read() }, func(*Call) bool { return true })
	ws, _, err := websocket.DefaultDialer.DialContext(t.Context(), "ws"+s.URL()[len("http"):]+"/", http.Header{})
	if err != nil {
		t.Fatal(err)
	}
	defer ws.Close()
	go func() {
		time.Sleep(20 * time.Millisecond) // by then, HangUp would have missed it
		close(until)
	}()
	s.HangUp()
	_ = ws.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, _, err := ws.ReadMessage(); !websocket.IsCloseError(err, websocket.CloseNormalClosure) {
		t.Errorf("the client hears %v", err)
	}
}
