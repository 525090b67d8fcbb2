// Package room joins a LiveKit room and is the ears, the eyes and the mouth of a session there.
//
// [Join] connects. A [Room] is a [session.Transport]: a session that is started with it listens to
// one participant, the linked one, and speaks through a track of its own. [Room.With] does the same
// with other settings. [On] tells what else happens in the room, and [Room.SDK] hands out LiveKit's
// own object for everything this package does not cover.
package room
