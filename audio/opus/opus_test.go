package opus

import (
	"bytes"
	"errors"
	"math"
	"slices"
	"testing"

	pion "github.com/pion/opus"
	"github.com/thesyncim/gopus"
	"go.uber.org/goleak"

	"github.com/parley-go/parley/audio/internal/testaudio"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newTestEncoder(t testing.TB, cfg EncoderConfig) Encoder {
	t.Helper()
	e, err := NewEncoder(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return e
}

func newTestDecoder(t testing.TB, channels int) Decoder {
	t.Helper()
	d, err := NewDecoder(channels)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	return d
}

// encodeAll cuts mono pcm into packets; an incomplete last frame is left out.
func encodeAll(t testing.TB, cfg EncoderConfig, pcm []int16) [][]byte {
	t.Helper()
	e := newTestEncoder(t, cfg)
	size := FrameSamples * max(cfg.Channels, 1)
	var out [][]byte
	buf := make([]byte, MaxBytes)
	for len(pcm) >= size {
		n, err := e.Encode(buf, pcm[:size])
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, bytes.Clone(buf[:n]))
		pcm = pcm[size:]
	}
	return out
}

func decodeAll(t testing.TB, packets [][]byte) []int16 {
	t.Helper()
	d := newTestDecoder(t, 1)
	var out []int16
	buf := make([]int16, MaxSamples)
	for _, p := range packets {
		n, err := d.Decode(buf, p)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, buf[:n]...)
	}
	return out
}

// snr is how far, in dB, the difference of two signals is below the first of them.
func snr(want, got []int16) float64 {
	var signal, noise float64
	for i := range min(len(want), len(got)) {
		d := float64(want[i]) - float64(got[i])
		signal += float64(want[i]) * float64(want[i])
		noise += d * d
	}
	return 10 * math.Log10(signal/(noise+1e-9))
}

func TestRoundTripKeepsTheSpeech(t *testing.T) {
	pcm := testaudio.Speech48(t)
	for _, c := range []struct {
		app  Application
		want float64 // dB
		max  int     // bytes per frame on average
	}{{Speech, 4.5, 32000 / 8 / 50 * 13 / 10}, {Synthesis, 20, 64000 / 8 / 50 * 13 / 10}} {
		packets := encodeAll(t, EncoderConfig{Application: c.app}, pcm)
		got := decodeAll(t, packets)
		delay := newTestEncoder(t, EncoderConfig{Application: c.app}).Lookahead()
		db := snr(pcm, got[delay:])
		size := len(slices.Concat(packets...)) / len(packets)
		t.Logf("application %d: SNR %.1f dB at %d bytes per packet", c.app, db, size)
		if db < c.want {
			t.Errorf("application %d: SNR of a round trip is %.1f dB, want at least %.0f", c.app, db, c.want)
		}
		if size > c.max {
			t.Errorf("application %d: %d bytes per packet, want at most %d", c.app, size, c.max)
		}
	}
}

// Another implementation must hear the same as our own.
func TestPacketsDecodeElsewhere(t *testing.T) {
	pcm := testaudio.Speech48(t)
	for _, app := range []Application{Speech, Synthesis} {
		packets := encodeAll(t, EncoderConfig{Application: app}, pcm)
		want := decodeAll(t, packets)
		other, err := pion.NewDecoderWithOutput(Rate, 1)
		if err != nil {
			t.Fatal(err)
		}
		var got []int16
		buf := make([]int16, MaxSamples)
		for i, p := range packets {
			n, err := other.DecodeToInt16(p, buf)
			if err != nil {
				t.Fatalf("application %d: packet %d: %v", app, i, err)
			}
			got = append(got, buf[:n]...)
		}
		if len(got) != len(want) {
			t.Fatalf("application %d: the other decoder gives %d samples, ours %d", app, len(got), len(want))
		}
		db := snr(want, got)
		t.Logf("application %d: the decoders agree to %.1f dB", app, db)
		if db < 20 {
			t.Errorf("application %d: the decoders agree to %.1f dB only, want 20", app, db)
		}
	}
}

