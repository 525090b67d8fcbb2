package sandbox

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"

	"github.com/parley-go/parley/model/fault"
)

// Call is one request, or one websocket, that reached a sandbox, and what goes wrong with it.
type Call struct {
	*Server
	Ledger *Ledger // of the Server; what will not be answered has Unanswered
	W      http.ResponseWriter
	R      *http.Request
	Fault  fault.Kind
	end    func()
	grpc   bool // refusals are in gRPC's form
}

// strike does the faults that need no answer of the provider; true when that was all.
func (c *Call) strike() bool {
	switch c.Fault {
	case fault.CloseEarly:
		c.hijack(false)
	case fault.SlowDial, fault.Silence:
		c.wait()
	case fault.Unauthorized:
		c.Refuse(http.StatusUnauthorized, "incorrect API key provided: "+c.Key)
	case fault.RateLimit:
		c.W.Header().Set("Retry-After", strconv.Itoa(int(RetryAfter.Seconds())))
		c.Refuse(http.StatusTooManyRequests, "too many requests")
	case fault.ServerError:
		c.Refuse(http.StatusServiceUnavailable, "try again later")
	default:
		return false
	}
	return true
}

// look takes the request, for as long as a sandbox in memory does. A client that is gone then gets no answer.
func (c *Call) look() {
	if c.latency == 0 {
		return
	}
	body, err := io.ReadAll(io.LimitReader(c.R.Body, 32<<20)) // net/http notices no end of the client before
	c.R.Body = io.NopCloser(bytes.NewReader(body))
	if err != nil || !c.Pace(c.latency) {
		c.Fault = fault.CloseEarly
	}
}

// leave books what h would bill for a request that gets no answer.
func (c *Call) leave(h func(*Call)) {
	if c.Fault != fault.SlowDial && c.Fault != fault.Silence && c.Fault != fault.CloseEarly {
		return
	}
	body, err := io.ReadAll(io.LimitReader(c.R.Body, 32<<20))
	if err != nil {
		return // it did not take it whole
	}
	void := *c
	void.Ledger, void.W, void.R, void.Fault = &c.Unanswered, httptest.NewRecorder(), c.R.Clone(c.R.Context()), fault.None
	void.R.Body = io.NopCloser(bytes.NewReader(body))
	h(&void)
}

// wait waits until the client is gone or the sandbox closes. The rest of the request is read, since
// net/http does not notice the end of the client otherwise.
func (c *Call) wait() {
	_, _ = io.Copy(io.Discard, c.R.Body)
	select {
	case <-c.R.Context().Done():
	case <-c.ctx.Done():
	}
}

// hijack takes the connection away from net/http and ends it.
func (c *Call) hijack(hard bool) {
	conn, _, err := http.NewResponseController(c.W).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler) // HTTP/2: the stream is reset
	}
	if hard {
		reset(conn)
		return
	}
	_ = conn.Close()
}

// Refuse answers with an error in the provider's form.
func (c *Call) Refuse(status int, message string) {
	if c.grpc {
		c.refuseGRPC(status, message)
		return
	}
	JSON(c.W, status, c.errs(status, message))
}

// Authorized checks a header, e.g. "Authorization" and "Bearer " before the key; it refuses the call
// otherwise.
func (c *Call) Authorized(header, prefix string) bool {
	if c.R.Header.Get(header) == prefix+c.Key {
		return true
	}
	c.Refuse(http.StatusUnauthorized, "invalid credentials")
	return false
}

// Read decodes the JSON body into v. Fields that v does not have are refused, as strict providers do.
func (c *Call) Read(v any) bool {
	if t := c.R.Header.Get("Content-Type"); !strings.HasPrefix(t, "application/json") {
		c.Refuse(http.StatusUnsupportedMediaType, fmt.Sprintf("content type is %q", t))
		return false
	}
	body, err := io.ReadAll(io.LimitReader(c.R.Body, 32<<20))
	if err == nil {
		err = Strict(body, v)
	}
	if err != nil {
		c.Refuse(http.StatusBadRequest, "request cannot be read: "+err.Error())
		return false
	}
	return true
}

// Strict decodes b into v and refuses fields that v does not have.
func Strict(b []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	return d.Decode(v)
}

// big is a message that is larger than anybody takes.
var big = strings.Repeat("x", 20<<20)
