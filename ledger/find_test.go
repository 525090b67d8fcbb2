package ledger

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestIsAndTorn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "l")
	l := open(t, path, Options{})
	l.Record(t.Context(), event("s", "1", 1))
	closeNow(t, l)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	frame, _ := appendFrame(nil, func(b []byte) []byte { return encode(b, event("s", "2", 1)) })
	for name, c := range map[string]struct {
		data []byte
		is   bool
		torn int64
	}{
		"whole":           {whole, true, 0},
		"torn":            {append(whole[:len(whole):len(whole)], frame[:len(frame)-1]...), true, int64(len(frame) - 1)},
		"damaged at head": {append([]byte("xx"), whole...), true, 0},
		"other":           {[]byte(`{"session_id":"s"}`), false, 18},
		"empty":           {nil, false, 0},
	} {
		if err := os.WriteFile(path, c.data, 0o600); err != nil {
			t.Fatal(err)
		}
		if is, err := Is(path); err != nil || is != c.is {
			t.Errorf("%s: Is says %v, %v", name, is, err)
		}
		if torn, err := Torn(path); err != nil || torn != c.torn {
			t.Errorf("%s: Torn says %d, %v; want %d", name, torn, err, c.torn)
		}
	}
	if _, err := Is(path + "none"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	if n, err := Torn(path + "none"); n != 0 || err != nil {
		t.Errorf("no file: %d, %v", n, err)
	}
}
