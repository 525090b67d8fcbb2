package wire

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/parley-go/parley/model"
)

// grpcClient is the client of all gRPC calls that bring none of their own. Answers may begin late, so
// that nothing bounds the wait for their head.
var grpcClient = func() *http.Client {
	t := newTransport()
	t.IdleConnTimeout, t.ResponseHeaderTimeout = 5*time.Minute, 0
	t.Protocols = http2Only()
	return &http.Client{Transport: t}
}()

func http2Only() *http.Protocols {
	p := &http.Protocols{}
	p.SetHTTP2(true)
	p.SetUnencryptedHTTP2(true)
	return p
}

// GRPC is one call of a gRPC method: messages go and come until either side ends. Send and CloseSend
// belong to one goroutine, Recv to another; Close may be called from any.
type GRPC struct {
	client *Client
	op     string
	facts  Facts
	out    *io.PipeWriter
	cancel context.CancelCauseFunc
	ctx    context.Context // ends with Close

	answered chan struct{} // closed when there is the head of an answer, or none will come
	resp     *http.Response
	err      error // why there is none
	refused  error // what an answer without messages says
	in       *bufio.Reader
}

// Call begins a call of the method at address. ctx bounds the wait for a connection only. The caller
// closes the call.
func (c *Client) Call(ctx context.Context, op, address string, h http.Header) (*GRPC, error) {
	if ctx.Err() != nil {
		return nil, c.Error(model.KindConnection, op, context.Cause(ctx))
	}
	g := &GRPC{client: c, op: op, answered: make(chan struct{})}
	g.ctx, g.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	body, out := io.Pipe()
	g.out = out
	traceCtx, t := traced(g.ctx)
	r, err := http.NewRequestWithContext(traceCtx, http.MethodPost, address, body)
	if err != nil {
		g.cancel(nil)
		return nil, c.Error(model.KindRequest, op, err)
	}
	if h != nil {
		r.Header = h
	}
	r.Header.Set("Content-Type", "application/grpc")
	r.Header.Set("Te", "trailers")
	go g.answer(safe(c.HTTP, grpcClient), r)
	select {
	case <-t.have:
	case <-g.answered:
	case <-ctx.Done():
		g.cancel(context.Cause(ctx))
		<-g.answered
	}
	f, ok := t.facts()
	if !ok {
		defer g.Close()
		if ctx.Err() == context.Canceled {
			return nil, context.Cause(ctx)
		}
		return nil, c.Error(model.KindConnection, op, g.err)
	}
	g.facts = f
	record(ctx, c.Kind, c.Info, f)
	return g, nil
}

// answer is the goroutine that waits for the head of the answer; it ends with that, or with Close.
func (g *GRPC) answer(hc *http.Client, r *http.Request) {
	defer close(g.answered)
	if g.resp, g.err = hc.Do(r); g.err != nil {
		if cause := context.Cause(g.ctx); cause != nil {
			g.err = cause
		}
		g.refused = g.client.Error(model.KindConnection, g.op, g.err)
		_ = g.out.CloseWithError(net.ErrClosed)
		return
	}
	g.in = bufio.NewReader(g.resp.Body)
	g.refused = g.refusal()
}

// Acquired implements Connected of the drivers.
func (g *GRPC) Acquired() (took time.Duration, reused bool) { return g.facts.Acquire, g.facts.Reused }

