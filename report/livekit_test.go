package report

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/livekit/protocol/auth"
	"github.com/livekit/protocol/livekit"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/parley-go/parley/internal/lkcloud"
	"github.com/parley-go/parley/internal/wire"
	"github.com/parley-go/parley/llm/chat"
	"github.com/parley-go/parley/opt"
	"github.com/parley-go/parley/session"
)

const cloudSecret = "hidden secret of the project, 32 bytes"

// cloud stands in for LiveKit Cloud, and is as strict.
type cloud struct {
	t      *testing.T
	answer func(n int) (int, []byte)

	mu    sync.Mutex
	posts []post
}

type post struct {
	at     time.Time
	header *livekit.MetricsRecordingHeader
	parts  map[string]string // "name file type": content
}

func (c *cloud) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.String() != "https://project.livekit.cloud/observability/recordings/v0" || req.Method != "POST" {
		c.t.Errorf("%s %s", req.Method, req.URL)
	}
	claims, err := auth.ParseAPIToken(strings.TrimPrefix(req.Header.Get("Authorization"), "Bearer "))
	if err != nil {
		c.t.Error(err)
		return nil, err
	}
	if claims.APIKey() != "key" {
		c.t.Errorf("token of %s", claims.APIKey())
	}
	std, grants, err := claims.Verify(cloudSecret)
	if err != nil || grants.Observability == nil || !grants.Observability.Write || grants.Video != nil {
		c.t.Errorf("grants %+v, %v", grants, err)
	}
	if std != nil {
		if left := time.Until(std.ExpiresAt.Time); left < lkcloud.TokenLife-time.Minute || left > lkcloud.TokenLife+time.Minute {
			c.t.Errorf("the token is valid for %v", left)
		}
	}
	p := post{at: time.Now(), header: &livekit.MetricsRecordingHeader{}, parts: map[string]string{}}
	_, params, err := mime.ParseMediaType(req.Header.Get("Content-Type"))
	if err != nil {
		c.t.Error(err)
	}
	form := multipart.NewReader(req.Body, params["boundary"])
	for {
		part, err := form.NextRawPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			c.t.Fatal(err)
		}
		data, _ := io.ReadAll(part)
		p.parts[fmt.Sprintf("%s %s %s", part.FormName(), part.FileName(), part.Header.Get("Content-Type"))] = string(data)
		if part.FormName() == "header" {
			if err := proto.Unmarshal(data, p.header); err != nil {
				c.t.Error(err)
			}
		}
	}
	c.mu.Lock()
	n := len(c.posts)
	c.posts = append(c.posts, p)
	c.mu.Unlock()
	status, body := 200, []byte(nil)
	if c.answer != nil {
		status, body = c.answer(n)
	}
	rec := httptest.NewRecorder()
	rec.WriteHeader(status)
	rec.Write(body)
	return rec.Result(), nil
}

func (c *cloud) all() []post {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.posts
}

func (c *cloud) sink() Sink {
	return LiveKit(&LiveKitOptions{URL: "wss://project.livekit.cloud", APIKey: "key", APISecret: cloudSecret, Client: &http.Client{Transport: c}})
}

func said(words string) *session.Report {
	h := &chat.Context{}
	h.Add(&chat.Message{Role: chat.User, Content: []chat.Part{chat.Text(words)}})
	return &session.Report{JobID: "AJ_1", RoomID: "RM_1", SessionID: "session_a", History: h, JobRecording: true}
}

func TestLiveKitUpload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &cloud{t: t}
		deliver(t, c.sink(), said("hello"))
		posts := c.all()
		if len(posts) != 1 {
			t.Fatalf("%d posts", len(posts))
		}
		p := posts[0]
		if h := p.header; h.RoomId != "RM_1" || h.JobId != "AJ_1" || h.RedactionEnabled || h.Simulated || h.StartTime != nil || h.RoomName != "" {
			t.Errorf("header %v", h)
		}
		if history := p.parts["chat_history chat_history.json application/json"]; !strings.HasPrefix(history, `{"items":[{`) || !strings.Contains(history, "hello") {
			t.Errorf("history %s", history)
		}
		if _, ok := p.parts["header header.binpb application/protobuf"]; !ok || len(p.parts) != 2 {
			t.Errorf("parts %v", p.parts)
		}
	})
}

