package opus

import (
	"fmt"

	"github.com/thesyncim/gopus"
)

// expectedLoss, in percent, makes the encoder of Speech spend bits on redundancy. It also keeps the
// codec in its speech modes, which cost almost three times as much as the other one.
const expectedLoss = 15

// defaultEffort is the default of EncoderConfig.Effort, as that of the reference codec.
const defaultEffort = 9

type encoderKey struct{ rate, channels, application int }
type decoderKey struct{ rate, channels int }

var (
	encoders = newPool[encoderKey, *gopus.Encoder]()
	decoders = newPool[decoderKey, *gopus.Decoder]()
)

// encoder is an Encoder by gopus.
type encoder struct {
	key encoderKey
	cfg EncoderConfig
	enc *gopus.Encoder // nil: closed

	waste [MaxBytes]byte // the packet of a rinse
}

// NewEncoder returns an encoder for one stream. The caller closes it.
func NewEncoder(cfg EncoderConfig) (Encoder, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	app := gopus.ApplicationVoIP
	if cfg.Application == Synthesis {
		app = gopus.ApplicationAudio
	}
	key := encoderKey{cfg.Rate, cfg.Channels, int(app)}
	enc, ok := encoders.take(key)
	if !ok {
		enc, err = gopus.NewEncoder(gopus.EncoderConfig{SampleRate: cfg.Rate, Channels: cfg.Channels, Application: app})
		if err != nil {
			return nil, fmt.Errorf("make opus encoder: %w", err)
		}
	}
	e := &encoder{key: key, cfg: cfg, enc: enc}
	if err := e.control(); err != nil {
		return nil, fmt.Errorf("set up opus encoder: %w", err)
	}
	if ok {
		e.Reset()
	}
	return e, nil
}

// rinse is a frame of silence in stereo.
var rinse [2 * FrameSamples]int16

// Reset also encodes a frame of silence, because the reset of the codec leaves some samples of the
// last stream in a filter, and nobody may hear a trace of another call.
func (e *encoder) Reset() {
	if e.enc == nil {
		return
	}
	// The same values were accepted before, and the frame has the right length: no errors here.
	_ = e.control()
	_, _ = e.enc.EncodeInt16(rinse[:FrameSamples*e.cfg.Channels], e.waste[:])
	_ = e.control()
}

// control sets every control of the codec. A state from the pool still has those of its last
// stream, and a reset of the codec keeps some of them and clears others.
func (e *encoder) control() error {
	e.enc.Reset()
	e.enc.SetFEC(e.cfg.Application == Speech)
	e.enc.SetDTX(false)
	e.enc.SetVBR(true)
	e.enc.SetVBRConstraint(true)
	e.enc.SetPredictionDisabled(false)
	e.enc.SetPhaseInversionDisabled(false)
	effort := e.cfg.Effort
	if effort == 0 {
		effort = defaultEffort
	}
	loss := 0
	if e.cfg.Application == Speech {
		loss = expectedLoss
	}
	for _, set := range []func() error{
		func() error { return e.enc.SetFrameSize(FrameSamples) },
		func() error { return e.enc.SetBitrate(e.cfg.Bitrate) },
		func() error { return e.enc.SetComplexity(effort) },
		func() error { return e.enc.SetPacketLoss(loss) },
		func() error { return e.enc.SetSignal(gopus.SignalAuto) },
		func() error { return e.enc.SetMaxBandwidth(gopus.BandwidthFullband) },
		e.enc.SetBandwidthAuto,
		func() error { return e.enc.SetForceChannels(-1) },
	} {
		if err := set(); err != nil {
			return err
		}
	}
	return nil
}

func (e *encoder) Encode(dst []byte, pcm []int16) (int, error) {
	if e.enc == nil {
		return 0, fmt.Errorf("encode opus: %w", ErrClosed)
	}
	if len(pcm) != FrameSamples*e.cfg.Channels {
		return 0, fmt.Errorf("encode opus: %d samples, want %d", len(pcm), FrameSamples*e.cfg.Channels)
	}
	n, err := e.enc.EncodeInt16(pcm, dst)
	if err != nil {
		return 0, fmt.Errorf("encode opus: %w", err)
	}
	if n == 1 {
		return 0, nil // a header without audio
	}
	return n, nil
}

func (e *encoder) Lookahead() int {
	if e.enc == nil {
		return 0
	}
	return e.enc.Lookahead()
}

func (e *encoder) Close() {
	if e.enc != nil {
		encoders.put(e.key, e.enc)
		e.enc = nil
	}
}

// decoder is a Decoder by gopus.
type decoder struct {
	key       decoderKey
	dec       *gopus.Decoder // nil: closed
	concealed int            // samples per channel made up since the last packet
	float     []float32      // for Recover, which the codec only does in float
}

