package sandbox

import (
	"encoding/binary"
	"io"
	"net/http"
	"net/url"
	"strconv"
)

// GRPC is one call of a gRPC method in a sandbox. Next and Send belong to the handler's goroutine.
type GRPC struct{ *Duplex }

// maxGRPC bounds the messages of clients.
const maxGRPC = 4 << 20

// grpcFraming is that of gRPC.
var grpcFraming = Framing{Type: "application/grpc", grpc: true, Broken: []byte{0, 0, 0, 0, 3, 0xff, 0xff, 0xff},
	Read: func(r io.Reader) (m []byte, err error) {
		var head [5]byte
		if _, err = io.ReadFull(r, head[:]); err == nil {
			n := binary.BigEndian.Uint32(head[1:])
			if head[0] != 0 || n > maxGRPC {
				return nil, ErrOver
			}
			m = make([]byte, n)
			_, err = io.ReadFull(r, m)
		}
		return m, err
	},
	Frame: func(m []byte) []byte {
		head := make([]byte, 5, 5+len(m))
		binary.BigEndian.PutUint32(head[1:], uint32(len(m)))
		return append(head, m...)
	},
	End: func(d *Duplex) { (&GRPC{d}).trailers(0, "") },
}

// HandleGRPC serves a method, e.g. "/package.Service/Method". begin accepts or refuses a call; of one that
// it accepts, take sees each message of the client as it comes, and serve answers. Clients may send before
// they get an answer, so that SlowDial takes what comes and says nothing.
func (s *Server) HandleGRPC(method string, begin func(*Call) (take func(m []byte), serve func(*GRPC))) {
	s.HandleDuplex("POST "+method, grpcFraming, func(c *Call) (take func(m []byte), serve func(*Duplex)) {
		if c.R.Header.Get("Te") != "trailers" {
			c.Refuse(400, "gRPC needs trailers")
			return nil, nil
		}
		take, answer := begin(c)
		if answer == nil {
			return nil, nil // refused
		}
		return take, func(d *Duplex) { answer(&GRPC{d}) }
	})
}

// End ends the call with a code of gRPC, 0 if all is well.
func (g *GRPC) End(code int, message string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.over {
		g.over = true
		g.trailers(code, message)
	}
}

func (g *GRPC) trailers(code int, message string) {
	g.c.W.Header().Set(http.TrailerPrefix+"Grpc-Status", strconv.Itoa(code))
	g.c.W.Header().Set(http.TrailerPrefix+"Grpc-Message", url.PathEscape(message))
}

// refuseGRPC answers without a message.
func (c *Call) refuseGRPC(status int, message string) {
	code, ok := map[int]int{400: 3, 401: 16, 403: 7, 404: 5, 429: 8, 503: 14}[status]
	if !ok {
		code = 2
	}
	c.W.Header().Set("Content-Type", "application/grpc")
	c.W.Header().Set("Grpc-Status", strconv.Itoa(code))
	c.W.Header().Set("Grpc-Message", url.PathEscape(message))
	c.W.WriteHeader(http.StatusOK)
}
