//go:build amd64 && !purego

package kernel

import "golang.org/x/sys/cpu"

var hasAVX2 = cpu.X86.HasAVX2 && cpu.X86.HasFMA

// dotAVX2 is the dot product of n floats, n a multiple of 8.
//
//go:noescape
func dotAVX2(a, b *float32, n int) float32

// blockAVX2 computes the products of two rows of w (out[0:4] and out[4:8]) with four rows of x.
// Strides are in floats; n is a multiple of 8 and not 0.
//
//go:noescape
func blockAVX2(w, x *float32, wStride, xStride, n int, out *[8]float32)

// mulBytesAVX2 computes the dot products of x with the given number of rows of n bytes. n is a
// multiple of 8; n and rows are not 0.
//
//go:noescape
func mulBytesAVX2(q *byte, x *float32, n int, out *float32, rows int)
