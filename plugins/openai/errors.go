package openai

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"

	"github.com/parley-go/parley/internal/wire"
	"github.com/parley-go/parley/model"
)

// statuses are the HTTP statuses of the words with which providers name an error inside of an answer
// that began well.
var statuses = map[string]int{
	"invalid_request_error": 400, "context_length_exceeded": 400, "invalid_prompt": 400, "content_filter": 400,
	"previous_response_not_found": 400, "string_above_max_length": 400, "invalid_value": 400,
	"invalid_api_key": 401, "authentication_error": 401, "session_expired": 408, "permission_error": 403, "account_deactivated": 403,
	"insufficient_quota": 402, "billing_hard_limit_reached": 402,
	"model_not_found": 404, "not_found_error": 404,
	"rate_limit_exceeded": 429, "rate_limit_error": 429, "tokens": 429, "requests": 429,
	"server_error": 500, "internal_server_error": 500, "internal_error": 500, "api_error": 500,
	"overloaded_error": 503, "service_unavailable": 503, "engine_overloaded": 503, "websocket_connection_limit_reached": 503,
}

// stated reads an error that a provider states inside of an answer. Its status is 0 if none is known.
func stated(raw json.RawMessage) (status int, code string) {
	var e struct {
		Code       any    `json:"code"` // a number or a word
		Type       string `json:"type"`
		Status     any    `json:"status"`
		StatusCode any    `json:"status_code"`
	}
	_ = json.Unmarshal(raw, &e) // what is no object has no status
	for _, v := range []any{e.Status, e.StatusCode, e.Code} {
		if n, ok := v.(float64); ok && n >= 400 && n < 600 {
			status = int(n)
			break
		}
	}
	code, _ = e.Code.(string)
	for _, word := range []string{code, e.Type} {
		if status == 0 {
			status = statuses[word]
		}
	}
	return status, code
}

// refused is the error that a provider states inside of an answer. One of unknown kind gets the status
// other; 0 makes it an error of the protocol, which is tried again.
func (e *endpoint) refused(op string, raw json.RawMessage, other int) error {
	status, _ := stated(raw)
	if status == 0 {
		status = other
	}
	if status == 0 {
		return e.Protocol(op, "the provider broke off: %s", wire.Explain(raw))
	}
	return e.Status(op, status, wire.Explain(raw))
}

// isNull reports whether a field is missing or null.
func isNull(raw json.RawMessage) bool { return len(raw) == 0 || string(raw) == "null" }

// streams makes sure that an answer is a stream of events. Some services send errors, or whole
// answers, with status 200. It closes the body of any other answer.
func (e *endpoint) streams(ctx context.Context, op string, resp *http.Response) error {
	kind := contentType(resp.Header)
	if kind != "application/json" && kind != "text/html" {
		return nil // servers forget the type, but hardly have another one
	}
	defer resp.Body.Close()
	return e.unexpected(ctx, op, kind, resp.Body)
}

// unexpected is the error of an answer of another kind than the one that was asked for.
func (e *endpoint) unexpected(ctx context.Context, op, kind string, body io.Reader) error {
	b, err := io.ReadAll(io.LimitReader(body, 16<<10))
	if err != nil {
		return e.ReadError(ctx, op, err)
	}
	var v struct {
		Object string          `json:"object"`
		Error  json.RawMessage `json:"error"`
	}
	if json.Unmarshal(b, &v) == nil {
		if !isNull(v.Error) {
			return e.refused(op, v.Error, 0)
		}
		if v.Object == "error" {
			return e.refused(op, b, 0)
		}
	}
	err = e.Protocol(op, "the answer is %s: not what was asked for", kind)
	if p, ok := err.(*model.Error); ok {
		p.Permanent = true
	}
	return err
}

// contentType is the type of an answer without its parameters, in lower case.
func contentType(h http.Header) string {
	kind, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	if err != nil {
		kind, _, _ = strings.Cut(h.Get("Content-Type"), ";")
	}
	return strings.ToLower(strings.TrimSpace(kind))
}

// broken is the error of a stream of events that ended without saying so.
func (e *endpoint) broken(ctx context.Context, op string, err error) error {
	switch err {
	case io.EOF, io.ErrUnexpectedEOF:
		return e.Error(model.KindConnection, op, fmt.Errorf("the answer broke off: %w", io.ErrUnexpectedEOF))
	case wire.ErrEventTooLarge:
		return e.Error(model.KindProtocol, op, err)
	}
	return e.ReadError(ctx, op, err)
}
