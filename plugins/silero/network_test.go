package silero

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/parley-go/parley/internal/golden"
	"github.com/parley-go/parley/internal/onnx"
)

func TestBrokenModelFiles(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	whole := embeddedFile()
	for path, want := range map[string]string{
		filepath.Join(dir, "missing.onnx"):                            "no such file",
		write("empty.onnx", ""):                                       "no graph",
		write("text.onnx", "This is no model."):                       "parse onnx file",
		write("cut.onnx", whole[:len(whole)/2]):                       "ends inside a field",
		write("renamed.onnx", replace(whole, "rnn.bias", "xxx.bias")): "no tensor with a name that ends in decoder.rnn.bias_ih",
	} {
		_, err := NewDetector(&Options{ModelPath: path})
		if err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), want) ||
			strings.Contains(err.Error(), "\n") {
			t.Errorf("got %v, want one line with the path and %q", err, want)
		}
		m := New(&Options{ModelPath: path})
		if _, err := m.NewStream(t.Context()); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("NewStream after New: got %v, want an error that names the file", err)
		}
		if m.Info().Model != "silero" {
			t.Errorf("info of a broken model: %+v", m.Info())
		}
	}
}

func replace(s, old, with string) string { return strings.ReplaceAll(s, old, with) }

func TestModelFileOfTheSameWeights(t *testing.T) {
	path := filepath.Join(t.TempDir(), "model.onnx")
	if err := os.WriteFile(path, []byte(embeddedFile()), 0o600); err != nil {
		t.Fatal(err)
	}
	in := mono16k(golden.Samples(t, "flite_awb_yes.wav"))
	want := describe(feed(t, newStream(t, nil), in, 160))
	if got := describe(feed(t, newStream(t, &Options{ModelPath: path}), in, 160)); got != want {
		t.Error("the same weights from a file have other events")
	}
}

// message is a protobuf message in the making.
type message []byte

func (m message) num(id int, v int) message {
	return binary.AppendUvarint(binary.AppendUvarint(m, uint64(id<<3)), uint64(v))
}

func (m message) text(id int, b string) message {
	m = binary.AppendUvarint(binary.AppendUvarint(m, uint64(id<<3|2)), uint64(len(b)))
	return append(m, b...)
}

func floatTensor(name string, data []float32, dims ...int) message {
	var m message
	for _, d := range dims {
		m = m.num(1, d)
	}
	var raw bytes.Buffer
	for _, v := range data {
		raw.Write(binary.LittleEndian.AppendUint32(nil, math.Float32bits(v)))
	}
	return m.num(2, 1).text(8, name).text(9, raw.String())
}

// constant is a Constant node that holds the tensor.
func constant(name string, tensor message) message {
	return message{}.text(2, name).text(4, "Constant").text(5, string(message{}.text(1, "value").text(5, string(tensor))))
}

func TestTwoRateFileIsReadFromItsBranches(t *testing.T) {
	g, err := onnx.Parse(embeddedFile())
	if err != nil {
		t.Fatal(err)
	}
	// The 8 kHz branch comes first and has tensors of the same name endings.
	small := message{}.text(5, string(floatTensor("else_"+basisName, make([]float32, 130*128), 130, 1, 128))).
		text(5, string(floatTensor("else_decoder.decoder.2.bias", []float32{9}, 1)))
	var large message
	for x := range g.Constants() {
		if x.Type != onnx.Float32 || x.Len() < 1 || !strings.HasPrefix(x.Name, "model.") {
			continue
		}
		v, err := x.Float32s()
		if err != nil {
			t.Fatal(err)
		}
		name := "then_" + strings.TrimPrefix(x.Name, "model.")
		large = large.text(1, string(constant(name, floatTensor("", v, x.Dims...))))
	}
	node := message{}.text(4, "If").
		text(5, string(message{}.text(1, "else_branch").text(6, string(small)))).
		text(5, string(message{}.text(1, "then_branch").text(6, string(large))))
	n, err := parseNetwork(string(message{}.text(7, string(message{}.text(1, string(node))))))
	if err != nil {
		t.Fatal(err)
	}
	in := golden.Floats(t, "flite_awb_yes.wav")
	var a, b state
	if !slices.Equal(probabilities(n, &a, in), probabilities(embeddedNetwork(t), &b, in)) {
		t.Error("probabilities differ from those of the file for one rate")
	}
	_, err = parseNetwork(string(message{}.text(7, string(small))))
	if want := `tensor "else_stft.forward_basis_buffer": want float32 [258 1 256], found float32 [130 1 128]`; err == nil || err.Error() != want {
		t.Errorf("8 kHz alone: got %v, want %s", err, want)
	}
}

func TestWeightsMustBeFinite(t *testing.T) {
	b := []byte(embeddedFile())
	g, err := onnx.Parse(embeddedFile())
	if err != nil {
		t.Fatal(err)
	}
	x, err := g.Tensor("model.decoder.rnn.bias_hh")
	if err != nil {
		t.Fatal(err)
	}
	raw, ok := x.Raw()
	if !ok {
		t.Fatal("the bias is not stored as raw bytes")
	}
	at := strings.Index(string(b), raw)
	copy(b[at:], []byte{0, 0, 0xc0, 0x7f})
	if _, err := parseNetwork(string(b)); err == nil || !strings.Contains(err.Error(), "NaN") {
		t.Errorf("got %v, want an error about NaN", err)
	}
}

// mutate writes with over the file at a place, and cuts it.
func mutate(at, cut uint32, with []byte) string {
	b := []byte(embeddedFile())
	copy(b[int(at)%len(b):], with)
	return string(b[:len(b)-int(cut)%len(b)])
}

// checkMutant fails the test if the file is neither refused nor usable.
func checkMutant(t *testing.T, file string) (refused bool) {
	t.Helper()
	n, err := parseNetwork(file)
	if (n == nil) == (err == nil) {
		t.Fatalf("network %v with error %v", n, err)
	}
	if n != nil {
		var s state
		n.step(&s, make([]float32, windowLen)) // must not panic
	}
	return err != nil
}

// structure lists places of the file that are not weights: where tensors are described.
func structure() (out []int) {
	file := embeddedFile()
	for at := 0; ; {
		i := strings.Index(file[at:], "model.")
		if i < 0 {
			return out
		}
		at += i + 1
		for p := max(0, at-20); p < min(at+60, len(file)); p++ {
			out = append(out, p)
		}
	}
}

func TestMutatedModelsDoNotPanic(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	places := structure()
	refused := 0
	for range 150 {
		at := places[rng.IntN(len(places))]
		if checkMutant(t, mutate(uint32(at), 0, []byte{byte(rng.Uint32())})) {
			refused++
		}
	}
	if refused < 20 {
		t.Errorf("%d of 150 mutated models were refused, want more", refused)
	}
	for range 40 {
		if !checkMutant(t, mutate(0, 1+uint32(rng.IntN(len(embeddedFile())-1)), nil)) {
			t.Error("a cut model was accepted")
		}
	}
}

func FuzzModel(f *testing.F) {
	f.Add(uint32(0), uint32(0), []byte{})
	f.Add(uint32(0), uint32(100), []byte{})
	for i, at := range structure() {
		if i%97 == 0 {
			f.Add(uint32(at), uint32(0), []byte{0xff, 0x01})
		}
	}
	f.Fuzz(func(t *testing.T, at, cut uint32, with []byte) { checkMutant(t, mutate(at, cut, with)) })
}
