//go:build !amd64 || purego

package kernel

const hasAVX2 = false

// The portable code is used instead: hasAVX2 is never true here.

func dotAVX2(_, _ *float32, _ int) float32 { return 0 }

func blockAVX2(_, _ *float32, _, _, _ int, _ *[8]float32) {}

func mulBytesAVX2(_ *byte, _ *float32, _ int, _ *float32, _ int) {}
