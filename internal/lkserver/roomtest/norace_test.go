//go:build !race

package roomtest

// raced says that the race detector is on.
const raced = false
