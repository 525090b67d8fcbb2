// Package sessiontest runs sessions without a network: a user who speaks when the test says so, and
// a listener who hears in real time or, inside a testing/synctest bubble, in virtual time.
package sessiontest
