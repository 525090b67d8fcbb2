package report

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/session"
)

const testSecret = "a secret of the receiver"

// receiver is the other side of a webhook, without a network: it checks every request as a receiver does.
type receiver struct {
	t *testing.T
	// answer decides about try n, from 0 on, of a report; nil takes everything.
	answer func(id string, n int, req *http.Request) (status int, header map[string]string, err error)

	mu    sync.Mutex
	tries map[string][]time.Time // of each id
	body  map[string]string
	took  []string // ids, in order
	log   bytes.Buffer
}

func newReceiver(t *testing.T) *receiver {
	return &receiver{t: t, tries: map[string][]time.Time{}, body: map[string]string{}}
}

func (r *receiver) RoundTrip(req *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	id, err := Verify(req.Header, body, testSecret)
	if err != nil || req.Method != "POST" || req.Header.Get("Content-Type") != "application/json" || req.Header.Get("Idempotency-Key") != id {
		r.t.Errorf("%s with %v: %v", req.Method, req.Header, err)
	}
	r.mu.Lock()
	n := len(r.tries[id])
	r.tries[id] = append(r.tries[id], time.Now())
	if n > 0 && r.body[id] != string(body) {
		r.t.Errorf("%s comes with another body", id)
	}
	r.body[id] = string(body)
	r.mu.Unlock()
	status, header := 204, map[string]string(nil)
	if r.answer != nil {
		status, header, err = r.answer(id, n, req)
	}
	if err != nil {
		return nil, err
	}
	if status/100 == 2 {
		r.mu.Lock()
		r.took = append(r.took, id)
		r.mu.Unlock()
	}
	rec := httptest.NewRecorder()
	for k, v := range header {
		rec.Header().Set(k, v)
	}
	rec.WriteHeader(status)
	fmt.Fprintf(rec, "because of %s and %s\n\x00", testSecret, req.Header.Get("Authorization"))
	return rec.Result(), nil
}

// taken are the ids of the reports that the receiver has.
func (r *receiver) taken() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.took)
}

func (r *receiver) triesOf(id string) []time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.tries[id])
}

func (r *receiver) bodyOf(id string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.body[id]
}

func (r *receiver) hook(dir string) Sink {
	return Webhook("https://example.com/hidden-path?key=hidden-query", WebhookOptions{Secret: testSecret, Outbox: dir,
		Header: http.Header{"authorization": {"Bearer hidden-token"}}, Client: &http.Client{Transport: r}})
}

// open opens a courier with the hook, whose log goes to r.log.
func (r *receiver) open(dir string) *Courier {
	r.t.Helper()
	c, err := Open(slog.New(slog.NewTextHandler(lockedWriter{r}, nil)), r.hook(dir))
	if err != nil {
		r.t.Fatal(err)
	}
	return c
}

type lockedWriter struct{ r *receiver }

func (w lockedWriter) Write(p []byte) (int, error) {
	w.r.mu.Lock()
	defer w.r.mu.Unlock()
	return w.r.log.Write(p)
}

func (r *receiver) put(c *Courier, ids ...string) {
	r.t.Helper()
	for _, id := range ids {
		if err := c.Deliver(r.t.Context(), &session.Report{SessionID: id}, nil, nil); err != nil {
			r.t.Error(err)
		}
	}
}

func closeCourier(t *testing.T, c *Courier) {
	t.Helper()
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

// letters are the reports in a folder, by their sessions.
func letters(t *testing.T, dir string) (out []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		out = append(out, sessionIn(t, f))
	}
	return out
}

func version(id string) string { return fmt.Sprintf("%s-v%d", id, session.ReportVersion) }

