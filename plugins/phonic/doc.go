// Package phonic has Phonic's speech-to-speech model.
//
// The key comes from PHONIC_API_KEY and the base URL from PHONIC_BASE_URL, unless the options say otherwise. Protocol:
// https://docs.phonic.ai, and the types of Phonic's own clients at https://github.com/Phonic-Co
//
// Nothing was tried against the live service. Phonic sells the minutes of conversations, but does not document how
// it counts them: what is booked is the time of connections.
package phonic
