// Package ultravox has Ultravox's speech-to-speech model.
//
// The key comes from ULTRAVOX_API_KEY and the base URL from ULTRAVOX_BASE_URL, unless the options say otherwise. A
// connection is a call: it is created over HTTP and joined over a websocket, and costs what it lasts.
// Protocol: https://docs.ultravox.ai/apps/websockets and https://docs.ultravox.ai/apps/datamessages
//
// Nothing was tried against the live service. Its documentation does not say how to stop an answer: the message
// that does is the one that LiveKit's agents send.
package ultravox
