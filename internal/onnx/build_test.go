package onnx

import (
	"encoding/binary"
	"math"
)

// msg builds the wire form of a message in tests.
type msg []byte

func (m msg) key(id, wire int) msg { return binary.AppendUvarint(m, uint64(id<<3|wire)) }

func (m msg) num(id int, v int64) msg {
	return binary.AppendUvarint(m.key(id, wireVarint), uint64(v))
}

func (m msg) bytes(id int, b []byte) msg {
	return append(binary.AppendUvarint(m.key(id, wireBytes), uint64(len(b))), b...)
}

func (m msg) text(id int, s string) msg { return m.bytes(id, []byte(s)) }

func (m msg) packed(id int, vs ...int64) msg {
	var b []byte
	for _, v := range vs {
		b = binary.AppendUvarint(b, uint64(v))
	}
	return m.bytes(id, b)
}

func floatBytes(vs ...float32) []byte {
	var b []byte
	for _, v := range vs {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
	}
	return b
}

// file wraps a graph message into a model message.
func file(graph msg) string { return string(msg{}.num(1, 8).text(2, "test").bytes(7, graph)) }

// sampleFile has every kind of thing that the reader knows.
func sampleFile() string {
	weights := msg{}.packed(1, 2, 3).num(2, int64(Float32)).text(8, "w").
		bytes(9, floatBytes(1, 2, 3, 4, 5, 6))
	bias := msg{}.num(1, 2).num(2, int64(Float32)).text(8, "b").bytes(4, floatBytes(-1, 0.5))
	zero := msg{}.num(2, int64(Int8)).text(8, "zero").num(5, -7)
	scale := msg{}.num(1, 3).num(2, int64(Uint8)).text(8, "scale").packed(5, 0, 128, 255)
	shape := msg{}.num(1, 2).num(2, int64(Int64)).text(8, "shape").packed(7, -1, 1<<40)
	axes := msg{}.num(1, 1).num(2, int64(Int64)).bytes(9, []byte{255, 255, 255, 255, 255, 255, 255, 255})
	inner := msg{}.bytes(1, msg{}.text(2, "axes").text(4, "Constant").
		bytes(5, msg{}.text(1, "value").bytes(5, axes))).
		bytes(5, msg{}.num(1, 1).num(2, int64(Uint8)).text(8, "inner").bytes(9, []byte{200}))
	return file(msg{}.
		bytes(1, msg{}.text(1, "x").text(1, "w").text(2, "y").text(3, "conv").text(4, "Conv").
			bytes(5, msg{}.text(1, "group").num(3, 4)).
			bytes(5, msg{}.text(1, "strides").packed(8, 1, 2)).
			bytes(5, msg{}.text(1, "pads").num(8, 3).num(8, 4))).
		bytes(1, msg{}.text(4, "If").text(2, "z").
			bytes(5, msg{}.text(1, "then_branch").bytes(6, inner))).
		bytes(5, weights).bytes(5, bias).bytes(5, zero).bytes(5, scale).bytes(5, shape).
		bytes(11, msg{}.text(1, "x")).bytes(12, msg{}.text(1, "y")).bytes(12, msg{}.text(1, "z")))
}
