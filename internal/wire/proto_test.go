package wire

import (
	"errors"
	"fmt"
	"testing"
)

func TestProto(t *testing.T) {
	var inner, m Proto
	inner.Float(2, 1.5)
	m.String(1, "a")
	m.String(1, "")
	m.Bytes(2, []byte{7})
	m.Int(3, -1)
	m.Int(3, 0)
	m.Bool(4, true)
	m.Bool(4, false)
	m.Float(5, 0)
	m.Message(6, inner)
	m.Message(7, nil)
	got := ""
	err := Fields(m, func(f Field) error {
		got += fmt.Sprintf("%d:%d:%x ", f.Number, int64(f.Num), f.Data)
		if f.Number == 6 {
			return Fields(f.Data, func(f Field) error {
				got += fmt.Sprint(f.Float(), " ")
				return nil
			})
		}
		return nil
	})
	if want := "1:0:61 2:0:07 3:-1: 4:1: 6:0:150000c03f 1.5 7:0: "; err != nil || got != want {
		t.Errorf("%q, %v", got, err)
	}
	// Fields of other kinds: 64 bits, and a group.
	if err := Fields([]byte{0x09, 1, 0, 0, 0, 0, 0, 0, 0, 0x13, 0x08, 1, 0x14}, func(Field) error { return nil }); err != nil {
		t.Error(err)
	}
	stop := errors.New("stop")
	if err := Fields(m, func(Field) error { return stop }); err != stop {
		t.Error(err)
	}
}

func FuzzFields(f *testing.F) {
	f.Add([]byte{0x0a, 0x05, 'a'})
	f.Add([]byte{0xff})
	f.Add([]byte{0x0b})
	f.Fuzz(func(t *testing.T, b []byte) {
		n := 0
		_ = Fields(b, func(Field) error {
			n++
			return nil
		})
		if n > len(b) {
			t.Errorf("%d fields in %d bytes", n, len(b))
		}
	})
}
