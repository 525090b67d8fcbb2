// Package wire is how plugins talk to providers: HTTP requests, event streams and pooled websockets
// that tell how their connection came about, turn failures into *model.Error, and give no key away.
//
// A plugin says what it sends and understands what comes back. Timeouts of answers, retries and
// accounting belong to the front of its kind.
package wire
