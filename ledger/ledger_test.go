package ledger

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/parley-go/parley/metrics"
)

func event(session, id string, tokens int64) *metrics.LLM {
	return &metrics.LLM{Header: metrics.Header{ID: id, Timestamp: time.Unix(1700000000, 0), Tags: metrics.Tags{SessionID: session},
		Metadata: metrics.Metadata{ModelName: "m", ModelProvider: "p"}}, PromptTokens: tokens}
}

func open(t testing.TB, path string, o Options) *Ledger {
	t.Helper()
	l, err := Open(path, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func closeNow(t testing.TB, l *Ledger) {
	t.Helper()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

// texts is a ledger as a list of short texts; damage is "!".
func texts(t testing.TB, path string) (out []string) {
	t.Helper()
	for r, err := range Read(path) {
		var d *DamageError
		switch {
		case errors.As(err, &d):
			out = append(out, "!")
		case err != nil:
			t.Fatal(err)
		case r.Event != nil:
			out = append(out, r.SessionID+":"+r.Event.Head().ID)
		default:
			out = append(out, r.SessionID+string(r.Kind))
		}
	}
	return out
}

func wantTexts(t testing.TB, path, want string) {
	t.Helper()
	if got := strings.Join(texts(t, path), " "); got != want {
		t.Errorf("the ledger has %q, want %q", got, want)
	}
}

func TestRecordsComeBack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "l")
	l := open(t, path, Options{})
	start := Start{SessionID: "s", At: time.Unix(1700000001, 5000).UTC(), JobID: "J", RoomID: "R", Room: "r", AgentName: "a", Tags: map[string]string{"k": "v"}}
	end := End{At: time.Unix(1700000002, 0).UTC(), Reason: "why", Error: "oh"}
	e := event("s", "1", 7)
	e.Raw = `{"prompt_tokens":7}`
	l.Begin(start)
	l.Record(t.Context(), &metrics.VAD{})
	l.Record(t.Context(), e)
	l.Tag("s", map[string]string{"k": "w"})
	l.End("s", end)
	l.Settle("s")
	closeNow(t, l)
	wantTexts(t, path, "sS s:1 sT sX sR")
	for r := range Read(path) {
		switch {
		case r.Start != nil && fmt.Sprint(*r.Start) != fmt.Sprint(start):
			t.Errorf("start is %v, want %v", *r.Start, start)
		case r.Kind == KindTags && fmt.Sprint(r.Tags) != "map[k:w]":
			t.Errorf("tags are %v", r.Tags)
		case r.End != nil && *r.End != end:
			t.Errorf("end is %v, want %v", *r.End, end)
		case r.Event != nil && (r.Event.(*metrics.LLM).PromptTokens != 7 || r.Event.Head().Raw != e.Raw):
			t.Errorf("event is %v", r.Event)
		}
	}
	if err := l.Sync(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("Sync after Close: %v", err)
	}
	l.Record(t.Context(), e)
	if s := l.Stats(); s.Events != 1 || s.Lost != 1 || s.Written == 0 {
		t.Errorf("stats are %+v", s)
	}
}

func TestEventsAreWrittenSoon(t *testing.T) {
	path := filepath.Join(t.TempDir(), "l")
	synctest.Test(t, func(t *testing.T) {
		l := open(t, path, Options{})
		for i := range 3 {
			l.Record(t.Context(), event("s", fmt.Sprint(i), 1))
			time.Sleep(100 * time.Millisecond)
			if n := len(texts(t, path)); n != i+1 {
				t.Fatalf("%d events are in the file after 100 ms, want %d", n, i+1)
			}
		}
		closeNow(t, l)
	})
}

// The sooner it is known who has a report, the fewer reports come twice.
func TestDeliveriesAreWrittenAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := open(t, "", Options{})
		l.Begin(Start{SessionID: "s"})
		l.Record(t.Context(), event("s", "e", 1))
		l.Delivered("s", "sink")
		synctest.Wait() // no time passes
		var kinds string
		for r, err := range l.Read() {
			if err != nil {
				t.Fatal(err)
			}
			kinds += string(r.Kind)
		}
		if kinds != "SED" {
			t.Errorf("written is %q", kinds)
		}
		closeNow(t, l)
	})
}

