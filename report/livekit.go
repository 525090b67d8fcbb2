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
	"mime/multipart"
	"net/http"
	"net/textproto"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/livekit/protocol/auth"
	"github.com/livekit/protocol/livekit"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/parley-go/parley/internal/lkcloud"
	"github.com/parley-go/parley/internal/wire"
	"github.com/parley-go/parley/session"
)

// LiveKitOptions say which LiveKit server the calls are of.
type LiveKitOptions struct {
	// URL, APIKey and APISecret are of the LiveKit server; default LIVEKIT_URL, LIVEKIT_API_KEY and
	// LIVEKIT_API_SECRET.
	URL, APIKey, APISecret string
	// Client makes the requests; default is one that uses the proxy of the environment.
	Client *http.Client
}

const (
	uploadTime    = 60 * time.Second // with all waits
	uploadRetries = 3
	maxLatched    = 1000 // jobs that are remembered
)

// LiveKit uploads the conversation of each session to LiveKit Cloud, for its session view. Nothing is
// uploaded without a transcript to upload (see session.Recording), without a session, from a report that was
// made from a ledger, or when the server is not LiveKit Cloud and LIVEKIT_OBSERVABILITY_URL names no other
// place: then it counts as delivered. So does what the project does not want: once LiveKit Cloud has said so,
// nothing more is sent for the job. Where the answer says when to try again, that is done 3 times. Parley
// records no audio, so none is uploaded.
func LiveKit(o *LiveKitOptions) Sink {
	if o == nil {
		o = &LiveKitOptions{}
	}
	u := &upload{key: cmp.Or(o.APIKey, os.Getenv("LIVEKIT_API_KEY")), secret: cmp.Or(o.APISecret, os.Getenv("LIVEKIT_API_SECRET"))}
	s := Sink{name: "livekit", limit: uploadTime, deliver: u.deliver, open: func(log *slog.Logger) (func() error, error) { return u.open(log, o.Client) }}
	u.base, s.err = lkcloud.URL(os.Getenv("LIVEKIT_OBSERVABILITY_URL"), cmp.Or(o.URL, os.Getenv("LIVEKIT_URL")))
	if s.err == nil && u.base != "" && (u.key == "" || u.secret == "") {
		s.err = errors.New("no API key: set LIVEKIT_API_KEY and LIVEKIT_API_SECRET")
	}
	return s
}

type upload struct {
	base, key, secret string
	client            *http.Client
	log               *slog.Logger
	unwanted          latch
}

func (u *upload) open(log *slog.Logger, c *http.Client) (func() error, error) {
	u.log = log
	if u.base == "" {
		log.Info("conversations are not uploaded: the server is not LiveKit Cloud")
	}
	own := c == nil
	if own {
		c = &http.Client{Transport: http.DefaultTransport.(*http.Transport).Clone()}
	}
	once := *c
	once.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse } // nobody else gets the key
	u.client = &once
	return func() error {
		if own {
			c.CloseIdleConnections()
		}
		return nil
	}, nil
}

func (u *upload) deliver(ctx context.Context, d *document) error {
	if u.base == "" || !uploads(d.Report) || u.unwanted.has(d.JobID) {
		return nil
	}
	body, kind, err := recording(d.Report)
	if err != nil {
		return err
	}
	for n := 0; ; n++ {
		wait, err := u.post(ctx, d.JobID, body, kind)
		if err == nil || wait < 0 || n == uploadRetries {
			return err
		}
		if end, ok := ctx.Deadline(); ok && time.Until(end) < wait {
			return err
		}
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return err
		}
	}
}

// uploads tells whether there is anything of r to upload that may be.
func uploads(r *session.Report) bool {
	return r.SessionID != "" && !r.Recovered && r.Options.Recording.Transcript.Default(r.JobRecording)
}

