// Package neuphonic has Neuphonic's voices: text to speech.
//
// Protocol: https://docs.neuphonic.com/api-reference/tts/websocket. It was written from the public
// documentation, Neuphonic's own client and what other clients do, and has met the sandbox only, not the
// service. Not verified are the form of error messages, that each text that ends with the mark of an end
// is answered with one stop, and that an empty text keeps a connection alive, as others rely on.
package neuphonic