func TestWebhookDelivers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "outbox")
		r := newReceiver(t)
		r.answer = func(id string, _ int, _ *http.Request) (int, map[string]string, error) {
			if stored := letters(t, dir); len(stored) != 1 {
				t.Errorf("while %s is sent the outbox has %q", id, stored)
			}
			return 204, nil, nil
		}
		c := r.open(dir)
		rep := &session.Report{SessionID: "session_a", JobID: "AJ_1", Room: "room"}
		if err := c.Deliver(t.Context(), rep, nil, nil); err != nil {
			t.Fatal(err)
		}
		want, err := json.Marshal(rep)
		if err != nil {
			t.Fatal(err)
		}
		if got := r.bodyOf(version("session_a")); got != string(want) {
			t.Errorf("posted %s, want %s", got, want)
		}
		if err := c.Deliver(t.Context(), &session.Report{JobID: "AJ_2"}, nil, nil); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(r.taken(), []string{version("session_a"), version("AJ_2")}) {
			t.Errorf("the receiver has %q", r.taken())
		}
		if left := letters(t, dir); len(left) > 0 {
			t.Errorf("left in the outbox: %q", left)
		}
		if s := c.Stats()[0]; s.Sink != "webhook example.com" || s.Delivered != 2 || s.Failed != 0 || s.Waiting != 0 || s.Dead != 0 {
			t.Errorf("stats %+v", s)
		}
		closeCourier(t, c)
		if r.log.Len() > 0 {
			t.Errorf("logged %s", &r.log)
		}
	})
}

// gaps are the waits between the tries of a report, as multiples of what they would be without chance.
func (r *receiver) wantGaps(id string, want ...time.Duration) {
	r.t.Helper()
	tries := r.triesOf(id)
	if len(tries) != len(want)+1 {
		r.t.Fatalf("%s was tried %d times, want %d", id, len(tries), len(want)+1)
	}
	for i, w := range want {
		if d := tries[i+1].Sub(tries[i]); d < w*79/100 || d > w*121/100 {
			r.t.Errorf("wait %d of %s is %v, want about %v", i, id, d, w)
		}
	}
}

func TestWebhookTriesAgain(t *testing.T) {
	for name, fail := range map[string]func() (int, map[string]string, error){
		"no connection": func() (int, map[string]string, error) { return 0, nil, errors.New("connection refused") },
		"status 500":    func() (int, map[string]string, error) { return 500, nil, nil },
		"status 502":    func() (int, map[string]string, error) { return 502, nil, nil },
		"status 408":    func() (int, map[string]string, error) { return 408, nil, nil },
		"status 429":    func() (int, map[string]string, error) { return 429, nil, nil },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dir := t.TempDir()
				r := newReceiver(t)
				r.answer = func(_ string, n int, _ *http.Request) (int, map[string]string, error) {
					if n < 4 {
						return fail()
					}
					return 200, nil, nil
				}
				c := r.open(dir)
				r.put(c, "a")
				if got := letters(t, dir); !slices.Equal(got, []string{"a"}) {
					t.Errorf("the outbox has %q", got)
				}
				time.Sleep(time.Minute)
				r.wantGaps(version("a"), time.Second, 2*time.Second, 4*time.Second, 8*time.Second)
				if got := letters(t, dir); len(got) > 0 || !slices.Equal(r.taken(), []string{version("a")}) {
					t.Errorf("the outbox has %q, the receiver %q", got, r.taken())
				}
				closeCourier(t, c)
			})
		})
	}
}

// While the receiver wants to be left alone nothing is sent, whatever comes in.
func TestRetryAfterIsHeeded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReceiver(t)
		began := time.Now()
		r.answer = func(id string, n int, _ *http.Request) (int, map[string]string, error) {
			switch {
			case id == version("a") && n == 0:
				return 429, map[string]string{"Retry-After": "120"}, nil
			case id == version("b") && n == 0:
				return 503, map[string]string{"Retry-After": began.Add(10 * time.Minute).UTC().Format(http.TimeFormat)}, nil
			case id == version("a") && n == 1:
				return 503, map[string]string{"Retry-After": "999999999"}, nil
			}
			return 200, nil, nil
		}
		c := r.open(t.TempDir())
		r.put(c, "a")
		time.Sleep(time.Minute)
		r.put(c, "b")
		time.Sleep(3 * time.Hour)
		closeCourier(t, c)
		if d := r.triesOf(version("b"))[0].Sub(began); d != 2*time.Minute {
			t.Errorf("another report was sent after %v", d)
		}
		r.wantGaps(version("a"), 10*time.Minute, maxLater)
		r.wantGaps(version("b"), 8*time.Minute+maxLater)
	})
}

