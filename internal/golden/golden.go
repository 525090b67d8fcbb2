// Package golden gives tests the reference audio and the reference results of the local models.
//
// The files beside this one are described in README.md. They are embedded, so that the tests of
// nested modules reach them without a path. Only tests import this package.
package golden

import (
	"embed"
	"encoding/binary"
	"encoding/json"
	"io/fs"
	"testing"
)

//go:embed *.wav *.json
var files embed.FS

// Files holds the WAV and JSON files by their plain names. It may be read concurrently.
var Files fs.FS = files

// Rate is the sample rate of every WAV file, in Hz. All of them are mono.
const Rate = 16000

// headerLen is the length of the header of every WAV file here.
const headerLen = 44

// Samples returns the 16-bit samples of the named WAV file, e.g. "silence.wav". The caller owns
// them. A file that is not there fails the test.
func Samples(tb testing.TB, name string) []int16 {
	tb.Helper()
	b, err := fs.ReadFile(Files, name)
	if err != nil {
		tb.Fatalf("read golden audio: %v", err)
	}
	if len(b) < headerLen || string(b[:4]) != "RIFF" {
		tb.Fatalf("read golden audio: %s is not a WAV file with a header of %d bytes", name, headerLen)
	}
	b = b[headerLen:]
	out := make([]int16, len(b)/2)
	for i := range out {
		out[i] = int16(binary.LittleEndian.Uint16(b[2*i:]))
	}
	return out
}

// Floats returns the samples of the named WAV file divided by 32768, as the references used them.
// The caller owns them.
func Floats(tb testing.TB, name string) []float32 {
	tb.Helper()
	in := Samples(tb, name)
	out := make([]float32, len(in))
	for i, s := range in {
		out[i] = float32(s) / 32768
	}
	return out
}

// Load decodes the named JSON file, "silero.json" or "moonshine.json", into v.
func Load(tb testing.TB, name string, v any) {
	tb.Helper()
	b, err := fs.ReadFile(Files, name)
	if err != nil {
		tb.Fatalf("read golden results: %v", err)
	}
	if err := json.Unmarshal(b, v); err != nil {
		tb.Fatalf("read golden results: %s: %v", name, err)
	}
}
