package onnx

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func mustParse(t *testing.T, file string) *Graph {
	t.Helper()
	g, err := Parse(file)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func TestParseReadsNodesAndAttributes(t *testing.T) {
	g := mustParse(t, sampleFile())
	if len(g.Nodes) != 2 || !slices.Equal(g.Inputs, []string{"x"}) || !slices.Equal(g.Outputs, []string{"y", "z"}) {
		t.Fatalf("got %d nodes, inputs %v, outputs %v", len(g.Nodes), g.Inputs, g.Outputs)
	}
	n := g.Nodes[0]
	if n.Op != "Conv" || n.Name != "conv" || !slices.Equal(n.Inputs, []string{"x", "w"}) || !slices.Equal(n.Outputs, []string{"y"}) {
		t.Errorf("got node %+v", n)
	}
	if a := n.Attr("group"); a == nil || a.Int != 4 {
		t.Errorf("group: got %+v, want 4", a)
	}
	if a := n.Attr("strides"); a == nil || !slices.Equal(a.Ints, []int64{1, 2}) {
		t.Errorf("packed integers: got %+v, want [1 2]", a)
	}
	if a := n.Attr("pads"); a == nil || !slices.Equal(a.Ints, []int64{3, 4}) {
		t.Errorf("integers one by one: got %+v, want [3 4]", a)
	}
	if a := n.Attr("dilations"); a != nil {
		t.Errorf("attribute that is not there: got %+v", a)
	}
}

func TestTensorsInEveryForm(t *testing.T) {
	g := mustParse(t, sampleFile())
	tensor := func(name string) *Tensor {
		t.Helper()
		x, err := g.Tensor(name)
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	if v, err := tensor("w").Float32s(); err != nil || !slices.Equal(v, []float32{1, 2, 3, 4, 5, 6}) {
		t.Errorf("raw floats: got %v, %v", v, err)
	}
	if raw, ok := tensor("w").Raw(); !ok || raw != string(floatBytes(1, 2, 3, 4, 5, 6)) {
		t.Errorf("raw bytes: got %q, %v", raw, ok)
	}
	if v, err := tensor("b").Float32s(); err != nil || !slices.Equal(v, []float32{-1, 0.5}) {
		t.Errorf("packed floats: got %v, %v", v, err)
	}
	if _, ok := tensor("b").Raw(); ok {
		t.Error("a tensor of packed floats claims to have raw bytes")
	}
	if v, err := tensor("zero").Int8s(); err != nil || !slices.Equal(v, []int8{-7}) {
		t.Errorf("scalar int8 as a varint: got %v, %v", v, err)
	}
	if v, err := tensor("scale").Uint8s(); err != nil || !slices.Equal(v, []uint8{0, 128, 255}) {
		t.Errorf("uint8 as varints: got %v, %v", v, err)
	}
	if v, err := tensor("shape").Int64s(); err != nil || !slices.Equal(v, []int64{-1, 1 << 40}) {
		t.Errorf("int64 as varints: got %v, %v", v, err)
	}
	if err := tensor("w").Check(Float32, 2, 3); err != nil {
		t.Error(err)
	}
	err := tensor("w").Check(Float32, 3, 2)
	if want := `tensor "w": want float32 [3 2], found float32 [2 3]`; err == nil || err.Error() != want {
		t.Errorf("wrong shape: got %v, want %s", err, want)
	}
	if _, err := tensor("w").Int8s(); err == nil {
		t.Error("floats were read as int8")
	}
	if _, err := g.Tensor("inner"); err == nil {
		t.Error("a tensor of a sub-graph was found in the outer graph")
	}
}

func TestSubGraphs(t *testing.T) {
	var names []string
	depth := 0
	for g := range mustParse(t, sampleFile()).Graphs() {
		depth++
		for c := range g.Constants() {
			names = append(names, c.Name)
		}
		if x, err := g.Tensor("axes"); err == nil {
			if v, err := x.Int64s(); err != nil || !slices.Equal(v, []int64{-1}) {
				t.Errorf("constant node: got %v, %v", v, err)
			}
		}
	}
	if want := []string{"w", "b", "zero", "scale", "shape", "inner", "axes"}; depth != 2 || !slices.Equal(names, want) {
		t.Errorf("got %d graphs with %v, want 2 with %v", depth, names, want)
	}
}

func nested(levels int) string {
	g := msg{}.text(2, "deepest")
	for range levels - 1 {
		g = msg{}.bytes(1, msg{}.bytes(5, msg{}.text(1, "body").bytes(6, g)))
	}
	return file(g)
}

func TestNestingIsLimited(t *testing.T) {
	if _, err := Parse(nested(maxDepth)); err != nil {
		t.Errorf("%d levels: %v", maxDepth, err)
	}
	if _, err := Parse(nested(maxDepth + 1)); err == nil || !strings.Contains(err.Error(), "nested deeper") {
		t.Errorf("%d levels: got %v, want an error about nesting", maxDepth+1, err)
	}
}

func TestMalformedFiles(t *testing.T) {
	tensorFile := func(m msg) string { return file(msg{}.bytes(5, m)) }
	for name, in := range map[string]string{
		"empty":                      "",
		"no graph":                   string(msg{}.num(1, 8)),
		"group wire type":            string(msg{}.key(7, 3)),
		"graph as an integer":        string(msg{}.num(7, 1)),
		"length over the end":        string(msg{}.key(7, wireBytes)) + "\x05abc",
		"length of 64 bits":          string(binary.AppendUvarint(msg{}.key(7, wireBytes), math.MaxUint64)),
		"endless varint":             strings.Repeat("\x80", 20),
		"varint over 64 bits":        string(msg{}.key(1, wireVarint)) + "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02",
		"text with a number":         file(msg{}.bytes(1, msg{}.num(4, 1))),
		"number with a text":         file(msg{}.bytes(1, msg{}.bytes(5, msg{}.text(3, "x")))),
		"node as a number":           file(msg{}.num(1, 1)),
		"input as a number":          file(msg{}.num(11, 1)),
		"negative dim":               tensorFile(msg{}.num(1, -1)),
		"dims that overflow":         tensorFile(msg{}.packed(1, 1<<20, 1<<20, 1<<20, 1<<20)),
		"too many dims":              tensorFile(msg{}.packed(1, 1, 1, 1, 1, 1, 1, 1, 1, 1)),
		"packed dim is cut":          tensorFile(msg{}.bytes(1, []byte{0x80})),
		"packed floats of 5 bytes":   tensorFile(msg{}.bytes(4, make([]byte, 5))),
		"floats with a wrong type":   tensorFile(msg{}.num(4, 1)),
		"integers with wrong type":   tensorFile(append(msg{}.key(5, wire32), 0, 0, 0, 0)),
		"tensor in attribute is cut": file(msg{}.bytes(1, msg{}.bytes(5, msg{}.bytes(5, []byte{0x42, 9})))),
	} {
		if _, err := Parse(in); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestValuesThatDoNotFitTheirTensor(t *testing.T) {
	for name, m := range map[string]msg{
		"too few raw floats":    msg{}.num(1, 3).num(2, int64(Float32)).bytes(9, floatBytes(1, 2)),
		"too many packed":       msg{}.num(1, 1).num(2, int64(Float32)).bytes(4, floatBytes(1, 2)),
		"no values":             msg{}.num(1, 3).num(2, int64(Float32)),
		"int8 of 200":           msg{}.num(1, 1).num(2, int64(Int8)).packed(5, 200),
		"uint8 of -1":           msg{}.num(1, 1).num(2, int64(Uint8)).packed(5, -1),
		"too few varints":       msg{}.num(1, 2).num(2, int64(Uint8)).packed(5, 1),
		"varint is cut":         msg{}.num(1, 1).num(2, int64(Uint8)).bytes(5, []byte{0x80}),
		"too many raw bytes":    msg{}.num(1, 1).num(2, int64(Int8)).bytes(9, []byte{1, 2}),
		"too few raw int64":     msg{}.num(1, 1).num(2, int64(Int64)).bytes(9, make([]byte, 7)),
		"a type without reader": msg{}.num(1, 1).num(2, 11).bytes(9, make([]byte, 8)),
	} {
		g, err := Parse(file(msg{}.bytes(5, m.text(8, "x"))))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if err := readAll(g); err == nil || !strings.Contains(err.Error(), `"x"`) {
			t.Errorf("%s: got %v, want an error that names the tensor", name, err)
		}
	}
}

// readAll reads the values of every tensor by its own type and returns the last error.
func readAll(g *Graph) (last error) {
	for g := range g.Graphs() {
		for x := range g.Constants() {
			var err error
			switch x.Type {
			case Uint8:
				_, err = x.Uint8s()
			case Int8:
				_, err = x.Int8s()
			case Int64:
				_, err = x.Int64s()
			default:
				_, err = x.Float32s()
			}
			if raw, ok := x.Raw(); ok && len(raw) != x.Len()*x.Type.size() {
				panic("raw bytes of another length than the dims")
			}
			if err != nil {
				last = err
			}
		}
	}
	return last
}

func TestEveryCutOfAFileIsAnError(t *testing.T) {
	whole := sampleFile()
	for n := range len(whole) {
		if _, err := Parse(whole[:n]); err == nil {
			t.Errorf("cut at byte %d of %d: no error", n, len(whole))
		}
	}
}

func TestMutatedFilesDoNotPanic(t *testing.T) {
	whole := []byte(sampleFile())
	rng := rand.New(rand.NewPCG(1, 2))
	broken := 0
	for range 20_000 {
		b := slices.Clone(whole)
		for range 1 + rng.IntN(4) {
			b[rng.IntN(len(b))] = byte(rng.Uint32())
		}
		g, err := Parse(string(b))
		if err != nil || readAll(g) != nil {
			broken++
		}
	}
	if broken == 0 {
		t.Error("no mutation was found to be broken")
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(sampleFile()))
	f.Add([]byte(nested(maxDepth + 1)))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		g, err := Parse(string(b))
		if (g == nil) == (err == nil) {
			t.Fatalf("graph %v with error %v", g, err)
		}
		if g != nil {
			_ = readAll(g) // must not panic
		}
	})
}