func TestWhatTheReceiverRefusesIsADeadLetter(t *testing.T) {
	for _, status := range []int{301, 307, 400, 401, 403, 404, 409, 410, 413, 422} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dir := t.TempDir()
				r := newReceiver(t)
				r.answer = func(id string, _ int, _ *http.Request) (int, map[string]string, error) {
					if id == version("bad") {
						return status, map[string]string{"Location": "https://elsewhere.example/"}, nil
					}
					return 200, nil, nil
				}
				c := r.open(dir)
				r.put(c, "bad", "good")
				time.Sleep(time.Hour)
				if len(r.triesOf(version("bad"))) != 1 || !slices.Equal(r.taken(), []string{version("good")}) {
					t.Errorf("tried %d times, the receiver has %q", len(r.triesOf(version("bad"))), r.taken())
				}
				dead := letters(t, filepath.Join(dir, deadLetters))
				if left := letters(t, dir); !slices.Equal(dead, []string{"bad"}) || len(left) > 0 || c.Stats()[0].Dead != 1 {
					t.Errorf("dead letters %q, outbox %q, stats %+v", dead, left, c.Stats())
				}
				if !strings.Contains(r.log.String(), "level=ERROR") || !strings.Contains(r.log.String(), fmt.Sprint("status ", status)) {
					t.Errorf("logged %s", &r.log)
				}
				closeCourier(t, c)
			})
		})
	}
}

func TestOutboxSurvivesRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		r := newReceiver(t)
		down := true
		r.answer = func(string, int, *http.Request) (int, map[string]string, error) {
			if down {
				return 0, nil, errors.New("connection refused")
			}
			return 200, nil, nil
		}
		c := r.open(dir)
		r.put(c, "a", "b", "c")
		if _, err := Open(nil, r.hook(dir)); err == nil || !strings.Contains(err.Error(), "somebody else uses it") {
			t.Errorf("the outbox was opened twice: %v", err)
		}
		closeCourier(t, c)
		// A process that was killed leaves files that it had not renamed yet.
		if err := os.WriteFile(filepath.Join(dir, tempPrefix+"1"), []byte("half a rep"), 0o600); err != nil {
			t.Fatal(err)
		}
		down = false
		c = r.open(dir)
		synctest.Wait()
		if !slices.Equal(r.taken(), []string{version("a"), version("b"), version("c")}) || c.Stats()[0].Waiting != 0 {
			t.Errorf("the receiver has %q, stats %+v", r.taken(), c.Stats())
		}
		closeCourier(t, c)
		if left := slices.DeleteFunc(names(t, dir), func(s string) bool { return s == lockName }); len(left) > 0 {
			t.Errorf("left in the outbox: %q", left)
		}
		// Dead letters that somebody moves back are tried again.
		down = true
		c = r.open(dir)
		r.put(c, "d")
		closeCourier(t, c)
		if left := letters(t, dir); !slices.Equal(left, []string{"d"}) {
			t.Errorf("left in the outbox: %q", left)
		}
	})
}

// A process that dies while it posts leaves the report in the outbox, and in the ledger: it is posted once all the same.
func TestRecoveredReportDoesNotJoinTheWholeOneInTheOutbox(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		r := newReceiver(t)
		r.answer = func(string, int, *http.Request) (int, map[string]string, error) {
			return 0, nil, errors.New("connection refused")
		}
		c := r.open(dir)
		r.put(c, "a", "b-a")
		again := func(c *Courier, id string) {
			t.Helper()
			if err := c.Deliver(t.Context(), &session.Report{SessionID: id, Recovered: true}, nil, nil); err != nil {
				t.Error(err)
			}
		}
		again(c, "a")
		closeCourier(t, c)
		c = r.open(dir)
		again(c, "a")
		again(c, "b-a")
		again(c, "c") // of which only the ledger knows
		closeCourier(t, c)
		if left := letters(t, dir); !slices.Equal(left, []string{"a", "b-a", "c"}) {
			t.Errorf("in the outbox: %q", left)
		}
	})
}

