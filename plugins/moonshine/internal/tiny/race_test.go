//go:build race

package tiny

// raceEnabled says that the test runs with the race detector, where the network is slow.
const raceEnabled = true
