package wire

import (
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

func events(t testing.TB, r io.Reader) (list []string, err error) {
	t.Helper()
	e := NewEvents(r)
	for {
		name, data, err := e.Next()
		if err != nil {
			return list, err
		}
		list = append(list, name+"="+string(data))
	}
}

func TestEvents(t *testing.T) {
	for in, want := range map[string][]string{
		"data: a\n\ndata: b\n\n":          {"=a", "=b"},
		"event: x\r\ndata:  a \r\n\r\n":   {"x= a "},
		"data: one\ndata: two\n\n":        {"=one\ntwo"},
		": comment\nid: 7\n\ndata: a\n\n": {"=a"},
		"event: lost\n\ndata: a\n\n":      {"=a"},
		"data: not ended":                 {"=not ended"},
		"data\n\n":                        {"="},
		"data: Grüße 👋\n\n":               {"=Grüße 👋"},
		"":                                nil,
		"data: " + strings.Repeat("x", 100000) + "\n\n": {"=" + strings.Repeat("x", 100000)},
	} {
		for name, r := range map[string]io.Reader{"whole": strings.NewReader(in), "bytes": iotest.OneByteReader(strings.NewReader(in))} {
			got, err := events(t, r)
			if err != io.EOF || !slices.Equal(got, want) {
				t.Errorf("%.40q, %s: %.80q, %v", in, name, got, err)
			}
		}
	}
}

func TestEventTooLarge(t *testing.T) {
	if _, err := events(t, strings.NewReader("data: "+strings.Repeat("x", maxEvent))); !errors.Is(err, ErrEventTooLarge) {
		t.Errorf("the error is %v", err)
	}
	broken := errors.New("broken")
	if got, err := events(t, io.MultiReader(strings.NewReader("data: a\n\ndata: b"), iotest.ErrReader(broken))); err != broken || len(got) != 1 {
		t.Errorf("a stream that breaks: %q, %v", got, err)
	}
}

// However a stream is cut, the same events come of it.
func FuzzEvents(f *testing.F) {
	f.Add("event: a\ndata: b\n\n: c\ndata: d\ndata: e\n\n")
	f.Add("data\r\n\r\n\n\ndata: x")
	f.Fuzz(func(t *testing.T, in string) {
		whole, err := events(t, strings.NewReader(in))
		cut, err2 := events(t, iotest.OneByteReader(strings.NewReader(in)))
		if err != io.EOF || err2 != io.EOF || !slices.Equal(whole, cut) {
			t.Errorf("%q: %q, %v and %q, %v", in, whole, err, cut, err2)
		}
	})
}