// A report that the receiver cannot stand waits for its end without holding up the others.
func TestPoisonHoldsNothingUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		r := newReceiver(t)
		r.answer = func(id string, _ int, _ *http.Request) (int, map[string]string, error) {
			if id == version("poison") {
				return 500, nil, nil
			}
			return 200, nil, nil
		}
		c := r.open(dir)
		r.put(c, "poison")
		for i := range 20 {
			time.Sleep(time.Duration(i) * time.Minute)
			began := time.Now()
			r.put(c, fmt.Sprint(i))
			time.Sleep(maxPause * 13 / 10)
			if tries := r.triesOf(version(fmt.Sprint(i))); len(tries) != 1 || tries[0].Sub(began) > maxPause*121/100 {
				t.Errorf("report %d was put at %v and tried at %v", i, began, tries)
			}
		}
		if len(r.taken()) != 20 {
			t.Errorf("the receiver has %d reports, want 20", len(r.taken()))
		}
		time.Sleep(defaultGiveUp + time.Hour)
		if n := len(r.triesOf(version("poison"))); n < 1000 || n > 4000 {
			t.Errorf("tried %d times within a week", n)
		}
		if dead := letters(t, filepath.Join(dir, deadLetters)); !slices.Equal(dead, []string{"poison"}) {
			t.Errorf("dead letters %q", dead)
		}
		closeCourier(t, c)
	})
}

func TestHangingReceiver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		r := newReceiver(t)
		hangs := true
		r.answer = func(_ string, _ int, req *http.Request) (int, map[string]string, error) {
			if hangs {
				<-req.Context().Done()
				return 0, nil, req.Context().Err()
			}
			return 200, nil, nil
		}
		c := r.open(dir)
		began := time.Now()
		r.put(c, "a")
		if d := time.Since(began); d != attemptTime {
			t.Errorf("it took %v", d)
		}
		r.put(c, "b") // while the receiver is left alone
		if d := time.Since(began); d != attemptTime {
			t.Errorf("the next one was tried at once")
		}
		time.Sleep(10 * time.Second) // the retry hangs
		began = time.Now()
		closeCourier(t, c)
		if d := time.Since(began); d != 0 {
			t.Errorf("closing took %v", d)
		}
		hangs = false
		c = r.open(dir)
		synctest.Wait()

		if !slices.Equal(r.taken(), []string{version("a"), version("b")}) {
			t.Errorf("the receiver has %q", r.taken())
		}
		closeCourier(t, c)
	})
}

func TestFullDiskStillTries(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "outbox")
	r := newReceiver(t)
	c := r.open(dir)
	defer closeCourier(t, c)
	if err := os.RemoveAll(dir); err != nil { // as good as full
		t.Fatal(err)
	}
	r.put(c, "a")
	if !slices.Equal(r.taken(), []string{version("a")}) {
		t.Errorf("the receiver has %q", r.taken())
	}
	r.answer = func(string, int, *http.Request) (int, map[string]string, error) { return 500, nil, nil }
	if err := c.Deliver(t.Context(), &session.Report{SessionID: "b"}, nil, nil); err == nil || !strings.Contains(err.Error(), "neither stored nor sent") {
		t.Errorf("err %v", err)
	}
}

func TestSecretsStayOutOfLogsAndErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReceiver(t)
		r.answer = func(_ string, n int, _ *http.Request) (int, map[string]string, error) {
			switch n {
			case 0:
				return 0, nil, errors.New("refused")
			case 1:
				return 500, nil, nil
			}
			return 400, nil, nil
		}
		c := r.open(t.TempDir())
		r.put(c, "a")
		time.Sleep(time.Hour)
		closeCourier(t, c)
		for _, base := range []string{"https://user:hidden-password@example.com", "ftp://example.com/hidden-path", "https:///hidden-path", "https://exa mple.com/hidden-path", ""} {
			err := Check(Webhook(base, WebhookOptions{Secret: testSecret, Outbox: t.TempDir()}))
			if err == nil || strings.Contains(err.Error(), "\n") {
				t.Errorf("%q: %v", base, err)
			}
			fmt.Fprintln(&r.log, err)
		}
		fmt.Fprintln(&r.log, Check(Webhook("https://example.com", WebhookOptions{Secret: "hidden", Outbox: t.TempDir()})))
		fmt.Fprintln(&r.log, Check(Webhook("https://example.com", WebhookOptions{Secret: "whsec_hidden!", Outbox: t.TempDir()})))
		log := r.log.String()
		if !strings.Contains(log, "status 500") || !strings.Contains(log, "status 400") || !strings.Contains(log, "***") {
			t.Errorf("logged %s", log)
		}
		for _, canary := range []string{"hidden", testSecret} {
			if strings.Contains(log, canary) {
				t.Errorf("%q is in %s", canary, log)
			}
		}
	})
}

