package report

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

// WebhookOptions say how reports are posted.
type WebhookOptions struct {
	// Secret signs what is posted, so that the receiver knows who sent it: at least 16 bytes, or "whsec_"
	// and base64, as Standard Webhooks have it. Required, and never logged.
	Secret string
	// Outbox is the folder where reports wait until the receiver has them. It is made if need be. Only one
	// process at a time can use it. Required.
	Outbox string
	// Header is sent along, for instance an Authorization. It is never logged.
	Header http.Header
	// GiveUp is how old a report may be that is tried again: default 7 days.
	GiveUp time.Duration
	// Client makes the requests; default is one that uses the proxy of the environment. Redirects are not
	// followed in any case. An attempt has 20 s.
	Client *http.Client
}

const (
	attemptTime   = 20 * time.Second
	defaultGiveUp = 7 * 24 * time.Hour
	minSecret     = 16
	maxAnswer     = 1 << 16 // of an answer is read
	shownAnswer   = 200     // of an answer is logged
)

// Webhook posts each report as JSON to url, at least once. It is written to the outbox before it is tried,
// and stays there until the receiver answers with a status of 2xx: it is tried again, also after a restart,
// when there is no answer, or one of 5xx, 408, 425 or 429, whose Retry-After is heeded. Any other answer is
// final: the report goes to the folder "dead" in the outbox, and that is logged as an error; moved back, it
// is tried again after the next start. Requests are signed as Standard Webhooks are, see Verify, and have
// the same id, also as Idempotency-Key, whenever the report of a session comes again.
//
// A report counts as delivered when it is in the outbox. One that was made from a ledger does not join one of the
// same session that waits there.
func Webhook(url string, o WebhookOptions) Sink {
	w := &webhook{to: url, o: o}
	host, err := webhookHost(url)
	s := Sink{name: "webhook " + host, err: err, limit: deliveryTime, check: w.check, open: w.open, deliver: w.deliver, backlog: w.backlog}
	if s.err == nil {
		w.key, s.err = signingKey(o.Secret)
	}
	if s.err == nil && o.Outbox == "" {
		s.err = errors.New("no outbox")
	}
	return s
}

// webhookHost is the part of the URL that may be logged.
func webhookHost(base string) (string, error) {
	u, err := url.Parse(base)
	switch {
	case err != nil:
		return "", errors.New("the URL is malformed")
	case u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "":
		return u.Host, errors.New("the URL is not one of http or https")
	case u.User != nil:
		return u.Host, errors.New("the URL has a password: use Header")
	}
	return u.Host, nil
}

type webhook struct {
	to     string
	o      WebhookOptions
	key    []byte
	client *http.Client // while open

	mu  sync.Mutex
	box *outbox // nil while closed
}

func (w *webhook) check() error {
	if err := makeDir(w.o.Outbox, 0o700); err != nil {
		return fmt.Errorf("outbox: %w", err)
	}
	return nil
}

func (w *webhook) open(log *slog.Logger) (func() error, error) {
	c := &http.Client{Transport: http.DefaultTransport.(*http.Transport).Clone()}
	if w.o.Client != nil {
		*c = *w.o.Client
	}
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse } // nobody else gets the report
	w.client = c
	box, err := openOutbox(w.o.Outbox, cmp.Or(w.o.GiveUp, defaultGiveUp), w.post, log)
	if err != nil {
		return nil, err
	}
	w.set(box)
	return func() error {
		w.set(nil)
		defer func() {
			if w.o.Client == nil {
				c.CloseIdleConnections()
			}
		}()
		return box.close()
	}, nil
}

func (w *webhook) set(box *outbox) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.box = box
}

func (w *webhook) get() *outbox {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.box
}

func (w *webhook) deliver(ctx context.Context, d *document) error {
	box := w.get()
	if box == nil {
		return errors.New("the outbox is closed")
	}
	if d.Recovered && box.has(ID(d.Report)) {
		return nil
	}
	data, err := d.json()
	if err != nil {
		return err
	}
	return box.put(ctx, ID(d.Report), data)
}

func (w *webhook) backlog() Backlog {
	if box := w.get(); box != nil {
		return box.backlog()
	}
	return Backlog{}
}

// post tries once to deliver a report. The error is a *finalError, a *laterError or any other, after which
// it is to be tried again.
func (w *webhook) post(ctx context.Context, body []byte) error {
	id, err := webhookID(body)
	if err != nil {
		return &finalError{err}
	}
	ctx, cancel := context.WithTimeout(ctx, attemptTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.to, bytes.NewReader(body))
	if err != nil {
		return &finalError{errors.New("the URL is malformed")}
	}
	for k, v := range w.o.Header {
		req.Header[http.CanonicalHeaderKey(k)] = v
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Idempotency-Key", id)
	sign(req.Header, w.key, id, time.Now(), body)
	resp, err := w.client.Do(req)
	if err != nil {
		if ue := (*url.Error)(nil); errors.As(err, &ue) {
			err = ue.Err // without the URL, which may hold a key
		}
		return fmt.Errorf("posting session report: %w", err)
	}
	defer resp.Body.Close()
	answer, _ := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if resp.StatusCode/100 == 2 {
		return nil
	}
	return w.refused(resp, answer)
}

func (w *webhook) refused(resp *http.Response, answer []byte) error {
	text := strings.Join(strings.Fields(strings.ToValidUTF8(string(answer), "")), " ")
	text = strings.ReplaceAll(text, w.o.Secret, "***")
	for _, vs := range w.o.Header {
		for _, v := range vs {
			if v != "" {
				text = strings.ReplaceAll(text, v, "***")
			}
		}
	}
	text = strings.ToValidUTF8(text[:min(len(text), shownAnswer)], "")
	err := errors.New(strings.TrimSpace(fmt.Sprintf("the receiver answered with status %d %s", resp.StatusCode, text)))
	switch code := resp.StatusCode; {
	case code == http.StatusTooManyRequests, code == http.StatusServiceUnavailable:
		return &laterError{err, retryAfter(resp.Header.Get("Retry-After"))}
	case code >= 500, code == http.StatusRequestTimeout, code == http.StatusTooEarly:
		return err
	}
	return &finalError{err}
}

// retryAfter reads a Retry-After: seconds or a date; 0 if there is none.
func retryAfter(v string) time.Duration {
	if n, err := strconv.ParseInt(v, 10, 32); err == nil {
		return max(0, time.Duration(n)*time.Second)
	}
	if at, err := http.ParseTime(v); err == nil {
		return max(0, time.Until(at))
	}
	return 0
}

// webhookID is by which the receiver knows a report that comes again, from the JSON of it.
func webhookID(body []byte) (string, error) {
	var doc struct {
		JobID     string `json:"job_id"`
		SessionID string `json:"session_id"`
		Version   int    `json:"version"`
	}
	if err := json.Unmarshal(body, &doc); err != nil {
		return "", fmt.Errorf("it is no session report: %w", err)
	}
	id := safe(cmp.Or(doc.SessionID, doc.JobID))
	return fmt.Sprintf("%s-v%d", id, doc.Version), nil
}
