// Package rime has Rime's voices.
//
// The key comes from RIME_API_KEY and the base URL from RIME_BASE_URL, unless the options say otherwise.
// Protocol: the JSON websocket /ws3 of https://docs.rime.ai.
//
// Nothing was tried against the live service. The documentation does not say whether a wrong speaker is
// refused at the handshake or by an error message, which is tried again like any other.
package rime