// recording is the form that is posted, and its content type.
func recording(r *session.Report) (body []byte, kind string, err error) {
	header, err := proto.Marshal(&livekit.MetricsRecordingHeader{RoomId: r.RoomID, JobId: r.JobID,
		RedactionEnabled: r.JobRedaction || r.Options.Recording.Redact})
	if err != nil {
		return nil, "", fmt.Errorf("encoding recording header: %w", err)
	}
	history, err := json.Marshal(r.History)
	if err != nil {
		return nil, "", fmt.Errorf("encoding conversation: %w", err)
	}
	var b bytes.Buffer
	form := multipart.NewWriter(&b)
	for _, part := range []struct {
		name, file, kind string
		data             []byte
	}{
		{"header", "header.binpb", "application/protobuf", header},
		{"chat_history", "chat_history.json", "application/json", history},
	} {
		w, err := form.CreatePart(textproto.MIMEHeader{
			"Content-Disposition": {fmt.Sprintf("form-data; name=%q; filename=%q", part.name, part.file)},
			"Content-Type":        {part.kind}})
		if err == nil {
			_, err = w.Write(part.data)
		}
		if err != nil {
			return nil, "", fmt.Errorf("encoding recording: %w", err)
		}
	}
	if err := form.Close(); err != nil {
		return nil, "", fmt.Errorf("encoding recording: %w", err)
	}
	return b.Bytes(), form.FormDataContentType(), nil
}

// post tries once. wait is how long to wait before the next try, less than 0 if there is to be none.
func (u *upload) post(ctx context.Context, job string, body []byte, kind string) (wait time.Duration, err error) {
	token, err := auth.NewAccessToken(u.key, u.secret).SetObservabilityGrant(&auth.ObservabilityGrant{Write: true}).SetValidFor(lkcloud.TokenLife).ToJWT()
	if err != nil {
		return -1, fmt.Errorf("signing token: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.base+"/observability/recordings/v0", bytes.NewReader(body))
	if err != nil {
		return -1, errors.New("uploading conversation: the URL is malformed")
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", kind)
	resp, err := u.client.Do(req)
	if err != nil {
		if ue := (*url.Error)(nil); errors.As(err, &ue) {
			err = ue.Err
		}
		return -1, fmt.Errorf("uploading conversation: %w", err)
	}
	defer resp.Body.Close()
	answer, _ := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	switch {
	case resp.StatusCode/100 == 2:
		return 0, nil
	case resp.StatusCode == http.StatusUnauthorized && lkcloud.Unwanted(answer):
		if u.unwanted.add(job) {
			u.log.Warn("LiveKit Cloud does not want recordings of this project: they are disabled there", "job_id", job)
		}
		return 0, nil
	}
	if wait = retryInfo(answer); wait < 0 {
		return -1, fmt.Errorf("uploading conversation: status %d", resp.StatusCode)
	}
	return wait, fmt.Errorf("uploading conversation: status %d, which was to be tried again", resp.StatusCode)
}

// retryInfo reads the delay of the RetryInfo in a google.rpc.Status; less than 0 if there is none.
func retryInfo(answer []byte) time.Duration {
	wait := time.Duration(-1)
	status := func(f wire.Field) error {
		if f.Number != 3 { // details
			return nil
		}
		var kind string
		var value []byte
		err := wire.Fields(f.Data, func(f wire.Field) error {
			switch f.Number {
			case 1:
				kind = string(f.Data)
			case 2:
				value = f.Data
			}
			return nil
		})
		if err != nil || !strings.HasSuffix(kind, "/google.rpc.RetryInfo") {
			return err
		}
		wait = 0
		return wire.Fields(value, func(f wire.Field) error {
			var d durationpb.Duration
			if f.Number == 1 && proto.Unmarshal(f.Data, &d) == nil {
				wait = max(0, d.AsDuration())
			}
			return nil
		})
	}
	if wire.Fields(answer, status) != nil {
		return -1
	}
	return wait
}

// latch remembers jobs, the latest maxLatched of them. What is said about a job is of no other, whenever the
// answer comes.
type latch struct {
	mu    sync.Mutex
	known map[string]bool
	order []string
}

func (l *latch) has(job string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.known[job]
}

// add reports whether job is new.
func (l *latch) add(job string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.known[job] {
		return false
	}
	if len(l.order) == maxLatched {
		delete(l.known, l.order[0])
		l.order = l.order[1:]
	}
	if l.known == nil {
		l.known = make(map[string]bool)
	}
	l.known[job] = true
	l.order = append(l.order, job)
	return true
}
