package acme

import (
	"cmp"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/model/fault"
	"github.com/parley-go/parley/stt/stttest"
)

const key = "a key that no error may tell"

func TestConformance(t *testing.T) {
	speech := audio.Silence(time.Second, 16000, 1)
	speech.Data[0] = 1000 // to the stand-in all that is not silent is a hello
	h := stttest.Harness{Start: start, Speech: speech, Text: "Hello.", Secret: key}
	for _, c := range stttest.Cases() { // as stttest.Run does, but in parallel, for the cases wait for timeouts
		t.Run(c.Name, func(t *testing.T) { t.Parallel(); c.Run(t, h) })
	}
}

// start begins a stand-in of Acme: it speaks the protocol, keeps a ledger, and does wrong as planned.
func start(t testing.TB, p fault.Plan) stttest.Provider {
	var samples, calls, dials, open atomic.Int64
	times := int64(cmp.Or(p.Times, 1))
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		open.Add(1)
		defer open.Add(-1)
		pcm, _ := io.ReadAll(r.Body)
		text := ""
		if strings.Trim(string(pcm), "\x00") != "" {
			text = "Hello."
		}
		answer := fmt.Sprintf(`{"id": "r1", "text": %q, "usage": {"seconds": %v}}`, text, float64(len(pcm))/2/16000)
		if n := calls.Add(1); times < 0 || n <= times {
			answer = wrong(p.Kind, answer, w, r)
		}
		if strings.HasSuffix(answer, "}") { // a whole answer is billed
			samples.Add(int64(len(pcm)) / 2)
		}
		io.WriteString(w, answer)
	}))
	srv.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			dials.Add(1)
		}
	}
	srv.Start()
	t.Cleanup(srv.Close)
	url := srv.URL
	if p.Kind == fault.TLSFailure {
		url = strings.Replace(url, "http:", "https:", 1) // where nobody speaks TLS
	}
	return stttest.Provider{Driver: &recogniser{key, url}, Served: func() stttest.Served {
		billed := time.Duration(samples.Load()) * time.Second / 16000
		return stttest.Served{Audio: billed, Dials: int(dials.Load()), Open: int(open.Load())}
	}}
}

// wrong does what goes wrong, and returns what is left of the answer.
func wrong(kind fault.Kind, answer string, w http.ResponseWriter, r *http.Request) string {
	const some = 9 // bytes of the answer
	switch kind {
	case fault.Unauthorized, fault.RateLimit, fault.ServerError:
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(map[fault.Kind]int{fault.Unauthorized: 401, fault.RateLimit: 429, fault.ServerError: 503}[kind])
		return "you said " + r.Header.Get("Authorization")
	case fault.Malformed, fault.HangUp:
		return answer[:some]
	case fault.Oversized:
		return strings.Repeat(" ", 2<<20)
	case fault.DoubleFinal, fault.UsageRepeated:
		return answer + answer
	case fault.UsageMissing:
		return strings.Replace(answer, "usage", "nothing", 1)
	case fault.Stall, fault.HalfOpen, fault.Reset:
		io.WriteString(w, answer[:some])
		w.(http.Flusher).Flush()
	}
	switch kind {
	case fault.SlowDial, fault.Stall, fault.HalfOpen:
		<-r.Context().Done()
		return ""
	case fault.Refuse, fault.CloseEarly, fault.Reset:
		panic(http.ErrAbortHandler) // net/http closes the connection
	}
	return answer
}
