package wire

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gorilla/websocket"

	"github.com/parley-go/parley/model"
)

// Peer is a provider as a plugin's driver sees it: who it is in metrics and errors, and what must
// never be told. It is immutable and safe for concurrent use.
type Peer struct {
	Info    model.Info
	Kind    string   // "llm", "stt", "tts" or "realtime"
	Secrets []string // keys and tokens: cut out of everything a provider says in errors
	// Refusal, if set, is asked about every answer that is no success.
	Refusal Refusal
}

// Refusal reads what a provider says about a refusal besides a message, and whether it is in vain to
// try again; "" for nothing.
type Refusal = func(status int, h http.Header, body []byte) (more string, permanent bool)

// token is what a JSON web token looks like. They are made for a request, so Secrets has none.
var token = regexp.MustCompile(`\beyJ[\w-]+\.[\w-]+\.[\w-]*`)

// maxMessage is how much of what a provider says about an error is kept.
const maxMessage = 500

// Error is the *model.Error for err, which may be one already: then it is returned with the provider
// and the operation filled in.
func (p *Peer) Error(kind model.ErrorKind, op string, err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, context.Canceled) {
		return err // whoever cancelled knows
	}
	var e *model.Error
	if errors.As(err, &e) {
		return err
	}
	if kind == model.KindConnection && isTimeout(err) {
		kind = model.KindTimeout
	}
	return &model.Error{Kind: kind, Provider: p.Info.Provider, Op: op, Err: errors.New(p.clean(withoutURL(err)))}
}

// withoutURL is the text of err with the host alone of the URL that net/http and net/url put into their
// errors: its path and query may hold keys.
func withoutURL(err error) string {
	var u *url.Error
	if !errors.As(err, &u) {
		return err.Error()
	}
	host := "the URL"
	if at, err := url.Parse(u.URL); err == nil && at.Host != "" {
		host = at.Host
	}
	return host + ": " + withoutURL(u.Err)
}

// Protocol is the error of a message that cannot be understood.
func (p *Peer) Protocol(op, format string, args ...any) error {
	return p.Error(model.KindProtocol, op, fmt.Errorf(format, args...))
}

// Status is the error of an error status that the provider stated: an HTTP status, a websocket close
// code, or a status inside of a message.
func (p *Peer) Status(op string, status int, message string) *model.Error {
	e := &model.Error{Kind: model.KindStatus, Provider: p.Info.Provider, Op: op, Status: status}
	if m := p.clean(message); m != "" {
		e.Err = errors.New(m)
	}
	return e
}

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &t) && t.Timeout()
}

// clean makes what somebody else wrote fit for logs: short, in one line, without secrets.
func (p *Peer) clean(s string) string {
	for _, secret := range p.Secrets {
		for _, form := range []string{secret, url.QueryEscape(secret), url.PathEscape(secret)} {
			if form != "" {
				s = strings.ReplaceAll(s, form, "[key]")
			}
		}
	}
	s = token.ReplaceAllString(s, "[token]")
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > maxMessage {
		s = s[:maxMessage]
		for !utf8.ValidString(s) && len(s) > 0 {
			s = s[:len(s)-1]
		}
		s += "…"
	}
	return s
}

// refused is the error of an HTTP answer that is no success. body is its beginning.
func (p *Peer) refused(op string, h http.Header, status int, body []byte) error {
	text := Explain(body)
	permanent := status < 400 // a redirect, which we do not follow
	if p.Refusal != nil {
		var more string
		more, permanent = p.Refusal(status, h, body)
		text += " " + more
	}
	e := p.Status(op, status, text)
	e.RetryAfter, e.Permanent = retryAfter(h), permanent
	for _, name := range []string{"X-Request-Id", "Request-Id", "Dg-Request-Id", "X-Amzn-Requestid"} {
		if e.RequestID == "" {
			e.RequestID = p.clean(h.Get(name))
		}
	}
	return e
}

// Explain finds what a provider says about an error in the JSON forms that providers use; of
// anything else it is the text itself.
func Explain(body []byte) string {
	var v any
	if json.Unmarshal(body, &v) != nil {
		if t := strings.TrimSpace(string(body)); !strings.HasPrefix(t, "<") { // pages are for browsers
			return t
		}
		return ""
	}
	return message(v, 0)
}

func message(v any, depth int) string {
	if depth > 4 {
		return ""
	}
	switch v := v.(type) {
	case string:
		return v
	case []any:
		if len(v) > 0 {
			return message(v[0], depth+1)
		}
	case map[string]any:
		for _, k := range []string{"message", "error_message", "err_msg", "detail", "error", "reason", "description", "title", "msg"} {
			if m := message(v[k], depth+1); m != "" {
				return m
			}
		}
	}
	return ""
}

// retryAfter is the hint of the header, which is in seconds or a date.
func retryAfter(h http.Header) time.Duration {
	if ms, err := strconv.ParseFloat(h.Get("Retry-After-Ms"), 64); err == nil && ms > 0 && ms < 1e9 {
		return time.Duration(ms * float64(time.Millisecond))
	}
	v := h.Get("Retry-After")
	if s, err := strconv.ParseFloat(v, 64); err == nil && s > 0 && s < 1e6 {
		return time.Duration(s * float64(time.Second))
	}
	if t, err := http.ParseTime(v); err == nil {
		return max(time.Until(t), 0)
	}
	return 0
}

// closed is the error of a websocket that ended.
func (p *Peer) closed(op string, err error) error {
	var c *websocket.CloseError
	switch {
	case errors.As(err, &c) && c.Code != websocket.CloseAbnormalClosure && c.Code != websocket.CloseNormalClosure &&
		c.Code != websocket.CloseGoingAway && c.Code != websocket.CloseNoStatusReceived:
		return p.Status(op, c.Code, c.Text)
	case errors.Is(err, websocket.ErrReadLimit):
		return p.Error(model.KindProtocol, op, errors.New("message is too large"))
	}
	return p.Error(model.KindConnection, op, err)
}
