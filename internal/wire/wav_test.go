package wire

import (
	"bytes"
	"reflect"
	"testing"

	"github.com/parley-go/parley/audio"
)

func TestWAVIsReadBack(t *testing.T) {
	f := audio.Frame{Data: []int16{1, -2, 32767, -32768}, Rate: 24000, Channels: 2}
	got, err := audio.ReadWAV(bytes.NewReader(WAV(f)))
	if err != nil || !reflect.DeepEqual(got, f) {
		t.Errorf("read back %+v, %v", got, err)
	}
	if pcm := Samples(nil, append(AppendPCM(nil, f.Data), 7)); !reflect.DeepEqual(pcm, f.Data) {
		t.Errorf("samples %v", pcm)
	}
}
