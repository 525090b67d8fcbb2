package tiny

import (
	"context"
	"testing"

	"github.com/parley-go/parley/internal/golden"
	"github.com/parley-go/parley/plugins/moonshine/internal/kernel"
)

func BenchmarkTranscribe(b *testing.B) {
	for _, c := range []struct {
		name    string
		file    string
		kernel  kernel.Kernel
		samples int
	}{
		{"3.4s", "espeak_timer.wav", kernel.Best(1), 0},
		{"3.4s two workers", "espeak_timer.wav", kernel.Best(2), 0},
		{"3.4s portable", "espeak_timer.wav", kernel.Portable(), 0},
		{"8.4s", "flite_slt_long.wav", kernel.Best(1), 0},
		{"12.5s", "flite_slt_long.wav", kernel.Best(1), 200_000},
	} {
		b.Run(c.name, func(b *testing.B) {
			m, s := model(b), &Scratch{}
			samples := golden.Samples(b, c.file)
			for len(samples) < c.samples {
				samples = append(samples, samples[:min(len(samples), c.samples-len(samples))]...)
			}
			b.ReportAllocs()
			tokens := 0
			for b.Loop() {
				t, err := m.Transcribe(context.Background(), c.kernel, s, samples)
				if err != nil {
					b.Fatal(err)
				}
				tokens = t.Tokens
			}
			b.ReportMetric(b.Elapsed().Seconds()/float64(b.N)*Rate/float64(len(samples)), "rtf")
			b.ReportMetric(float64(tokens), "tokens")
		})
	}
}

func BenchmarkEncode(b *testing.B) {
	m, s := model(b), &Scratch{}
	samples := golden.Samples(b, "espeak_timer.wav")
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := m.encode(context.Background(), kernel.Best(1), s, samples); err != nil {
			b.Fatal(err)
		}
		s.reset()
	}
}

func BenchmarkToken(b *testing.B) {
	m, s := model(b), &Scratch{}
	frames, n, err := m.encode(context.Background(), kernel.Best(1), s, golden.Samples(b, "espeak_timer.wav"))
	if err != nil {
		b.Fatal(err)
	}
	w, err := m.newWriter(context.Background(), kernel.Best(1), s, frames, n, maxTokens)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		w.at %= maxTokens
		if _, err := w.step(context.Background(), 7510); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkLoad(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Load(files()); err != nil {
			b.Fatal(err)
		}
	}
}
