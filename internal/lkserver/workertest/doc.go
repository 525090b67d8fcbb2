// Package workertest tests package worker against a real LiveKit server: jobs are dispatched, agents
// join rooms, callers talk to them, and everything ends in order.
package workertest
