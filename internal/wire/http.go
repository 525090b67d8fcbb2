package wire

import (
	"context"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/parley-go/parley/model"
)

const (
	// maxBody bounds an answer that is read as a whole.
	maxBody = 32 << 20
	// maxErrorBody is how much of an error page is read.
	maxErrorBody = 16 << 10
	// headerLimit bounds the wait for the head of an answer; the front's timeout is shorter.
	headerLimit = 2 * time.Minute
)

// newTransport returns the transport of all plugins, so that sessions of a process share its connections. A
// connection of HTTP/2 on which nothing comes is tried by a ping: one that died without a word would fail
// all requests for as long as TCP hopes.
func newTransport() *http.Transport {
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           metered(network(&net.Dialer{Timeout: 15 * time.Second, KeepAlive: 30 * time.Second})),
		ForceAttemptHTTP2:     true,
		HTTP2:                 &http.HTTP2Config{SendPingTimeout: 10 * time.Second, PingTimeout: 10 * time.Second},
		MaxIdleConns:          200,
		MaxIdleConnsPerHost:   50,
		IdleConnTimeout:       2 * time.Minute,
		TLSHandshakeTimeout:   10 * time.Second,
		ResponseHeaderTimeout: headerLimit,
	}
}

// Client sends HTTP requests to a provider. It is safe for concurrent use.
type Client struct {
	Peer
	// HTTP does the work; nil means a client that all plugins share. Its timeout would end streams.
	HTTP *http.Client
}

var sharedClient = &http.Client{Transport: newTransport()}

// safe is the client of the user, or ours, without redirects: net/http would take headers with keys, such
// as X-Api-Key, along to another host.
func safe(own, ours *http.Client) *http.Client {
	if own == nil {
		own = ours
	}
	c := *own
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &c
}

// Do sends r, books how its connection came about, and returns an answer with a status below 300,
// whose body the caller closes. Any other answer is an error.
func (c *Client) Do(ctx context.Context, op string, r *http.Request) (*http.Response, error) {
	ctx, t := traced(ctx)
	resp, err := safe(c.HTTP, sharedClient).Do(r.WithContext(ctx))
	if f, ok := t.facts(); ok {
		record(ctx, c.Kind, c.Info, f)
	}
	if err != nil {
		if ctx.Err() == context.Canceled {
			return nil, t.gaveUp(context.Cause(ctx))
		}
		return nil, c.Error(model.KindConnection, op, err)
	}
	if resp.StatusCode < 300 {
		return resp, nil
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody))
	return nil, c.refused(op, resp.Header, resp.StatusCode, body)
}

// DoAll is Do, and reads the answer.
func (c *Client) DoAll(ctx context.Context, op string, r *http.Request) ([]byte, http.Header, error) {
	resp, err := c.Do(ctx, op, r)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	switch {
	case err != nil:
		return nil, nil, c.ReadError(ctx, op, err)
	case len(body) > maxBody:
		return nil, nil, c.Protocol(op, "answer is too large")
	}
	return body, resp.Header, nil
}

// ReadError is the error of a body that broke off.
func (c *Client) ReadError(ctx context.Context, op string, err error) error {
	if ctx.Err() == context.Canceled {
		return context.Cause(ctx)
	}
	return c.Error(model.KindConnection, op, err)
}

// leftover is how long the end of an answer may take that has said that it is over.
const leftover = 50 * time.Millisecond

// Finish closes the body of an answer that has said that it is over. It waits a moment for the end of
// the transfer, without which the connection is lost for the next request.
func Finish(body io.ReadCloser) {
	t := time.AfterFunc(leftover, func() { _ = body.Close() })
	_, _ = io.Copy(io.Discard, io.LimitReader(body, 64<<10))
	t.Stop()
	_ = body.Close()
}

// Prewarm opens a connection ahead of the first request by asking for url, whatever the answer. It
// is best effort and books the connection like any other.
func (c *Client) Prewarm(ctx context.Context, url string, h http.Header) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return
	}
	r.Header = h
	if resp, err := c.Do(ctx, "prewarm", r); err == nil {
		_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<20)) // an unread body costs the connection
		resp.Body.Close()
	}
}
