package ogg

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"testing"

	"github.com/parley-go/parley/audio/opus"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4/pkg/media/oggreader"
	"github.com/pion/webrtc/v4/pkg/media/oggwriter"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// packets are n packets of 20 ms of noise, the third of them long.
func packets(t testing.TB, n int) (list [][]byte) {
	t.Helper()
	enc, err := opus.NewEncoder(opus.EncoderConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer enc.Close()
	pcm, seed := make([]int16, opus.FrameSamples), uint32(1)
	for range n {
		for i := range pcm {
			seed = seed*1664525 + 1013904223
			pcm[i] = int16(seed >> 18)
		}
		p := make([]byte, opus.MaxBytes)
		size, err := enc.Encode(p, pcm)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, p[:size])
	}
	if n > 2 {
		list[2] = append(list[2], make([]byte, 510-len(list[2]))...) // two times 255, and nothing
	}
	return list
}

func stream(t testing.TB, list [][]byte) (b []byte) {
	t.Helper()
	var w Writer
	for page := range slices.Chunk(list, 4) {
		var err error
		if b, err = w.Append(b, page...); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

// all reads a stream that comes in pieces of so many bytes.
func all(b []byte, piece int) (list [][]byte, skip int, err error) {
	var r Reader
	for part := range slices.Chunk(b, piece) {
		r.Write(part)
		for {
			p, err := r.Next()
			if err != nil {
				return list, r.Skip, err
			}
			if p == nil {
				break
			}
			list = append(list, p)
		}
	}
	return list, r.Skip, nil
}

func TestStreamHoweverItIsCut(t *testing.T) {
	want := packets(t, 10)
	b := stream(t, want)
	for _, piece := range []int{1, 7, 255, 4096, len(b)} {
		got, skip, err := all(b, piece)
		if err != nil || !slices.EqualFunc(got, want, bytes.Equal) || skip != PreSkip {
			t.Errorf("pieces of %d bytes: %d packets, skip %d, %v", piece, len(got), skip, err)
		}
	}
}

// Another reader takes our pages, and checks their sums.
func TestOthersReadOurPages(t *testing.T) {
	want := packets(t, 8)
	r, head, err := oggreader.NewWith(bytes.NewReader(stream(t, want)))
	if err != nil || head.Channels != 1 || head.SampleRate != opus.Rate || head.PreSkip != PreSkip {
		t.Fatalf("header %+v, %v", head, err)
	}
	var got []byte
	var position uint64
	for {
		payload, page, err := r.ParseNextPage()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.HasPrefix(payload, []byte("OpusTags")) {
			got = append(got, payload...)
			position = page.GranulePosition
		}
	}
	if !bytes.Equal(got, bytes.Join(want, nil)) || position != 8*opus.FrameSamples {
		t.Errorf("%d bytes, position %d", len(got), position)
	}
}

// We take the pages of another writer.
func TestWeReadPagesOfOthers(t *testing.T) {
	var b bytes.Buffer
	w, err := oggwriter.NewWith(&b, opus.Rate, 1)
	if err != nil {
		t.Fatal(err)
	}
	want := packets(t, 5)
	for i, p := range want {
		if err := w.WriteRTP(&rtp.Packet{Header: rtp.Header{Timestamp: uint32(i * opus.FrameSamples)}, Payload: p}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	got, _, err := all(b.Bytes(), 100)
	for len(got) > 0 && len(got[len(got)-1]) == 0 { // of its last page
		got = got[:len(got)-1]
	}
	if err != nil || !slices.EqualFunc(got, want, bytes.Equal) {
		t.Errorf("%d packets, %v", len(got), err)
	}
}

// A packet may go on over several pages.
func TestPacketOverPages(t *testing.T) {
	var w Writer
	b, _ := w.Append(nil)
	long := bytes.Repeat([]byte{7}, 300)
	b = w.page(b, []byte{255}, long[:255])
	at := len(b)
	b = w.page(b, []byte{45}, long[255:])
	b[at+5] = continued
	crc := sum(b[at:])
	b[at+22], b[at+23], b[at+24], b[at+25] = byte(crc), byte(crc>>8), byte(crc>>16), byte(crc>>24)
	got, _, err := all(b, len(b))
	if err != nil || len(got) != 1 || !bytes.Equal(got[0], long) {
		t.Errorf("%d packets, %v", len(got), err)
	}
	b[at+5] = 0 // does not say so
	crc = sum(b[at:])
	b[at+22], b[at+23], b[at+24], b[at+25] = byte(crc), byte(crc>>8), byte(crc>>16), byte(crc>>24)
	if _, _, err := all(b, len(b)); !errors.Is(err, ErrStream) {
		t.Errorf("error %v", err)
	}
}

func TestWhatIsNoStream(t *testing.T) {
	good := stream(t, packets(t, 2))
	damaged := slices.Clone(good)
	damaged[len(damaged)-1]++
	headless := slices.Clone(good)
	headless = headless[bytes.LastIndex(headless, []byte(magic)):]
	for name, b := range map[string][]byte{"text": []byte("hello"), "damaged": damaged, "without a header": headless} {
		if got, _, err := all(b, len(b)); !errors.Is(err, ErrStream) {
			t.Errorf("%s: %d packets, %v", name, len(got), err)
		}
	}
	if _, err := new(Writer).Append(nil, make([]byte, 255*255)); err == nil {
		t.Error("a page with more than fits")
	}
}

func FuzzReader(f *testing.F) {
	f.Add(stream(f, packets(f, 5)), 100)
	f.Fuzz(func(t *testing.T, b []byte, piece int) {
		got, _, err := all(b, max(piece, 1))
		whole, _, werr := all(b, max(len(b), 1))
		if len(got) != len(whole) || (err == nil) != (werr == nil) {
			t.Errorf("in pieces %d packets, %v; at once %d, %v", len(got), err, len(whole), werr)
		}
	})
}
