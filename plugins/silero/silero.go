// Package silero detects speech with the Silero network, version 6, in the process itself: no
// service, no key, no cgo.
//
// One window of 32 ms costs about a tenth of a millisecond of one core and allocates nothing. Audio
// of any rate is taken and resampled to 16 kHz; several channels are mixed to one.
//
//	s := session.New(session.Options{VAD: silero.New(nil), ...})
//
// The weights (1.3 MB) are part of the program and shared by all detectors.
package silero

import (
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"

	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/vad"
	"github.com/parley-go/parley/vad/driver"
)

// New returns a Silero detector; nil options mean the defaults. It reads the model, about 2 ms once
// per process for the embedded one. What is wrong with the options or with the model file is
// returned by the model's NewStream; use NewDetector to know at once.
func New(o *Options) *vad.Model {
	d, err := NewDetector(o)
	if err != nil {
		d = &Detector{err: err}
	}
	return vad.New(d)
}

// Detector is the driver behind New, for those who want the error of a bad option at once or change
// options while streams run. It is safe for concurrent use.
type Detector struct {
	net      *network
	log      *slog.Logger
	settings atomic.Pointer[settings]
	err      error // why there is no network
}

var _ driver.VAD = (*Detector)(nil)

// NewDetector returns a detector for vad.New; nil options mean the defaults. It fails for options
// outside of their range and for a model file that cannot be read.
func NewDetector(o *Options) (*Detector, error) {
	if o == nil {
		o = &Options{}
	}
	d := &Detector{log: o.Logger}
	if d.log == nil {
		d.log = slog.Default()
	}
	if err := d.Update(o); err != nil {
		return nil, err
	}
	var err error
	if o.ModelPath == "" {
		d.net, err = embedded()
	} else {
		d.net, err = loadNetwork(o.ModelPath)
	}
	if err != nil {
		return nil, fmt.Errorf("silero: %w", err)
	}
	return d, nil
}

// Update replaces the options; nil means the defaults. Streams that run follow with the next audio
// they get and keep what they hold. ModelPath and Logger cannot be changed and are ignored. After an
// error the options are as they were.
func (d *Detector) Update(o *Options) error {
	if o == nil {
		o = &Options{}
	}
	s, err := o.resolve()
	if err != nil {
		return fmt.Errorf("silero: %w", err)
	}
	d.settings.Store(&s)
	return nil
}

// Info implements driver.VAD.
func (d *Detector) Info() model.Info {
	return model.Info{Label: "silero.VAD", Provider: "local", Model: "silero"}
}

// NewStream implements driver.VAD.
func (d *Detector) NewStream() (driver.Stream, error) {
	if d.err != nil {
		return nil, d.err
	}
	if d.net == nil {
		return nil, errors.New("silero: detector was not made by NewDetector")
	}
	return &stream{d: d}, nil
}