// NewDecoder returns a decoder for one stream, with 1 or 2 channels of output whatever the packets
// have. The caller closes it.
func NewDecoder(channels int) (Decoder, error) {
	if channels < 1 || channels > 2 {
		return nil, fmt.Errorf("opus decoder: %d channels, want 1 or 2", channels)
	}
	key := decoderKey{Rate, channels}
	dec, ok := decoders.take(key)
	if !ok {
		var err error
		dec, err = gopus.NewDecoder(gopus.DefaultDecoderConfig(Rate, channels))
		if err != nil {
			return nil, fmt.Errorf("make opus decoder: %w", err)
		}
	}
	d := &decoder{key: key, dec: dec}
	d.Reset()
	return d, nil
}

func (d *decoder) Decode(dst []int16, packet []byte) (n int, err error) {
	if d.dec == nil {
		return 0, fmt.Errorf("decode opus: %w", ErrClosed)
	}
	if len(packet) == 0 {
		return 0, fmt.Errorf("decode opus: %w: it is empty", ErrPacket)
	}
	defer d.contain(&err)
	n, err = d.dec.DecodeInt16(packet, dst)
	if err != nil {
		return 0, fmt.Errorf("decode opus: %w: %v", ErrPacket, err)
	}
	d.concealed = 0
	return n, nil
}

func (d *decoder) Conceal(dst []int16) (synthetic bool, err error) {
	if d.dec == nil {
		return false, fmt.Errorf("conceal opus: %w", ErrClosed)
	}
	frames := len(dst) / d.key.channels
	if len(dst)%d.key.channels != 0 || frames%quantum != 0 {
		return false, fmt.Errorf("conceal opus: %d samples are not a multiple of 2.5 ms", len(dst))
	}
	defer d.contain(&err)
	for frames > 0 && d.concealed < maxConcealed {
		n := min(frames, FrameSamples, maxConcealed-d.concealed)
		if _, err := d.dec.DecodeInt16(nil, dst[:n*d.key.channels]); err != nil {
			return synthetic, fmt.Errorf("conceal opus: %w", err)
		}
		dst, frames = dst[n*d.key.channels:], frames-n
		d.concealed += n
		synthetic = true
	}
	clear(dst)
	return synthetic, nil
}

func (d *decoder) Recover(dst []int16, next []byte) (err error) {
	if d.dec == nil {
		return fmt.Errorf("recover opus: %w", ErrClosed)
	}
	if len(dst) > MaxSamples*d.key.channels {
		return fmt.Errorf("recover opus: %d samples are too many", len(dst))
	}
	if !HasRedundancy(next) {
		return ErrNoRedundancy
	}
	if d.float == nil {
		d.float = make([]float32, MaxSamples*d.key.channels)
	}
	defer d.contain(&err)
	n, err := d.dec.DecodeWithFEC(next, d.float[:len(dst)], true)
	if err != nil {
		return fmt.Errorf("recover opus: %w: %v", ErrPacket, err)
	}
	if n*d.key.channels != len(dst) {
		return fmt.Errorf("recover opus: %w: %d samples in place of %d", ErrPacket, n*d.key.channels, len(dst))
	}
	for i, f := range d.float[:len(dst)] {
		dst[i] = toInt16(f)
	}
	d.concealed = 0
	return nil
}

func toInt16(f float32) int16 {
	f *= 32768
	switch {
	case f >= 32767:
		return 32767
	case f <= -32768:
		return -32768
	case f < 0:
		return int16(f - 0.5)
	case f >= 0:
		return int16(f + 0.5)
	}
	return 0 // not a number
}

// contain turns a panic of the codec over somebody's packet into a bad packet. The state it leaves
// behind cannot be trusted, so it is replaced by that of a new stream.
func (d *decoder) contain(err *error) {
	if r := recover(); r != nil {
		d.Reset()
		*err = fmt.Errorf("%w: the codec failed: %v", ErrPacket, r)
	}
}

func (d *decoder) Reset() {
	d.concealed = 0
	if d.dec == nil {
		return
	}
	d.dec.Reset()
	_ = d.dec.SetGain(0) // always in range
	d.dec.SetPhaseInversionDisabled(false)
}

func (d *decoder) Close() {
	if d.dec != nil {
		decoders.put(d.key, d.dec)
		d.dec = nil
	}
}

// Samples is the length of the audio in a packet, in samples per channel at 48 kHz, as its header
// says; 0 for what cannot be a packet.
func Samples(packet []byte) int {
	if len(packet) == 0 {
		return 0
	}
	frames := 0
	switch packet[0] & 3 {
	case 0:
		frames = 1
	case 1, 2:
		frames = 2
	default:
		if len(packet) < 2 {
			return 0
		}
		frames = int(packet[1] & 0x3f)
	}
	n := FrameLength(packet) * frames
	if n > MaxSamples {
		return 0
	}
	return n
}

// FrameLength is the length of each frame in a packet, in samples per channel at 48 kHz; 0 for an
// empty packet.
func FrameLength(packet []byte) int {
	if len(packet) == 0 {
		return 0
	}
	return gopus.ParseTOC(packet[0]).FrameSize
}

// HasRedundancy says whether the packet has a copy of the frame before it.
func HasRedundancy(packet []byte) bool { return gopus.PacketHasLBRR(packet) }
