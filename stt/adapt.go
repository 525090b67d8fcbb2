package stt

import (
	"context"
	"time"

	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/stt/driver"
	"github.com/parley-go/parley/vad"
)

// AdaptOptions tune Adapt; nil and zero values mean the defaults.
type AdaptOptions struct {
	// PrefixPadding is how much audio before the start of speech is transcribed: default 0.5 s. Less of
	// it is faster, and loses soft beginnings.
	PrefixPadding time.Duration
	// MinSpeculative is the least speech that is worth a speculative run: default 0.2 s.
	MinSpeculative time.Duration
	// InterimInterval is the time between interim runs: default 0.5 s, negative for no interims.
	InterimInterval time.Duration
	// MaxSegment is the speech after which a segment is cut at a quiet place although nobody
	// paused, and 8 s later anywhere: default 12 s for speculative models, 60 s for others.
	MaxSegment time.Duration
}

func (o *AdaptOptions) defaults(caps Capabilities) AdaptOptions {
	var d AdaptOptions
	if o != nil {
		d = *o
	}
	if d.PrefixPadding == 0 {
		d.PrefixPadding = 500 * time.Millisecond
	}
	if d.MinSpeculative == 0 {
		d.MinSpeculative = 200 * time.Millisecond
	}
	if d.InterimInterval == 0 {
		d.InterimInterval = 500 * time.Millisecond
	}
	if d.MaxSegment == 0 {
		d.MaxSegment = 60 * time.Second
		if caps.Speculative {
			d.MaxSegment = 12 * time.Second
		}
	}
	return d
}

// Adapt makes a model streaming that transcribes whole utterances: the voice activity detector
// cuts the audio into segments, and each is transcribed while the next is heard; finals come in
// order and empty ones are left out. A model that streams already is returned as it is.
//
// A model whose capabilities say Speculative is run early and often: at the first silence inside a
// segment, so that the text is there when the speech turns out to have ended (a Preflight event
// gives it away before), and while somebody speaks, for interim transcripts. Runs that are not used
// leave no trace in the usage. Other models get exactly one run per segment.
//
// The adapter reports nothing itself: usage, metrics and errors are those of m and v.
func Adapt(m *Model, v *vad.Model, o *AdaptOptions) *Model {
	if m.Streaming() {
		return m
	}
	a := New(&adapter{m: m, v: v, o: o.defaults(m.caps)}, nil)
	a.quiet, a.inner, a.multi = true, m, m.multi
	a.conn.MaxRetry = 0            // m tries again itself
	a.conn.Timeout = 1 * time.Hour // and bounds its own calls
	return a
}

// adapter is the driver of an adapted model.
type adapter struct {
	m *Model
	v *vad.Model
	o AdaptOptions
}

func (a *adapter) Info() model.Info { return a.m.Info() }

func (a *adapter) Capabilities() Capabilities {
	c := a.m.caps
	c.InterimResults = c.Speculative && a.o.InterimInterval > 0
	return c
}

// Open implements driver.Streamer. The values of ctx, its recorder for one, serve the stream until
// it is closed.
func (a *adapter) Open(ctx context.Context, o Options) (driver.Stream, error) {
	s := &adapted{a: a, o: o, wake: make(chan struct{}, 1)}
	s.ctx, s.cancel = context.WithCancel(context.WithoutCancel(ctx))
	// Guesses fail in silence: nobody was promised anything.
	s.guessCtx = model.WithHooks(s.ctx, nil)
	v, err := a.v.NewStream(s.ctx)
	if err != nil {
		s.cancel()
		return nil, err
	}
	s.v = v
	return s, nil
}