func TestTornEndIsCut(t *testing.T) {
	path := filepath.Join(t.TempDir(), "l")
	l := open(t, path, Options{})
	l.Begin(Start{SessionID: "s"})
	l.Record(t.Context(), event("s", "1", 1))
	closeNow(t, l)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	frame, _ := appendFrame(nil, func(b []byte) []byte { return encode(b, event("s", "2", 1)) })
	for cut := range len(frame) {
		if err := os.WriteFile(path, append(bytes.Clone(whole), frame[:cut]...), 0o600); err != nil {
			t.Fatal(err)
		}
		wantTexts(t, path, "sS s:1")
		l := open(t, path, Options{})
		l.Record(t.Context(), event("s", "3", 1))
		closeNow(t, l)
		wantTexts(t, path, "sS s:1 s:3")
	}
}

func TestReadingGoesOnBehindDamage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "l")
	l := open(t, path, Options{})
	for _, id := range []string{"1", "2", "3"} {
		l.Record(t.Context(), event("s", id, 1))
	}
	closeNow(t, l)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	i := bytes.Index(data, []byte(`"id":"2"`))
	data[i+6] = '9'
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	wantTexts(t, path, "s:1 ! s:3")
	var log bytes.Buffer
	l = open(t, path, Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	closeNow(t, l)
	wantTexts(t, path, "s:1 ! s:3") // opening cuts nothing that has records behind it
	if !strings.Contains(log.String(), "damaged") {
		t.Errorf("nothing about the damage in the log: %s", log.String())
	}
}

func TestUnknownRecordsArePassedOn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "l")
	var data []byte
	for _, payload := range []string{`E{"type":"later_metrics"}`, `Z{"a":1}`, `E{]`, `S{"session_id":"s","timestamp":1}`} {
		data, _ = appendFrame(data, func(b []byte) []byte { return append(b, payload...) })
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	wantTexts(t, path, "E Z ! sS")
}

func TestOneWriterOnly(t *testing.T) {
	path := filepath.Join(t.TempDir(), "l")
	l := open(t, path, Options{})
	if _, err := Open(path, Options{}); !errors.Is(err, ErrInUse) {
		t.Fatalf("a second writer got %v", err)
	}
	closeNow(t, l)
	closeNow(t, open(t, path, Options{}))
}