func TestRedundancyBeatsConcealmentBeatsZeros(t *testing.T) {
	packets := encodeAll(t, EncoderConfig{Application: Speech}, testaudio.Speech48(t))
	want := decodeAll(t, packets)
	lossy := func(fill func(d Decoder, dst []int16, next []byte)) []int16 {
		d := newTestDecoder(t, 1)
		var out []int16
		buf := make([]int16, MaxSamples)
		for i, p := range packets {
			if i%10 == 5 && i+1 < len(packets) {
				fill(d, buf[:FrameSamples], packets[i+1])
				out = append(out, buf[:FrameSamples]...)
				continue
			}
			n, err := d.Decode(buf, p)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, buf[:n]...)
		}
		return out
	}
	recovered := 0
	zeros := snr(want, lossy(func(_ Decoder, dst []int16, _ []byte) { clear(dst) }))
	conceal := func(d Decoder, dst []int16, _ []byte) {
		if _, err := d.Conceal(dst); err != nil {
			t.Fatal(err)
		}
	}
	concealed := snr(want, lossy(conceal))
	fec := snr(want, lossy(func(d Decoder, dst []int16, next []byte) {
		switch err := d.Recover(dst, next); {
		case err == nil:
			recovered++
		case errors.Is(err, ErrNoRedundancy):
			conceal(d, dst, next)
		default:
			t.Fatal(err)
		}
	}))
	t.Logf("10%% loss: zeros %.1f dB, concealment %.1f dB, redundancy %.1f dB (%d packets)", zeros, concealed, fec, recovered)
	if recovered < len(packets)/20 {
		t.Errorf("only %d of %d lost packets had a copy", recovered, len(packets)/10)
	}
	if concealed < zeros+1 || fec < concealed+2 {
		t.Errorf("10%% loss: zeros %.1f dB, concealment %.1f dB, redundancy %.1f dB", zeros, concealed, fec)
	}
}

