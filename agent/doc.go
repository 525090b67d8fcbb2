// Package agent is what a developer of a voice agent writes: who the agent is, what it may do,
// and what happens when it enters, hears and leaves.
package agent