// Accepted waits for the head of the answer, at most d, since many servers send none before their first
// message. The error is the server's refusal.
func (g *GRPC) Accepted(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-g.answered:
		return g.refused
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Refused reports whether the server wanted nothing of the call.
func (g *GRPC) Refused() bool {
	select {
	case <-g.answered:
		return g.resp != nil && g.refused != nil
	default:
		return false
	}
}

// refusal is the error of an answer without messages. There is an answer.
func (g *GRPC) refusal() error {
	switch {
	case g.resp.StatusCode != http.StatusOK:
		body, _ := io.ReadAll(io.LimitReader(g.resp.Body, maxErrorBody))
		return g.client.refused(g.op, g.resp.Header, g.resp.StatusCode, body)
	case g.resp.ProtoMajor != 2 || !strings.HasPrefix(g.resp.Header.Get("Content-Type"), "application/grpc"):
		return g.client.Protocol(g.op, "the server does not speak gRPC")
	}
	if err := g.status(g.resp.Header); err != io.EOF && g.resp.Header.Get("Grpc-Status") != "" {
		return err
	}
	return nil
}

// Send sends a message. When ctx ends, so does the call. The error is the server's refusal, if that is why
// it takes no more.
func (g *GRPC) Send(ctx context.Context, m []byte) error {
	defer context.AfterFunc(ctx, func() { g.Abort(context.Cause(ctx)) })()
	framed := make([]byte, 5, 5+len(m)) // not compressed
	binary.BigEndian.PutUint32(framed[1:], uint32(len(m)))
	if _, err := g.out.Write(append(framed, m...)); err != nil {
		if ctx.Err() != nil {
			return g.client.Error(model.KindConnection, g.op, context.Cause(ctx))
		}
		if err := g.Accepted(ctx, lastWords); err != nil {
			return err
		}
		return g.client.Error(model.KindConnection, g.op, fmt.Errorf("the call is over: %w", net.ErrClosed))
	}
	return nil
}

// CloseSend says that no more messages will come.
func (g *GRPC) CloseSend() { _ = g.out.Close() }

// Recv waits for a message; io.EOF is the end of a call that went well. When ctx ends, so does the call.
func (g *GRPC) Recv(ctx context.Context) ([]byte, error) {
	defer context.AfterFunc(ctx, func() { g.Abort(context.Cause(ctx)) })()
	select {
	case <-g.answered:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if g.refused != nil {
		return nil, g.refused
	}
	var head [5]byte
	if _, err := io.ReadFull(g.in, head[:]); err != nil {
		if err == io.EOF {
			return nil, g.end()
		}
		return nil, g.broken(err)
	}
	size := binary.BigEndian.Uint32(head[1:])
	switch {
	case head[0] != 0:
		return nil, g.client.Protocol(g.op, "a message is compressed, which nobody asked for")
	case size > maxFrame:
		return nil, g.client.Error(model.KindProtocol, g.op, errors.New("message is too large"))
	}
	m := make([]byte, size)
	if _, err := io.ReadFull(g.in, m); err != nil {
		return nil, g.broken(err)
	}
	return m, nil
}

func (g *GRPC) broken(err error) error {
	if cause := context.Cause(g.ctx); cause != nil {
		err = cause
	}
	return g.client.Error(model.KindConnection, g.op, err)
}

// end is how the call ended. There is nothing more to read.
func (g *GRPC) end() error {
	if g.resp.Trailer.Get("Grpc-Status") != "" {
		return g.status(g.resp.Trailer)
	}
	return g.status(g.resp.Header)
}

// status is the end that a header tells; io.EOF when all is well.
func (g *GRPC) status(h http.Header) error {
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
	status, ok := grpcStatus[code]
	if !ok {
		status = http.StatusInternalServerError
	}
	e := g.client.Status(g.op, status, message)
	e.RetryAfter = retryAfter(g.resp.Header)
	return e
}

// grpcStatus are the HTTP statuses that mean the same as codes of gRPC.
var grpcStatus = map[int]int{
	1: 499, 3: 400, 5: 404, 6: 409, 7: 403, 8: 429, 9: 400, 12: 501, 14: 503, 16: 401,
}

// Abort ends the call at once, for a reason that Recv returns.
func (g *GRPC) Abort(why error) {
	g.cancel(why)
	_ = g.out.CloseWithError(net.ErrClosed)
}

// Close ends the call at once. It may be called more than once.
func (g *GRPC) Close() error {
	g.Abort(net.ErrClosed)
	<-g.answered
	if g.resp != nil {
		_ = g.resp.Body.Close()
	}
	return nil
}