func TestConcealmentEndsInSilence(t *testing.T) {
	d := newTestDecoder(t, 1)
	buf := make([]int16, MaxSamples)
	for _, p := range encodeAll(t, EncoderConfig{Application: Speech}, testaudio.Tone(300, Rate, Rate/2)) {
		if _, err := d.Decode(buf, p); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 8 {
		synthetic, err := d.Conceal(buf[:FrameSamples])
		if err != nil {
			t.Fatal(err)
		}
		silent := !slices.ContainsFunc(buf[:FrameSamples], func(s int16) bool { return s != 0 })
		if synthetic != (i < 5) {
			t.Errorf("lost frame %d: synthetic is %v", i, synthetic)
		}
		if i == 0 && silent || i >= 5 && !silent {
			t.Errorf("lost frame %d: silent is %v", i, silent)
		}
	}
	if synthetic, err := newTestDecoder(t, 1).Conceal(buf[:MaxSamples]); err != nil || !synthetic {
		t.Errorf("120 ms at once: synthetic %v, error %v", synthetic, err)
	}
	if _, err := d.Conceal(buf[:100]); err == nil {
		t.Error("a length that is no multiple of 2.5 ms was accepted")
	}
}

func TestStereoPacketsGiveMono(t *testing.T) {
	left := testaudio.Speech48(t)
	half := make([]int16, len(left))
	stereo := make([]int16, 2*len(left))
	for i, s := range left {
		stereo[2*i] = s // the right channel is silent
		half[i] = s / 2
	}
	cfg := EncoderConfig{Channels: 2, Application: Synthesis, Bitrate: 128000}
	got := decodeAll(t, encodeAll(t, cfg, stereo))
	if want := len(left) / FrameSamples * FrameSamples; len(got) != want {
		t.Fatalf("%d mono samples, want %d", len(got), want)
	}
	if db := snr(half, got[newTestEncoder(t, cfg).Lookahead():]); db < 10 {
		t.Errorf("mono is the mean of the channels to %.1f dB, want 10", db)
	}
}

// A state that served another stream must neither keep its settings nor give away its audio.
func TestPooledEncoderIsLikeNew(t *testing.T) {
	pcm := testaudio.Speech48(t)
	used, err := NewEncoder(EncoderConfig{Application: Speech, Bitrate: 12000, Effort: 1})
	if err != nil {
		t.Fatal(err)
	}
	state, buf := used.(*encoder).enc, make([]byte, MaxBytes)
	dirty := func(e Encoder) {
		for frame := range slices.Chunk(pcm[:Rate+7*FrameSamples], FrameSamples) {
			if _, err := e.Encode(buf, frame); err != nil {
				t.Fatal(err)
			}
		}
	}
	dirty(used)
	used.Close()
	used.Close()
	again, err := NewEncoder(EncoderConfig{Application: Speech})
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if again.(*encoder).enc != state {
		t.Fatal("the state did not come from the pool")
	}
	encode := func(e Encoder, pcm []int16) (packets [][]byte) {
		for frame := range slices.Chunk(pcm, FrameSamples) {
			n, err := e.Encode(buf, frame)
			if err != nil {
				t.Fatal(err)
			}
			packets = append(packets, bytes.Clone(buf[:n]))
		}
		return packets
	}
	silence := decodeAll(t, encode(again, make([]int16, 10*FrameSamples)))
	if hi, lo := slices.Max(silence), slices.Min(silence); hi > 8 || lo < -8 {
		t.Errorf("silence after a take reaches %d..%d: a trace of the last stream", lo, hi)
	}
	fresh := &encoder{cfg: again.(*encoder).cfg}
	if fresh.enc, err = gopus.NewEncoder(gopus.EncoderConfig{SampleRate: Rate, Channels: 1, Application: gopus.ApplicationVoIP}); err != nil {
		t.Fatal(err)
	}
	if err := fresh.control(); err != nil {
		t.Fatal(err)
	}
	dirty(again)
	again.Reset()
	got, want := encode(again, pcm), encode(fresh, pcm)
	gotSize, wantSize := len(slices.Concat(got...)), len(slices.Concat(want...))
	if d := math.Abs(float64(gotSize)/float64(wantSize) - 1); d > 0.05 {
		t.Errorf("a pooled encoder makes %d bytes, a new one %d", gotSize, wantSize)
	}
	if g, w := snr(pcm, decodeAll(t, got)[312:]), snr(pcm, decodeAll(t, want)[312:]); math.Abs(g-w) > 0.5 {
		t.Errorf("a pooled encoder has an SNR of %.1f dB, a new one %.1f", g, w)
	}
}

func TestPoolIsBounded(t *testing.T) {
	p := newPool[int, int]()
	for i := range maxPooled + 10 {
		p.put(1, i)
	}
	if got := len(p.free[1]); got != maxPooled {
		t.Errorf("the pool keeps %d states, want %d", got, maxPooled)
	}
	if _, ok := p.take(2); ok {
		t.Error("a state of another kind came out")
	}
}

func TestEncoderConfigIsChecked(t *testing.T) {
	for _, rate := range []int{8000, 16000, 24000, 44100} {
		if _, err := NewEncoder(EncoderConfig{Rate: rate}); !errors.Is(err, ErrRate) {
			t.Errorf("%d Hz: got %v, want ErrRate", rate, err)
		}
	}
	for _, cfg := range []EncoderConfig{{Channels: 3}, {Channels: 2, Application: Speech}, {Application: 7}, {Bitrate: 100}, {Effort: 11}} {
		if _, err := NewEncoder(cfg); err == nil {
			t.Errorf("%+v was accepted", cfg)
		}
	}
	if _, err := NewDecoder(0); err == nil {
		t.Error("a decoder without channels was made")
	}
}

func TestClosedStatesSaySo(t *testing.T) {
	e, d := newTestEncoder(t, EncoderConfig{}), newTestDecoder(t, 1)
	e.Close()
	d.Close()
	pcm := make([]int16, FrameSamples)
	_, err1 := e.Encode(make([]byte, MaxBytes), pcm)
	_, err2 := d.Decode(pcm, []byte{1, 2, 3})
	_, err3 := d.Conceal(pcm)
	err4 := d.Recover(pcm, []byte{1, 2, 3})
	for i, err := range []error{err1, err2, err3, err4} {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("call %d: got %v, want ErrClosed", i, err)
		}
	}
}

