// Package capacity measures how many sessions a worker holds and how soon it is ready. The worker is a
// process of its own, so that what it costs can be told from what the server and the callers cost.
package capacity
