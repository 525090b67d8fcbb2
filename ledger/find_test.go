package ledger

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestOtherFilesAreLeftAlone(t *testing.T) {
	frame, _ := appendFrame(nil, func(b []byte) []byte { return encode(b, event("s", "2", 1)) })
	for name, c := range map[string]struct {
		data  []byte
		opens bool
	}{
		"a report":                  {[]byte(`{"session_id":"s"}`), false},
		"a byte":                    {[]byte("x"), false},
		"zeros before something":    {[]byte("\x00\x00\x00\x00x"), false},
		"much of something":         {bytes.Repeat([]byte("text "), 4096), false},
		"nothing":                   {nil, true},
		"zeros, after a power cut":  {make([]byte, 100), true},
		"a torn magic":              {frame[:2], true},
		"a torn record":             {frame[:len(frame)-1], true},
		"a record behind something": {append([]byte("xx"), frame...), true},
	} {
		path := filepath.Join(t.TempDir(), "l")
		if err := os.WriteFile(path, c.data, 0o600); err != nil {
			t.Fatal(err)
		}
		l, err := Open(path, Options{})
		if err == nil {
			closeNow(t, l)
		}
		if (err == nil) != c.opens {
			t.Errorf("%s: opened with %v", name, err)
		}
		if now, _ := os.ReadFile(path); !c.opens && !bytes.Equal(now, c.data) {
			t.Errorf("%s: is now %q", name, now)
		}
	}
}

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
