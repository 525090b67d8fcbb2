// Package localtest tests the local models together: what one says another hears, and what the
// detector cuts the recogniser understands. Each is tested alone in its own module.
package localtest
