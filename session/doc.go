// Package session runs a voice agent: it listens, decides when it is whose turn, drives the models,
// speaks, remembers what was heard, and counts what was spent.
package session