// A link and what it leads to are one ledger: it has one writer, and its older files are found from both.
func TestALinkToALedger(t *testing.T) {
	dir, at := t.TempDir(), t.TempDir()
	path, link := filepath.Join(dir, "ledger"), filepath.Join(at, "link")
	if err := os.Symlink(path, link); err != nil {
		t.Skip(err)
	}
	l := open(t, link, Options{MaxSize: 1})
	if _, err := Open(path, Options{}); !errors.Is(err, ErrInUse) {
		t.Errorf("a second writer: %v", err)
	}
	for i := range 3 {
		l.Record(t.Context(), event("s", fmt.Sprint(i), 1))
		if err := l.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	closeNow(t, l)
	if left, _ := filepath.Glob(filepath.Join(at, "*")); len(left) != 1 {
		t.Errorf("beside the link are %q", left)
	}
	for _, p := range []string{path, link} {
		n := 0
		for r, err := range Read(p) {
			if err != nil {
				t.Fatal(err)
			}
			if r.Event != nil {
				n++
			}
		}
		if n != 3 {
			t.Errorf("%s has %d events", p, n)
		}
	}
}

func ids(all []*Session) (out []string) {
	for _, s := range all {
		out = append(out, fmt.Sprintf("%s%d%v", s.SessionID, len(s.Events), s.End != nil))
	}
	return out
}

func TestRecoverGivesWhatIsNotSettled(t *testing.T) {
	path := filepath.Join(t.TempDir(), "l")
	l := open(t, path, Options{})
	for i, id := range []string{"a", "b", "c"} {
		l.Begin(Start{SessionID: id, At: time.Unix(1600000000+int64(i), 0)})
	}
	l.Record(t.Context(), event("a", "1", 5))
	l.Record(t.Context(), event("b", "2", 1))
	l.Record(t.Context(), event("a", "1", 5)) // told twice, counted once
	l.Record(t.Context(), event("never began", "3", 1))
	l.Tag("a", map[string]string{"k": "v", "old": "1"})
	l.Tag("a", map[string]string{"k": "w"})
	l.Tag("never began", map[string]string{"k": "v"})
	l.End("b", End{})
	l.End("c", End{})
	l.Settle("c")
	l.Record(t.Context(), event("c", "4", 1))
	closeNow(t, l)

	dead, err := Recover(path)
	if err != nil || !slices.Equal(ids(dead), []string{"a2false", "b1true"}) {
		t.Fatalf("recovered %v, %v", ids(dead), err)
	}
	if u, _ := dead[0].Usage().LLM("p", "m"); u.InputTokens != 5 {
		t.Errorf("a has spent %v", u)
	}
	if ago := time.Since(dead[0].Last); ago > time.Minute { // by its tags
		t.Errorf("a was last seen at %v", dead[0].Last)
	}
	if got := fmt.Sprint(dead[0].Tags, dead[1].Tags); got != "map[k:w] map[]" {
		t.Errorf("tags are %s", got)
	}
	for _, want := range []int{2, 1, 0, 0} { // settled one by one, and never again
		l := open(t, path, Options{})
		dead := l.Recover()
		if len(dead) != want {
			t.Fatalf("recovered %v, want %d", ids(dead), want)
		}
		if want > 0 {
			l.Settle(dead[0].SessionID)
		}
		closeNow(t, l)
	}
	if _, err := Recover(path + "none"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no ledger: %v", err)
	}
}

// A job is in the ledger until its first session takes its place, and a report that some have by then is for
// the others.
func TestJobsWithoutSessions(t *testing.T) {
	path := filepath.Join(t.TempDir(), "l")
	l := open(t, path, Options{})
	for i, j := range []string{"J1", "J2", "J3"} {
		l.Begin(Start{JobID: j, Room: "r", At: time.Unix(1600000000+int64(i), 0)})
	}
	l.Begin(Start{JobID: "J2", SessionID: "s"})
	l.Begin(Start{})
	l.Settle("J3")
	l.End("J1", End{JobReason: "crashed", JobError: "oops"})
	l.Delivered("s", "file")
	l.Delivered("J2", "dir") // is of nobody
	closeNow(t, l)
	l = open(t, path, Options{})
	dead := l.Recover()
	if !slices.Equal(ids(dead), []string{"0true", "s0false"}) || dead[0].JobID != "J1" || dead[0].End.JobError != "oops" || dead[0].End.JobReason != "crashed" {
		t.Fatalf("recovered %v", ids(dead))
	}
	if !slices.Equal(dead[1].Delivered, []string{"file"}) || len(dead[0].Delivered) != 0 {
		t.Errorf("the report of s was delivered to %q, that of J1 to %q", dead[1].Delivered, dead[0].Delivered)
	}
	for _, d := range dead {
		l.Settle(d.ID())
	}
	closeNow(t, l)
	if dead, err := Recover(path); err != nil || len(dead) > 0 {
		t.Errorf("recovered %v, %v", ids(dead), err)
	}
}

func TestRotation(t *testing.T) {
	path := filepath.Join(t.TempDir(), "l")
	var want []string
	count := func() int { f, _ := filepath.Glob(path + ".0*"); return len(f) }
	n := 0
	for round := range 3 {
		l := open(t, path, Options{MaxSize: 4096})
		if round == 0 {
			l.Begin(Start{SessionID: "s"})
			want = append(want, "sS")
		}
		for range 50 {
			l.Record(t.Context(), event("s", fmt.Sprint(n), 1))
			want = append(want, fmt.Sprint("s:", n))
			if n++; n%5 == 0 {
				if err := l.Sync(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
		}
		closeNow(t, l)
	}
	if got := texts(t, path); !slices.Equal(got, want) {
		t.Fatalf("got %v\nwant %v", got, want)
	}
	if count() < 5 {
		t.Fatalf("only %d older files", count())
	}
	dead, err := Recover(path)
	if err != nil || !slices.Equal(ids(dead), []string{"s150false"}) {
		t.Fatalf("recovered %v, %v", ids(dead), err)
	}

	// When all is settled older files are not read any more, so they may go.
	l := open(t, path, Options{MaxSize: 4096})
	l.Settle("s")
	l.Begin(Start{SessionID: "z"})
	for before := count(); count() == before; n++ {
		l.Record(t.Context(), event("z", fmt.Sprint(n), 1))
		if err := l.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	closeNow(t, l)
	old, _ := filepath.Glob(path + ".0*")
	for _, f := range old[:len(old)-1] {
		if err := os.WriteFile(f, []byte("not to be read"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if dead, err = Recover(path); err != nil || len(dead) != 1 || dead[0].SessionID != "z" {
		t.Errorf("recovered %v, %v", ids(dead), err)
	}
}

func TestInMemory(t *testing.T) {
	l := open(t, "", Options{MaxSize: 4096})
	for i := range 100 {
		l.Record(t.Context(), event("s", fmt.Sprint(i), 1))
		if i%5 == 0 {
			if err := l.Sync(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	closeNow(t, l)
	n, last := 0, ""
	for r, err := range l.Read() {
		if err != nil {
			t.Fatal(err)
		}
		n, last = n+1, r.Event.Head().ID
	}
	if n == 0 || n > 30 || last != "99" {
		t.Errorf("kept %d events, the last is %q", n, last)
	}
}

// full is a disk with little room.
type full struct {
	mu sync.Mutex
	bytes.Buffer
	room int
}

func (f *full) Write(b []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := min(len(b), f.room)
	f.room -= n
	f.Buffer.Write(b[:n])
	if n < len(b) {
		return n, syscall.ENOSPC
	}
	return n, nil
}
func (f *full) set(room int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.room = room
}
func (f *full) text() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.String()
}
func (f *full) Sync() error  { return nil }
func (f *full) Close() error { return nil }

func TestDiskFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &full{room: 1 << 20}
		l := open(t, "", Options{Logger: slog.New(slog.NewTextHandler(log, nil))})
		disk := &full{room: 1000}
		synctest.Wait()
		l.mu.Lock() // the writer reads w.f only after it has taken what is pending, with the lock
		l.w.f = disk
		l.mu.Unlock()
		for i := range maxPending + 500 {
			l.Record(context.Background(), event("s", fmt.Sprint(i), 1))
			if i == 200 { // more than there is room for
				time.Sleep(5 * time.Second)
			}
		}
		time.Sleep(5 * time.Second)
		s := l.Stats()
		if s.Failures < 5 || s.Lost == 0 || s.Lost > 500 || strings.Count(log.text(), "cannot be written") != 1 {
			t.Errorf("stats are %+v, the log is %s", s, log.text())
		}
		disk.set(1 << 40)
		time.Sleep(5 * time.Second)
		if n := strings.Count(log.text(), "\n"); n != 2 || !strings.Contains(log.text(), "can be written again") {
			t.Errorf("the log is %s", log.text())
		}
		closeNow(t, l)
		sc, n := newScanner(&disk.Buffer), uint64(0)
		for {
			if _, err := sc.next(); err != nil {
				break
			}
			if sc.skipped != 0 {
				t.Fatal("the file has damaged places")
			}
			n++
		}
		if s := l.Stats(); n != s.Events || s.Events+s.Lost != maxPending+500 {
			t.Errorf("%d events were written, stats are %+v", n, s)
		}
	})
}

func FuzzRead(f *testing.F) {
	frame := func(payloads ...string) (b []byte) {
		for _, p := range payloads {
			b, _ = appendFrame(b, func(b []byte) []byte { return append(b, p...) })
		}
		return b
	}
	good := frame(`F{"number":1,"first":1}`, `S{"session_id":"s","timestamp":1700000000}`, `E{"type":"llm_metrics","id":"1","session_id":"s"}`, `X{"session_id":"s"}`)
	f.Add([]byte{})
	f.Add(good)
	f.Add(good[:len(good)-3])
	f.Add(append([]byte{0xEB, 'P', 'L', '1', 255, 255, 255, 255}, good...))
	f.Add(frame("E", "S{}", "S[]", `F{"number":-5,"first":99999}`, "Z"))
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(t.TempDir(), "l")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		before := texts(t, path)
		if _, err := Recover(path); err != nil {
			for _, e := range err.(interface{ Unwrap() []error }).Unwrap() {
				if d := (*DamageError)(nil); !errors.As(e, &d) {
					t.Fatal(err)
				}
			}
		}
		l := open(t, path, Options{Logger: slog.New(slog.DiscardHandler)})
		l.Record(t.Context(), event("new", "new", 1))
		closeNow(t, l)
		if got := texts(t, path); !slices.Equal(got, append(before, "new:new")) {
			t.Fatalf("had %q, then %q", before, got)
		}
	})
}

func TestRecordDoesNotAllocate(t *testing.T) {
	l := open(t, "", Options{})
	e := event("s", "1", 1)
	ctx := t.Context()
	if err := l.Sync(ctx); err != nil {
		t.Fatal(err)
	}
	var n float64
	synced := func() { // the writer allocates, so it must have nothing to do
		l.mu.Lock()
		l.pending = append(l.pending[:0], e) // not the first, so that nobody is woken
		l.mu.Unlock()
		n = testing.AllocsPerRun(1000, func() { l.Record(ctx, e) })
	}
	if synced(); n != 0 {
		t.Errorf("Record allocates %v times", n)
	}
}

// BenchmarkRecord is what a call pays for its record, with the writer at work.
func BenchmarkRecord(b *testing.B) {
	l := open(b, filepath.Join(b.TempDir(), "l"), Options{})
	e := event("session_ABCDEFGHIJKLMNOP", "me_ABCDEFGHIJKLMNOP", 1200)
	ctx := context.Background()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if i%1000 == 999 { // no agent makes a million events per second
			b.StopTimer()
			if err := l.flushed(ctx, false); err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
		}
		l.Record(ctx, e)
	}
}
