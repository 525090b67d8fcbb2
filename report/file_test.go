package report

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/parley-go/parley/session"
)

func deliver(t *testing.T, s Sink, r *session.Report) {
	t.Helper()
	if err := courier(t, s).Deliver(t.Context(), r, nil, nil); err != nil {
		t.Fatal(err)
	}
}

// sessionIn is the session whose report is at path.
func sessionIn(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		SessionID string `json:"session_id"`
	}
	if err := json.Unmarshal(data, &doc); err != nil {
		t.Fatal(err)
	}
	return doc.SessionID
}

func names(t *testing.T, dir string) (out []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

func TestFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "report.json")
	deliver(t, File(path), &session.Report{SessionID: "x"})
	if got := sessionIn(t, path); got != "x" {
		t.Errorf("the file is of %q", got)
	}
	link := filepath.Join(dir, "link.json")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	deliver(t, File(link), &session.Report{SessionID: "y"})
	if st, err := os.Lstat(link); err != nil || st.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link is gone: %v, %v", st, err)
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 || sessionIn(t, path) != "y" {
		t.Errorf("the target of the link: %v, %v", st, err)
	}
	deliver(t, File(filepath.Join(dir, "{job}.json")), &session.Report{JobID: "AJ_1"})
	deliver(t, File(filepath.Join(dir, "{job}.json")), &session.Report{JobID: "../AJ/2"})
	got := names(t, dir)
	if len(got) != 4 || !slices.Contains(got, "AJ_1.json") || !slices.ContainsFunc(got, func(s string) bool { return strings.HasPrefix(s, "___AJ_2_") }) {
		t.Errorf("files %q", got)
	}
}

func TestFileThatIsNoRegularFile(t *testing.T) {
	deliver(t, File(os.DevNull), &session.Report{SessionID: "x"})
	if st, err := os.Stat(os.DevNull); err != nil || st.Mode().IsRegular() {
		t.Errorf("%s is %v, %v", os.DevNull, st, err)
	}
}

func TestDirHasOneFilePerSession(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "deep", "reports")
	for _, r := range []*session.Report{
		{JobID: "AJ_1", SessionID: "session_a"}, {JobID: "AJ_1", SessionID: "session_b"}, {JobID: "AJ_1", SessionID: "session_b"},
		{SessionID: "session_c"}, {JobID: "AJ_2"},
	} {
		deliver(t, Dir(dir), r)
	}
	want := []string{"AJ_1.session_a.json", "AJ_1.session_b.json", "AJ_2.json", "session_c.json"}
	if got := names(t, dir); !slices.Equal(got, want) {
		t.Errorf("files %q, want %q", got, want)
	}
}

// Whatever an id holds, its file is in the folder and its own.
func TestNamesAreSafe(t *testing.T) {
	dir := t.TempDir()
	ids := []string{"../../x", "..", "a/b", "a:b", "a b", "Ä", "\x00", ".hidden", strings.Repeat("x", 300), strings.Repeat("x", 301), "CON "}
	for _, id := range ids {
		deliver(t, Dir(dir), &session.Report{SessionID: id})
	}
	if got := names(t, dir); len(got) != len(ids) {
		t.Errorf("%d files of %d sessions: %q", len(got), len(ids), got)
	}
}

func TestRecoveredReportDoesNotReplaceTheWholeOne(t *testing.T) {
	path := filepath.Join(t.TempDir(), "report.json")
	whole := func() bool {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return !strings.Contains(string(data), `"recovered": true`)
	}
	deliver(t, File(path), &session.Report{JobID: "J", SessionID: "a", Recovered: true})
	if whole() {
		t.Error("the recovered report was not written")
	}
	deliver(t, File(path), &session.Report{JobID: "J", SessionID: "a"})
	deliver(t, File(path), &session.Report{JobID: "J", SessionID: "a", Recovered: true})
	if !whole() {
		t.Error("the whole report was replaced")
	}
	deliver(t, File(path), &session.Report{JobID: "K", SessionID: "b", Recovered: true})
	if whole() || sessionIn(t, path) != "b" {
		t.Error("the recovered report of another session was not written")
	}
}

func TestFailedWriteIsAnErrorAndLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	c := courier(t, Dir(dir))
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	if err := c.Deliver(t.Context(), &session.Report{SessionID: "a"}, nil, nil); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("err %v", err)
	}
}
