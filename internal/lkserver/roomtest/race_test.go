//go:build race

package roomtest

// raced says that the race detector is on. WebRTC's own ICE agent (pion/ice v4.4.0) races when a
// resume gives it the servers again while it still gathers candidates, and livekit-server v1.13.5 does when it notes
// the layers of a video while it tells others of it.
const raced = true
