//go:build race

package flite

// raceEnabled says that the tests run under the race detector, which makes the interpreter very slow.
const raceEnabled = true