func TestSamplesReadsTheHeader(t *testing.T) {
	packet := encodeAll(t, EncoderConfig{}, make([]int16, FrameSamples))[0]
	if got := Samples(packet); got != FrameSamples {
		t.Errorf("a packet of 20 ms has %d samples", got)
	}
	for _, c := range []struct {
		packet []byte
		want   int
	}{{nil, 0}, {[]byte{3}, 0}, {[]byte{1, 0}, 2 * 480}, {[]byte{0x18, 0}, 2880}, {[]byte{0x1b, 2}, 5760}, {[]byte{0x1b, 48}, 0}} {
		if got := Samples(c.packet); got != c.want {
			t.Errorf("packet % x has %d samples, want %d", c.packet, got, c.want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, cfg := range []EncoderConfig{{Application: Speech}, {Application: Synthesis}} {
		for _, p := range encodeAll(f, cfg, testaudio.Tone(440, Rate, 4*FrameSamples)) {
			f.Add(p, p)
		}
	}
	f.Add([]byte{}, []byte{0xff})
	f.Add([]byte{0x03, 0xbf, 0xff, 0xff}, []byte{0x1b, 2, 9, 9})
	f.Fuzz(func(t *testing.T, first, second []byte) {
		d := newTestDecoder(t, 1)
		buf := make([]int16, MaxSamples)
		for _, p := range [][]byte{first, second} {
			if err := d.Recover(buf[:FrameSamples], p); err != nil && !errors.Is(err, ErrPacket) && !errors.Is(err, ErrNoRedundancy) {
				t.Errorf("recover: unexpected error %v", err)
			}
			n, err := d.Decode(buf, p)
			if err != nil && !errors.Is(err, ErrPacket) {
				t.Errorf("decode: unexpected error %v", err)
			}
			if err == nil && n != Samples(p) {
				t.Errorf("decoded %d samples, the header says %d", n, Samples(p))
			}
			if _, err := d.Conceal(buf[:FrameSamples]); err != nil {
				t.Errorf("conceal: %v", err)
			}
		}
	})
}

func BenchmarkEncode(b *testing.B) {
	pcm := testaudio.Speech48(b)
	for name, cfg := range map[string]EncoderConfig{"synthesis": {}, "speech": {Application: Speech}, "speech-effort5": {Application: Speech, Effort: 5}} {
		b.Run(name, func(b *testing.B) {
			e := newTestEncoder(b, cfg)
			buf := make([]byte, MaxBytes)
			i := 0
			b.ReportAllocs()
			for b.Loop() {
				if _, err := e.Encode(buf, pcm[i:i+FrameSamples]); err != nil {
					b.Fatal(err)
				}
				if i += FrameSamples; i+FrameSamples > len(pcm) {
					i = 0
				}
			}
		})
	}
}

func BenchmarkDecode(b *testing.B) {
	packets := encodeAll(b, EncoderConfig{Application: Speech}, testaudio.Speech48(b))
	d := newTestDecoder(b, 1)
	buf := make([]int16, MaxSamples)
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		if _, err := d.Decode(buf, packets[i]); err != nil {
			b.Fatal(err)
		}
		i = (i + 1) % len(packets)
	}
}

func BenchmarkTakeAndGiveBack(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		newEnc, err := NewEncoder(EncoderConfig{})
		if err != nil {
			b.Fatal(err)
		}
		newEnc.Close()
	}
}
