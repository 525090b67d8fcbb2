package audio

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/parley-go/parley/internal/golden"
)

func wavBytes(t testing.TB, f Frame) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := WriteWAV(&b, f); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func sameFrame(a, b Frame) bool {
	return a.Rate == b.Rate && a.Channels == b.Channels && slices.Equal(a.Data, b.Data)
}

func TestWAVComesBack(t *testing.T) {
	for _, f := range []Frame{
		{Data: []int16{0, 1, -1, 32767, -32768}, Rate: 16000, Channels: 1},
		{Data: []int16{1, 2, 3, 4}, Rate: 48000, Channels: 2},
		{Rate: 8000, Channels: 1},
		{Data: make([]int16, 100_000), Rate: 24000, Channels: 1},
	} {
		got, err := ReadWAV(iotest.HalfReader(bytes.NewReader(wavBytes(t, f))))
		if err != nil {
			t.Fatal(err)
		}
		if !sameFrame(got, f) {
			t.Errorf("%d samples at %d Hz came back as %d at %d", len(f.Data), f.Rate, len(got.Data), got.Rate)
		}
	}
}

func TestReadWAVReadsOthersFiles(t *testing.T) {
	b, err := fs.ReadFile(golden.Files, "espeak_timer.wav")
	if err != nil {
		t.Fatal(err)
	}
	f, err := ReadWAV(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	if f.Rate != golden.Rate || f.Channels != 1 || !slices.Equal(f.Data, golden.Samples(t, "espeak_timer.wav")) {
		t.Errorf("got %d samples at %d Hz", len(f.Data), f.Rate)
	}
	if got := wavBytes(t, f); !bytes.Equal(got, b) {
		t.Error("written again the file is another one")
	}
	// Parts that nobody asked for, of odd length too, are skipped.
	odd := slices.Concat(b[:12], []byte("LIST\x03\x00\x00\x00abc\x00"), b[12:])
	if got, err := ReadWAV(bytes.NewReader(odd)); err != nil || !sameFrame(got, f) {
		t.Errorf("with a list in front: %v", err)
	}
}

func TestReadWAVRefuses(t *testing.T) {
	good := wavBytes(t, Frame{Data: []int16{1, 2, 3}, Rate: 16000, Channels: 1})
	for n := range good {
		if _, err := ReadWAV(bytes.NewReader(good[:n])); !errors.Is(err, ErrWAV) {
			t.Errorf("cut after %d bytes: got %v, want ErrWAV", n, err)
		}
	}
	for name, change := range map[string]func(b []byte){
		"magic":        func(b []byte) { b[0] = 'r' },
		"float":        func(b []byte) { b[20] = 3 },
		"8 bits":       func(b []byte) { b[34] = 8 },
		"no channels":  func(b []byte) { b[22] = 0 },
		"rate":         func(b []byte) { b[25], b[24] = 0, 1 },
		"odd data":     func(b []byte) { b[40] = 5 },
		"huge data":    func(b []byte) { b[43] = 0xff },
		"short format": func(b []byte) { b[16] = 8 },
		"data first":   func(b []byte) { copy(b[12:], "data") },
	} {
		b := bytes.Clone(good)
		change(b)
		if _, err := ReadWAV(bytes.NewReader(b)); !errors.Is(err, ErrWAV) {
			t.Errorf("%s: got %v, want ErrWAV", name, err)
		}
	}
	broken := errors.New("disk on fire")
	r := io.MultiReader(strings.NewReader("RIFF"), iotest.ErrReader(broken))
	if _, err := ReadWAV(r); !errors.Is(err, broken) || errors.Is(err, ErrWAV) {
		t.Errorf("a broken reader: got %v", err)
	}
}

func TestWriteWAVRefuses(t *testing.T) {
	if err := WriteWAV(io.Discard, Frame{Data: []int16{1}, Rate: 16000}); err == nil {
		t.Error("a frame without channels was written")
	}
	r, w := io.Pipe()
	r.Close()
	if err := WriteWAV(w, Frame{Rate: 16000, Channels: 1}); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("a broken writer: got %v", err)
	}
}

func FuzzReadWAV(f *testing.F) {
	f.Add(wavBytes(f, Frame{Data: []int16{1, -2, 3, 4}, Rate: 16000, Channels: 2}))
	f.Add([]byte("RIFF\x00\x00\x00\x00WAVELIST\xff\xff\xff\x0f"))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := ReadWAV(bytes.NewReader(b))
		if err != nil {
			if !errors.Is(err, ErrWAV) {
				t.Fatalf("got %v, want ErrWAV", err)
			}
			return
		}
		again, err := ReadWAV(bytes.NewReader(wavBytes(t, got)))
		if err != nil || !sameFrame(got, again) {
			t.Fatalf("a file that was read does not survive being written: %v", err)
		}
	})
}
