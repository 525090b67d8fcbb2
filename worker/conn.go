package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"
	"github.com/livekit/protocol/auth"
	"github.com/livekit/protocol/livekit"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

const (
	pingEvery    = 15 * time.Second
	readTimeout  = 45 * time.Second
	writeTimeout = 10 * time.Second
	dialTimeout  = 10 * time.Second
	maxMessage   = 16 << 20 // availability and assignment carry the room, its metadata and the participant
)

// ErrUnauthorized means that the server does not accept the key and secret.
var ErrUnauthorized = errors.New("the LiveKit server refuses the API key: check LIVEKIT_API_KEY, LIVEKIT_API_SECRET and the clock")

// conn is one connection to the worker protocol of a LiveKit server. Sending is safe from any
// goroutine, receiving is for one.
type conn struct {
	ws *websocket.Conn
	mu sync.Mutex // one writer at a time, for writeTimeout at the most
}

// dial opens a connection with a fresh token.
func dial(ctx context.Context, o Options) (*conn, error) {
	token, err := auth.NewAccessToken(o.APIKey, o.APISecret).SetVideoGrant(&auth.VideoGrant{Agent: true}).ToJWT()
	if err != nil {
		return nil, fmt.Errorf("signing worker token: %w", err)
	}
	addr, err := agentURL(o.URL, os.Getenv("LIVEKIT_WORKER_TOKEN"))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	ws, resp, err := websocket.DefaultDialer.DialContext(ctx, addr, http.Header{"Authorization": {"Bearer " + token}})
	if err != nil {
		return nil, dialError(o, resp, err)
	}
	ws.SetReadLimit(maxMessage)
	c := &conn{ws: ws}
	alive := func() { _ = ws.SetReadDeadline(time.Now().Add(readTimeout)) }
	alive()
	ws.SetPongHandler(func(string) error { alive(); return nil })
	ws.SetPingHandler(func(data string) error {
		alive()
		_ = ws.WriteControl(websocket.PongMessage, []byte(data), time.Now().Add(writeTimeout))
		return nil
	})
	return c, nil
}

func dialError(o Options, resp *http.Response, err error) error {
	if resp == nil {
		return fmt.Errorf("connecting to LiveKit at %s: %w", hostOf(o.URL), err)
	}
	body, _ := io.ReadAll(io.LimitReader(resp.Body, 200))
	resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden:
		return ErrUnauthorized
	case http.StatusNotFound:
		return fmt.Errorf("connecting to LiveKit at %s: no LiveKit server there (status 404)", hostOf(o.URL))
	}
	return fmt.Errorf("connecting to LiveKit at %s: status %d %s", hostOf(o.URL), resp.StatusCode, strings.Join(strings.Fields(string(body)), " "))
}

// hostOf is the part of an address that may be logged.
func hostOf(base string) string {
	u, err := url.Parse(base)
	if err != nil {
		return ""
	}
	return u.Host
}

func (c *conn) send(m *livekit.WorkerMessage) error {
	data, err := proto.Marshal(m)
	if err != nil {
		return fmt.Errorf("encoding worker message: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = c.ws.SetWriteDeadline(time.Now().Add(writeTimeout))
	if err := c.ws.WriteMessage(websocket.BinaryMessage, data); err != nil {
		return fmt.Errorf("sending to LiveKit: %w", err)
	}
	return nil
}

// ping asks the server for a sign of life.
func (c *conn) ping() {
	_ = c.ws.WriteControl(websocket.PingMessage, nil, time.Now().Add(writeTimeout))
}

// receive waits for the next message. Frames that cannot be read are an error.
func (c *conn) receive() (*livekit.ServerMessage, error) {
	kind, data, err := c.ws.ReadMessage()
	if err != nil {
		return nil, fmt.Errorf("receiving from LiveKit: %w", err)
	}
	_ = c.ws.SetReadDeadline(time.Now().Add(readTimeout))
	return decode(kind, data)
}

// decode reads a frame: binary protobuf, or protobuf JSON in a text frame.
func decode(kind int, data []byte) (*livekit.ServerMessage, error) {
	m := &livekit.ServerMessage{}
	var err error
	if kind == websocket.TextMessage {
		err = protojson.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(data, m)
	} else {
		err = proto.Unmarshal(data, m)
	}
	if err != nil {
		return nil, fmt.Errorf("reading a message of LiveKit: %w", err)
	}
	return m, nil
}

func (c *conn) close() { _ = c.ws.Close() }
