package wire

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"net/http/httptrace"
	"sync"
	"time"

	"github.com/parley-go/parley/internal/attempt"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model"
)

// Facts tell how a connection came about. Times that did not occur are 0.
type Facts struct {
	Acquire time.Duration // the whole, from asking for a connection to having it
	Wait    time.Duration // for a place or for somebody else's dial
	DNS     time.Duration
	Dial    time.Duration
	TLS     time.Duration
	Upgrade time.Duration // the websocket's handshake
	Reused  bool
}

// trace gathers the facts of one connection.
type trace struct {
	mu                               sync.Mutex
	f                                Facts
	asked, got, dnsAt, dialAt, tlsAt time.Time
	wrote                            bool   // the request, at least into the buffer of the connection
	meter                            *meter // of the connection; nil for none
	before                           int64  // what it had sent before the request

	have chan struct{} // closed when there is a connection
	once sync.Once
}

// traced returns ctx so that what net/http and the dialers do in it is noted in the trace.
func traced(ctx context.Context) (context.Context, *trace) {
	t := &trace{asked: time.Now(), have: make(chan struct{})}
	note := func(f func(now time.Time)) {
		t.mu.Lock()
		defer t.mu.Unlock()
		f(time.Now())
	}
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn:  func(string) { note(func(now time.Time) { t.asked, t.got = now, time.Time{} }) },
		DNSStart: func(httptrace.DNSStartInfo) { note(func(now time.Time) { t.dnsAt = now }) },
		DNSDone:  func(httptrace.DNSDoneInfo) { note(func(now time.Time) { t.f.DNS = now.Sub(t.dnsAt) }) },
		ConnectStart: func(string, string) {
			note(func(now time.Time) {
				if t.dialAt.IsZero() { // several addresses are tried at once
					t.dialAt = now
				}
			})
		},
		ConnectDone: func(_, _ string, err error) {
			note(func(now time.Time) {
				if err == nil {
					t.f.Dial = now.Sub(t.dialAt)
				}
			})
		},
		TLSHandshakeStart: func() { note(func(now time.Time) { t.tlsAt = now }) },
		TLSHandshakeDone: func(tls.ConnectionState, error) {
			note(func(now time.Time) { t.f.TLS = now.Sub(t.tlsAt) })
		},
		GotConn: func(i httptrace.GotConnInfo) {
			note(func(now time.Time) { t.got, t.f.Reused, t.wrote = now, i.Reused, false })
			if m := meterOf(i.Conn); m != nil {
				n := m.total()
				note(func(time.Time) { t.meter, t.before = m, n })
			}
			t.once.Do(func() { close(t.have) })
		},
		WroteRequest: func(i httptrace.WroteRequestInfo) { note(func(time.Time) { t.wrote = t.wrote || i.Err == nil }) },
	}), t
}

// gaveUp is err of a request that was cancelled, marked if nothing of it was sent.
func (t *trace) gaveUp(err error) error {
	t.mu.Lock()
	wrote, m, before := t.wrote, t.meter, t.before
	t.mu.Unlock()
	if !wrote || m != nil && m.total() == before { // net/http has closed the connection: it takes nothing any more
		return attempt.Unsent(err)
	}
	return err
}

// facts is what is known so far; false as long as there is no connection.
func (t *trace) facts() (Facts, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.got.IsZero() {
		return Facts{}, false
	}
	f := t.f
	f.Acquire = t.got.Sub(t.asked)
	if f.Reused {
		f.DNS, f.Dial, f.TLS = 0, 0, 0 // of a dial that lost the race against a connection that became free
	}
	f.Wait = max(f.Acquire-f.DNS-f.Dial-f.TLS, 0)
	return f, true
}

// Stated is a number in which a provider told its usage, in the form of metrics.Header.Raw.
func Stated(name string, v float64) metrics.Raw {
	doc, err := json.Marshal(map[string]float64{name: v})
	if err != nil {
		return "" // no number
	}
	return metrics.RawOf(doc)
}

// record books the acquisition of a connection, once per acquisition.
func record(ctx context.Context, kind string, info model.Info, f Facts) {
	metrics.Record(ctx, &metrics.Connection{
		Header: metrics.Header{
			Label: info.Label, Source: metrics.Measured, Outcome: metrics.Delivered,
			Metadata: metrics.Metadata{ModelName: info.Model, ModelProvider: info.Provider},
		},
		Kind: kind, AcquireTime: f.Acquire, WaitTime: f.Wait, DNS: f.DNS, Dial: f.Dial, TLS: f.TLS, Upgrade: f.Upgrade, Reused: f.Reused,
	})
}
