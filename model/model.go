// Package model has what every kind of model (LLM, STT, TTS, VAD, realtime) shares: who it is,
// how its errors look, how often a call is tried, and the hooks a call reports to.
package model

import "time"

// Info says who does the work. It is a value; adapters return the Info of the model that they
// really used.
type Info struct {
	Label    string // implementation, "<plugin>.<Kind>", e.g. "openai.LLM"; stable, for logs
	Provider string // lower case constant of the provider, e.g. "openai", "local"
	Model    string // model name as the provider spells it
}

// ConnOptions says how a call to a provider is tried. The zero value means the defaults.
type ConnOptions struct {
	// MaxRetry is how often a failed call is tried again: default 3; -1 means never.
	MaxRetry int
	// RetryInterval is the wait before the second and later retries: default 2 s. The wait before
	// the first is 0.1 s.
	RetryInterval time.Duration
	// Timeout bounds the wait for a connection and for the first byte of an answer: default 10 s.
	Timeout time.Duration
}

// Defaults returns o with its zero fields replaced by the documented defaults.
func (o ConnOptions) Defaults() ConnOptions {
	switch {
	case o.MaxRetry == 0:
		o.MaxRetry = 3
	case o.MaxRetry < 0:
		o.MaxRetry = 0
	}
	if o.RetryInterval <= 0 {
		o.RetryInterval = 2 * time.Second
	}
	if o.Timeout <= 0 {
		o.Timeout = 10 * time.Second
	}
	return o
}

// FirstRetryWait is the wait before the first retry of a call.
const FirstRetryWait = 100 * time.Millisecond