func TestLiveKitUploadsWhatMayBe(t *testing.T) {
	on, off := opt.Some(true), opt.Off[bool]()
	for name, tt := range map[string]struct {
		change          func(*session.Report)
		posts, redacted bool
	}{
		"the job wants it":        {func(*session.Report) {}, true, false},
		"nobody wants it":         {func(r *session.Report) { r.JobRecording = false }, false, false},
		"the application does":    {func(r *session.Report) { r.JobRecording = false; r.Options.Recording.Transcript = on }, true, false},
		"the application forbids": {func(r *session.Report) { r.Options.Recording.Transcript = off }, false, false},
		"it says false":           {func(r *session.Report) { r.Options.Recording.Transcript = opt.Some(false) }, false, false},
		"the project redacts":     {func(r *session.Report) { r.JobRedaction = true }, true, true},
		"the application redacts": {func(r *session.Report) { r.Options.Recording.Redact = true }, true, true},
		"made from a ledger":      {func(r *session.Report) { r.Recovered = true }, false, false},
		"no session":              {func(r *session.Report) { r.SessionID = "" }, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			c := &cloud{t: t}
			r := said("hello")
			tt.change(r)
			deliver(t, c.sink(), r)
			if posts := c.all(); (len(posts) == 1) != tt.posts || tt.posts && posts[0].header.RedactionEnabled != tt.redacted {
				t.Errorf("posts %v", posts)
			}
		})
	}
}

// status is a google.rpc.Status with a RetryInfo after another detail.
func status(t *testing.T, wait time.Duration) []byte {
	d, err := proto.Marshal(durationpb.New(wait))
	if err != nil {
		t.Fatal(err)
	}
	var info, out wire.Proto
	info.Message(1, d)
	for _, a := range []*anypb.Any{{TypeUrl: "type.googleapis.com/google.rpc.ErrorInfo", Value: []byte{0x0a, 1, 'x'}}, {TypeUrl: "type.googleapis.com/google.rpc.RetryInfo", Value: info}} {
		data, err := proto.Marshal(a)
		if err != nil {
			t.Fatal(err)
		}
		out.Message(3, data)
	}
	out.Int(1, 14)
	out.String(2, "busy")
	return out
}

func TestLiveKitTriesAgainWhenItIsToldWhen(t *testing.T) {
	for name, tt := range map[string]struct {
		answer func(n int) (int, []byte)
		posts  int
		took   time.Duration
		err    string
	}{
		"told once": {func(n int) (int, []byte) {
			if n == 0 {
				return 503, status(t, 2*time.Second)
			}
			return 200, nil
		}, 2, 2 * time.Second, ""},
		"told for ever":     {func(int) (int, []byte) { return 429, status(t, 3*time.Second) }, 4, 9 * time.Second, "status 429"},
		"told for too long": {func(int) (int, []byte) { return 429, status(t, time.Hour) }, 1, 0, "status 429"},
		"not told":          {func(int) (int, []byte) { return 503, []byte("busy") }, 1, 0, "status 503"},
		"nothing":           {func(int) (int, []byte) { return 500, nil }, 1, 0, "status 500"},
		"redirected":        {func(int) (int, []byte) { return 307, nil }, 1, 0, "status 307"},
		"another 401":       {func(int) (int, []byte) { return 401, []byte("invalid token") }, 1, 0, "status 401"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := &cloud{t: t, answer: tt.answer}
				began := time.Now()
				err := courier(t, c.sink()).Deliver(t.Context(), said("hello"), nil, nil)
				if n, d := len(c.all()), time.Since(began); n != tt.posts || d != tt.took {
					t.Errorf("%d posts in %v, want %d in %v", n, d, tt.posts, tt.took)
				}
				if (err == nil) != (tt.err == "") || err != nil && (!strings.Contains(err.Error(), tt.err) || strings.Contains(err.Error(), "hidden")) {
					t.Errorf("err %v, want %s", err, tt.err)
				}
			})
		})
	}
}

