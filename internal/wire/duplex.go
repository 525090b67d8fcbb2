package wire

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/parley-go/parley/model"
)

// http2Client is the client of all requests that go on in both directions, unless they bring one of their own.
// Answers may begin late, so that nothing bounds the wait for their head.
var http2Client = func() *http.Client {
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

// Duplex is one request of HTTP/2 that goes on while its answer comes. Write and CloseSend belong to one
// goroutine, Read to another; Abort and Close may be called from any.
type Duplex struct {
	client *Client
	op     string
	facts  Facts
	out    *io.PipeWriter
	cancel context.CancelCauseFunc
	ctx    context.Context // ends with Close

	answered chan struct{} // closed when there is the head of an answer, or none will come
	resp     *http.Response
	err      error // why there is none
	refused  error // what an answer without a stream says
	in       *bufio.Reader
}

// Duplex begins r, which has no body yet, and books how its connection came about. ctx bounds the wait for a
// connection only. accept, which may be nil, returns the error of an answer of status 200 that is no stream.
// The caller closes the stream.
func (c *Client) Duplex(ctx context.Context, op string, r *http.Request, accept func(*Duplex) error) (*Duplex, error) {
	if ctx.Err() != nil {
		return nil, c.Error(model.KindConnection, op, context.Cause(ctx))
	}
	d := &Duplex{client: c, op: op, answered: make(chan struct{})}
	d.ctx, d.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	traceCtx, t := traced(d.ctx)
	r = r.WithContext(traceCtx)
	r.Body, d.out = io.Pipe()
	r.ContentLength = -1
	go d.answer(safe(c.HTTP, http2Client), r, accept)
	select {
	case <-t.have:
	case <-d.answered:
	case <-ctx.Done():
		d.cancel(context.Cause(ctx))
		<-d.answered
	}
	f, ok := t.facts()
	if !ok {
		defer d.Close()
		if ctx.Err() == context.Canceled {
			return nil, context.Cause(ctx)
		}
		return nil, c.Error(model.KindConnection, op, d.err)
	}
	d.facts = f
	record(ctx, c.Kind, c.Info, f)
	return d, nil
}

// answer is the goroutine that waits for the head of the answer; it ends with that, or with Close.
func (d *Duplex) answer(hc *http.Client, r *http.Request, accept func(*Duplex) error) {
	defer close(d.answered)
	if d.resp, d.err = hc.Do(r); d.err != nil {
		if cause := context.Cause(d.ctx); cause != nil {
			d.err = cause
		}
		d.refused = d.client.Error(model.KindConnection, d.op, d.err)
		_ = d.out.CloseWithError(net.ErrClosed)
		return
	}
	d.in = bufio.NewReader(d.resp.Body)
	switch {
	case d.resp.StatusCode != http.StatusOK:
		body, _ := io.ReadAll(io.LimitReader(d.resp.Body, maxErrorBody))
		d.refused = d.client.refused(d.op, d.resp.Header, d.resp.StatusCode, body)
	case accept != nil:
		d.refused = accept(d)
	}
}

// Acquired implements Connected of the drivers.
func (d *Duplex) Acquired() (took time.Duration, reused bool) { return d.facts.Acquire, d.facts.Reused }

// Accepted waits for the head of the answer, at most limit, since many servers send none before their first
// message. The error is the server's refusal.
func (d *Duplex) Accepted(ctx context.Context, limit time.Duration) error {
	t := time.NewTimer(limit)
	defer t.Stop()
	select {
	case <-d.answered:
		return d.refused
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Refused reports whether the server wanted nothing of the request.
func (d *Duplex) Refused() bool {
	select {
	case <-d.answered:
		return d.resp != nil && d.refused != nil
	default:
		return false
	}
}

// Write sends b. When ctx ends, so does the stream. The error is the server's refusal, if that is why it
// takes no more.
func (d *Duplex) Write(ctx context.Context, b []byte) error {
	defer context.AfterFunc(ctx, func() { d.Abort(context.Cause(ctx)) })()
	if _, err := d.out.Write(b); err != nil {
		if ctx.Err() != nil {
			return d.client.Error(model.KindConnection, d.op, context.Cause(ctx))
		}
		if err := d.Accepted(ctx, lastWords); err != nil {
			return err
		}
		return d.client.Error(model.KindConnection, d.op, fmt.Errorf("the call is over: %w", net.ErrClosed))
	}
	return nil
}

// CloseSend says that no more will be sent.
func (d *Duplex) CloseSend() { _ = d.out.Close() }

// Read has read take something of the answer, whose error it returns, or that of an answer that is no stream.
// When ctx ends, so does the stream.
func (d *Duplex) Read(ctx context.Context, read func(*bufio.Reader) error) error {
	defer context.AfterFunc(ctx, func() { d.Abort(context.Cause(ctx)) })()
	select {
	case <-d.answered:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if d.refused != nil {
		return d.refused
	}
	return read(d.in)
}

// Broken is the error of a stream that could not be read any further.
func (d *Duplex) Broken(err error) error {
	if cause := context.Cause(d.ctx); cause != nil {
		err = cause
	}
	return d.client.Error(model.KindConnection, d.op, err)
}

// Abort ends the stream at once, for a reason that Read returns.
func (d *Duplex) Abort(why error) {
	d.cancel(why)
	_ = d.out.CloseWithError(net.ErrClosed)
}

// Close ends the stream at once. It may be called more than once.
func (d *Duplex) Close() error {
	d.Abort(net.ErrClosed)
	<-d.answered
	if d.resp != nil {
		_ = d.resp.Body.Close()
	}
	return nil
}
