// Package soniox has Soniox's model for live speech to text, in more than 60 languages.
//
// Protocol: https://soniox.com/docs/api-reference/stt/websocket-api. It was written from the
// documentation and has met the sandbox only, not the service: that the service refuses a wrong key at
// the handshake, rather than in its first message, is not verified (both are understood).
package soniox