// What a project does not want is not sent again for the job, and is no failure; other jobs find out for
// themselves, also when the answer to an old one comes late.
func TestLiveKitThatWantsNoRecordings(t *testing.T) {
	for _, text := range []string{`{"msg":"Data recording is DISABLED"}`, "recording was disabled by owner"} {
		synctest.Test(t, func(t *testing.T) {
			var log bytes.Buffer
			c := &cloud{t: t, answer: func(n int) (int, []byte) {
				if n == 0 {
					time.Sleep(10 * time.Second) // meanwhile another job is over
					return 401, []byte(text)
				}
				return 200, nil
			}}
			k, err := Open(slog.New(slog.NewTextHandler(&log, nil)), c.sink())
			if err != nil {
				t.Fatal(err)
			}
			old := make(chan error, 1) // one result
			go func() { old <- k.Deliver(t.Context(), said("old"), nil, nil) }()
			time.Sleep(time.Second)
			other := said("new")
			other.JobID, other.SessionID = "AJ_2", "session_b"
			if err := k.Deliver(t.Context(), other, nil, nil); err != nil {
				t.Error(err)
			}
			if err := <-old; err != nil {
				t.Errorf("what the project does not want is a failure: %v", err)
			}
			for range 2 {
				second := said("the job's second session")
				second.SessionID = "session_c"
				if err := k.Deliver(t.Context(), second, nil, nil); err != nil {
					t.Error(err)
				}
			}
			if err := k.Deliver(t.Context(), other, nil, nil); err != nil {
				t.Error(err)
			}
			var jobs []string
			for _, p := range c.all() {
				jobs = append(jobs, p.header.JobId)
			}
			if got := strings.Join(jobs, " "); got != "AJ_1 AJ_2 AJ_2" {
				t.Errorf("posts of %s", got)
			}
			if n := strings.Count(log.String(), "level=WARN"); n != 1 {
				t.Errorf("%d warnings: %s", n, &log)
			}
			closeCourier(t, k)
		})
	}
}

func TestLatchForgetsOldJobs(t *testing.T) {
	var l latch
	for i := range 3 * maxLatched {
		if !l.add(fmt.Sprint(i)) {
			t.Fatalf("%d was known", i)
		}
	}
	if l.has("0") || !l.has(fmt.Sprint(3*maxLatched-1)) || len(l.known) != maxLatched || len(l.order) != maxLatched {
		t.Errorf("%d jobs are remembered", len(l.known))
	}
}

func TestObservabilityURL(t *testing.T) {
	for _, tt := range [][3]string{
		{"", "wss://project.livekit.cloud", "https://project.livekit.cloud"},
		{"", "https://project.livekit.cloud:443/x?y=z", "https://project.livekit.cloud:443"},
		{"", "ws://127.0.0.1:7880", ""},
		{"", "wss://livekit.example.com", ""},
		{"", "wss://livekit.cloud.example.com", ""},
		{"", "", ""},
		{"https://o.example.com/base/", "ws://127.0.0.1:7880", "https://o.example.com/base"},
		{"o.example.com", "wss://project.livekit.cloud", "error"},
		{"https://user:hidden@o.example.com", "", "error"},
	} {
		got, err := lkcloud.URL(tt[0], tt[1])
		if err != nil {
			if got = "error"; strings.Contains(err.Error(), "hidden") {
				t.Error(err)
			}
		}
		if got != tt[2] {
			t.Errorf("%q, %q: %q, want %q", tt[0], tt[1], got, tt[2])
		}
	}
	for _, name := range []string{"LIVEKIT_URL", "LIVEKIT_API_KEY", "LIVEKIT_API_SECRET", "LIVEKIT_OBSERVABILITY_URL"} {
		t.Setenv(name, "")
	}
	if err := Check(LiveKit(&LiveKitOptions{URL: "wss://project.livekit.cloud"})); err == nil || !strings.Contains(err.Error(), "LIVEKIT_API_KEY") {
		t.Errorf("no key: %v", err)
	}
	deliver(t, LiveKit(nil), said("nobody is asked"))
	t.Setenv("LIVEKIT_OBSERVABILITY_URL", "https://o.example.com")
	if err := Check(LiveKit(nil)); err == nil || !strings.Contains(err.Error(), "LIVEKIT_API_KEY") {
		t.Errorf("no key: %v", err)
	}
}

func FuzzRetryInfo(f *testing.F) {
	f.Add([]byte(nil))
	f.Add([]byte{0x1a, 0x02, 0x0a, 0x00})
	var any, info, out wire.Proto
	info.Message(1, wire.Proto{0x08, 0x02})
	any.String(1, "type.googleapis.com/google.rpc.RetryInfo")
	any.Message(2, info)
	out.Message(3, any)
	f.Add([]byte(out))
	f.Fuzz(func(t *testing.T, data []byte) {
		if d := retryInfo(data); d < -1 {
			t.Errorf("wait %v", d)
		}
	})
}
