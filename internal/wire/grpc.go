package wire

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/parley-go/parley/model"
)

// GRPC is one call of a gRPC method: messages go and come until either side ends. Send and CloseSend
// belong to one goroutine, Recv to another; Close may be called from any.
type GRPC struct{ *Duplex }

// Call begins a call of the method at address. ctx bounds the wait for a connection only. The caller
// closes the call.
func (c *Client) Call(ctx context.Context, op, address string, h http.Header) (*GRPC, error) {
	r, err := http.NewRequest(http.MethodPost, address, nil)
	if err != nil {
		return nil, c.Error(model.KindRequest, op, err)
	}
	if h != nil {
		r.Header = h
	}
	r.Header.Set("Content-Type", "application/grpc")
	r.Header.Set("Te", "trailers")
	g := &GRPC{}
	g.Duplex, err = c.Duplex(ctx, op, r, g.accept)
	if err != nil {
		return nil, err
	}
	return g, nil
}

// accept is the error of an answer without messages.
func (g *GRPC) accept(d *Duplex) error {
	h := d.resp.Header
	if d.resp.ProtoMajor != 2 || !strings.HasPrefix(h.Get("Content-Type"), "application/grpc") {
		return d.client.Protocol(d.op, "the server does not speak gRPC")
	}
	if err := d.grpcStatus(h); err != io.EOF && h.Get("Grpc-Status") != "" {
		return err
	}
	return nil
}

// Send sends a message. When ctx ends, so does the call. The error is the server's refusal, if that is why
// it takes no more.
func (g *GRPC) Send(ctx context.Context, m []byte) error {
	framed := make([]byte, 5, 5+len(m)) // not compressed
	binary.BigEndian.PutUint32(framed[1:], uint32(len(m)))
	return g.Write(ctx, append(framed, m...))
}

// Recv waits for a message; io.EOF is the end of a call that went well. When ctx ends, so does the call.
func (g *GRPC) Recv(ctx context.Context) (m []byte, err error) {
	err = g.Read(ctx, func(in *bufio.Reader) error {
		m, err = g.message(in)
		return err
	})
	return m, err
}

func (g *GRPC) message(in io.Reader) ([]byte, error) {
	var head [5]byte
	if _, err := io.ReadFull(in, head[:]); err != nil {
		if err == io.EOF {
			return nil, g.end()
		}
		return nil, g.Broken(err)
	}
	size := binary.BigEndian.Uint32(head[1:])
	switch {
	case head[0] != 0:
		return nil, g.client.Protocol(g.op, "a message is compressed, which nobody asked for")
	case size > maxFrame:
		return nil, g.client.Error(model.KindProtocol, g.op, errors.New("message is too large"))
	}
	m := make([]byte, size)
	if _, err := io.ReadFull(in, m); err != nil {
		return nil, g.Broken(err)
	}
	return m, nil
}

// end is how the call ended. There is nothing more to read.
func (g *GRPC) end() error {
	if g.resp.Trailer.Get("Grpc-Status") != "" {
		return g.grpcStatus(g.resp.Trailer)
	}
	return g.grpcStatus(g.resp.Header)
}

// grpcStatus is the end that a header tells; io.EOF when all is well.
func (g *Duplex) grpcStatus(h http.Header) error {
	code, err := strconv.Atoi(h.Get("Grpc-Status"))
	if err != nil {
		return g.client.Error(model.KindConnection, g.op, fmt.Errorf("the call broke off: %w", io.ErrUnexpectedEOF))
	}
	message, err := url.PathUnescape(h.Get("Grpc-Message"))
	if err != nil {
		message = h.Get("Grpc-Message")
	}
	switch code {
	case 0:
		return io.EOF
	case 4: // deadline exceeded
		return g.client.Error(model.KindTimeout, g.op, errors.New(message))
	case 10, 11: // aborted, out of range: how long calls end; a new one may be fine
		return g.client.Error(model.KindConnection, g.op, errors.New(message))
	}
	status, ok := grpcCodes[code]
	if !ok {
		status = http.StatusInternalServerError
	}
	e := g.client.Status(g.op, status, message)
	e.RetryAfter = retryAfter(g.resp.Header)
	return e
}

// grpcCodes are the HTTP statuses that mean the same as codes of gRPC.
var grpcCodes = map[int]int{
	1: 499, 3: 400, 5: 404, 6: 409, 7: 403, 8: 429, 9: 400, 12: 501, 14: 503, 16: 401,
}
