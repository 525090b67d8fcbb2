// Package resemble has Resemble AI's voices.
//
// The key comes from RESEMBLE_API_KEY and the base URL from RESEMBLE_BASE_URL, unless the options say
// otherwise. The websocket is for accounts of a business plan or above; the provider allows 20 connections
// for each key.
// Protocol: https://docs.resemble.ai/voice-generation/text-to-speech/streaming-websocket
//
// Nothing was tried against the live service. The documentation leaves open whether audio in JSON has the
// header of a WAV file when none is wanted, so one is left out if it comes; and what the times of letters
// count from, so words have none.
package resemble
