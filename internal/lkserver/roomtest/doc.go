// Package roomtest holds the tests of package room that need a LiveKit server.
package roomtest
