// Package acme recognises speech with Acme's service, which exists only in the test of this package.
package acme

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"os"
	"strconv"
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/stt"
	"github.com/parley-go/parley/stt/driver"
)

// NewSTT returns Acme's recogniser of whole utterances. The key is by default that of ACME_API_KEY.
func NewSTT(key string) (*stt.Model, error) {
	if key = cmp.Or(key, os.Getenv("ACME_API_KEY")); key == "" {
		return nil, errors.New("acme: no key: pass one or set ACME_API_KEY")
	}
	return stt.New(&recogniser{key, "https://api.acme.example/transcribe"}, nil), nil
}

type recogniser struct{ key, url string }

var info = model.Info{Label: "acme.STT", Provider: "acme", Model: "acme-1"}

func (d *recogniser) Info() model.Info { return info }
func (d *recogniser) Capabilities() driver.Capabilities {
	return driver.Capabilities{SampleRate: 16000}
}

func (d *recogniser) Recognize(ctx context.Context, f audio.Frame, o driver.Options) (*driver.Result, error) {
	pcm, _ := binary.Append(nil, binary.LittleEndian, f.Data)
	r, err := http.NewRequestWithContext(traced(ctx), "POST", d.url, bytes.NewReader(pcm))
	if err != nil {
		return nil, failed(model.KindRequest, err)
	}
	r.Header = http.Header{"Authorization": {"Bearer " + d.key}, "Accept-Language": {o.Language}}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, failed(model.KindConnection, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20)) // to its end: then the connection is used again
	if resp.StatusCode != http.StatusOK {
		e := failed(model.KindStatus, nil) // without the body, which may repeat the key
		after, _ := strconv.Atoi(resp.Header.Get("Retry-After"))
		e.Status, e.RetryAfter = resp.StatusCode, time.Duration(after)*time.Second
		return nil, e
	}
	if err != nil {
		return nil, failed(model.KindConnection, err)
	}
	var a struct {
		ID, Text string
		Usage    json.RawMessage
	}
	if err := json.NewDecoder(bytes.NewReader(body)).Decode(&a); err != nil {
		return nil, failed(model.KindProtocol, err)
	}
	res := &driver.Result{RequestID: a.ID, Alternative: driver.Alternative{Text: a.Text, End: f.Duration()}}
	var billed struct{ Seconds float64 }
	if json.Unmarshal(a.Usage, &billed) == nil && billed.Seconds > 0 {
		heard := time.Duration(billed.Seconds * float64(time.Second))
		res.Usage = &driver.UsageReport{AudioDuration: heard, Raw: metrics.RawOf(a.Usage)}
	}
	return res, nil
}

func failed(kind model.ErrorKind, err error) *model.Error {
	return &model.Error{Kind: kind, Provider: info.Provider, Op: "recognize", Err: err}
}

// traced has the request tell the session how it got its connection.
func traced(ctx context.Context) context.Context {
	began := time.Now()
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(c httptrace.GotConnInfo) {
		who := metrics.Metadata{ModelName: info.Model, ModelProvider: info.Provider}
		metrics.Record(ctx, &metrics.Connection{
			Header: metrics.Header{Label: info.Label, Source: metrics.Measured, Metadata: who},
			Kind:   "stt", AcquireTime: time.Since(began), Reused: c.Reused,
		})
	}})
}