func TestWebhookOverTheNetwork(t *testing.T) {
	got := make(chan string, 1) // one request
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(io.LimitReader(req.Body, 1<<20))
		if err != nil {
			t.Error(err)
		}
		id, err := Verify(req.Header, body, "whsec_MDEyMzQ1Njc4OWFiY2RlZg==")
		if err != nil {
			t.Error(err)
			w.WriteHeader(http.StatusUnauthorized)
		}
		got <- id
	}))
	defer srv.Close()
	c := courier(t, Webhook(srv.URL, WebhookOptions{Secret: "whsec_MDEyMzQ1Njc4OWFiY2RlZg==", Outbox: t.TempDir()}))
	if err := c.Deliver(context.Background(), &session.Report{SessionID: "a"}, nil, nil); err != nil {
		t.Fatal(err)
	}
	if id := <-got; id != version("a") {
		t.Errorf("id %q", id)
	}
}

func TestVerify(t *testing.T) {
	key, err := signingKey(testSecret)
	if err != nil {
		t.Fatal(err)
	}
	body := []byte(`{"a":1}`)
	signed := func(at time.Time) http.Header {
		h := http.Header{}
		sign(h, key, "id", at, body)
		return h
	}
	now := time.Now()
	other := signed(now)
	other.Set(headerID, "another")
	later := signed(now)
	later.Set(headerTimestamp, fmt.Sprint(now.Unix()+1))
	several := signed(now)
	several.Set(headerSignature, "v1,AAAA "+several.Get(headerSignature)+" v2,x")
	for name, tt := range map[string]struct {
		h       http.Header
		body    string
		secrets []string
		want    error
	}{
		"good":                    {signed(now), `{"a":1}`, []string{testSecret}, nil},
		"one of two secrets":      {signed(now), `{"a":1}`, []string{"another secret, the new one", testSecret}, nil},
		"one of two signatures":   {several, `{"a":1}`, []string{testSecret}, nil},
		"a slow clock":            {signed(now.Add(4 * time.Minute)), `{"a":1}`, []string{testSecret}, nil},
		"another body":            {signed(now), `{"a":2}`, []string{testSecret}, ErrSignature},
		"another secret":          {signed(now), `{"a":1}`, []string{"another secret, the new one"}, ErrSignature},
		"another id":              {other, `{"a":1}`, []string{testSecret}, ErrSignature},
		"another time":            {later, `{"a":1}`, []string{testSecret}, ErrSignature},
		"no secrets":              {signed(now), `{"a":1}`, nil, ErrSignature},
		"no headers":              {http.Header{}, `{"a":1}`, []string{testSecret}, ErrSignature},
		"replayed":                {signed(now.Add(-6 * time.Minute)), `{"a":1}`, []string{testSecret}, ErrTimestamp},
		"from the future":         {signed(now.Add(6 * time.Minute)), `{"a":1}`, []string{testSecret}, ErrTimestamp},
		"replayed with bad words": {signed(now.Add(-6 * time.Minute)), `{"a":2}`, []string{testSecret}, ErrSignature},
	} {
		id, err := Verify(tt.h, []byte(tt.body), tt.secrets...)
		if !errors.Is(err, tt.want) || (err == nil) != (id == "id") {
			t.Errorf("%s: %q, %v, want %v", name, id, err, tt.want)
		}
	}
	// As computed by somebody else: HMAC-SHA256 over "msg_1.1700000000.{}".
	const wantVector = "v1,3uojc/2kvL+KpJkw4ZNrA/5YjEs9cdfKdc3lXIvRjkk="
	if got := signature([]byte("0123456789abcdef"), "msg_1", time.Unix(1700000000, 0), []byte("{}")); got != wantVector {
		t.Errorf("signature %s", got)
	}
}
