// Package tiny runs Moonshine tiny: an encoder and a decoder that turn one utterance of English,
// 16 kHz, into text.
//
// Activations are floats throughout. The published graph rounds them to bytes before every linear
// layer, which is slower here and no better.
package tiny

import (
	"fmt"

	"github.com/parley-go/parley/internal/onnx"
)

// The sizes of the network.
const (
	width      = 288
	heads      = 8
	headWidth  = 36
	headStride = 40 // a head's values with zeros up to a multiple of kernel.Lanes
	layers     = 6
	feed       = 1152
	tokens     = 32768
	rotated    = 32 // of the values of a head
	pairs      = rotated / 2

	conv1Taps, conv1Stride = 127, 64
	conv1Row               = 128 // taps with a zero up to a multiple of kernel.Lanes
	conv2Width             = 576
	conv2Taps, conv2Stride = 7, 3
	conv3Taps, conv3Stride = 3, 2
)

const (
	// Rate is the sample rate of the audio, in Hz.
	Rate = 16000
	// MinSamples is the shortest audio that is listened to, 0.2 s. Shorter audio has no text.
	MinSamples = Rate / 5
	// MaxSamples is the longest audio of one run, 24 s.
	MaxSamples = 24 * Rate
	// maxFrames is the number of encoder frames of MaxSamples: one in 384 samples.
	maxFrames = MaxSamples / 384
)

// Model holds the weights. It is immutable and safe for concurrent use.
type Model struct {
	enc      encoder
	dec      decoder
	rotation []float32 // pairs of cosine and sine, [position][pairs][2]
	pieces   []string
}

// encoder is the part that listens.
type encoder struct {
	conv1, conv2, conv3   matrix
	conv2Bias, conv3Bias  []float32
	groupScale, groupBias []float32
	layers                [layers]encoderLayer
	norm                  []float32
}

type encoderLayer struct {
	inputNorm, feedNorm []float32
	qkv, dense          matrix
	fc1, fc2            matrix
	fc1Bias, fc2Bias    []float32
}

// decoder is the part that writes.
type decoder struct {
	embedding bytesMatrix // also the output matrix
	layers    [layers]decoderLayer
	norm      []float32
}

type decoderLayer struct {
	inputNorm, crossNorm, feedNorm []float32
	q, k, v, dense                 bytesMatrix
	crossQ, crossDense             bytesMatrix
	crossKV                        matrix // runs over the frames, as the encoder does
	up, down                       bytesMatrix
	upBias, downBias               []float32
}

// Files are the contents of the three files of a model.
type Files struct{ Encoder, Decoder, Vocabulary string }

// PartError says which of the files is broken.
type PartError struct {
	Part string // "encoder", "decoder" or "vocabulary"
	Err  error
}

func (e *PartError) Error() string { return e.Part + ": " + e.Err.Error() }

func (e *PartError) Unwrap() error { return e.Err }

// Load checks the files and prepares the weights, which takes 40 ms and 55 MB. The error is a *PartError.
func Load(f Files) (*Model, error) {
	m := &Model{}
	if err := m.loadEncoder(f.Encoder); err != nil {
		return nil, &PartError{"encoder", err}
	}
	if err := m.dec.load(f.Decoder); err != nil {
		return nil, &PartError{"decoder", err}
	}
	var err error
	if m.pieces, err = splitVocabulary(f.Vocabulary); err != nil {
		return nil, &PartError{"vocabulary", err}
	}
	return m, nil
}

func (m *Model) loadEncoder(file string) error {
	g, err := onnx.Parse(file)
	if err != nil {
		return err
	}
	r := newReader(g, g, "")
	m.rotation = rotationTable(r.floats("/rotary_emb/Cast_1_output_0", 1, pairs, 1))
	e := &m.enc
	e.conv1 = r.convolution("conv1", width, 1, conv1Taps, conv1Row)
	e.conv2 = r.convolution("conv2", conv2Width, width, conv2Taps, conv2Taps*width)
	e.conv3 = r.convolution("conv3", width, conv2Width, conv3Taps, conv3Taps*conv2Width)
	e.conv2Bias = r.weight("conv2.bias", conv2Width)
	e.conv3Bias = r.weight("conv3.bias", width)
	e.groupScale = r.floats("onnx::Mul_1488", width, 1)
	e.groupBias = r.floats("onnx::Add_1489", width, 1)
	for i := range e.layers {
		l, name := &e.layers[i], fmt.Sprintf("layers.%d.", i)
		path := fmt.Sprintf("/layers.%d/", i)
		l.inputNorm = r.weight(name+"input_layernorm.weight", width)
		l.feedNorm = r.weight(name+"post_attention_layernorm.weight", width)
		l.qkv = r.stack(width, width, path+"self_attn/q_proj", path+"self_attn/k_proj", path+"self_attn/v_proj")
		l.dense = r.linear(path+"self_attn/dense", width, width)
		l.fc1 = r.linear(path+"mlp/fc1", feed, width)
		l.fc2 = r.linear(path+"mlp/fc2", width, feed)
		l.fc1Bias = r.weight(name+"mlp.fc1.bias", feed)
		l.fc2Bias = r.weight(name+"mlp.fc2.bias", width)
	}
	e.norm = r.weight("layer_norm.weight", width)
	return r.err
}

func (d *decoder) load(file string) error {
	g, err := onnx.Parse(file)
	if err != nil {
		return err
	}
	branch := withoutCache(g)
	if branch == nil {
		return fmt.Errorf("no else_branch in the graph")
	}
	r := newReader(g, branch, "_merged_0")
	d.embedding = r.embedding("model.decoder.embed_tokens.weight_merged_0", tokens, width)
	for i := range d.layers {
		l, name := &d.layers[i], fmt.Sprintf("model.decoder.layers.%d.", i)
		path := fmt.Sprintf("/model/decoder/layers.%d/", i)
		l.inputNorm = r.weight(name+"input_layernorm.weight", width)
		l.crossNorm = r.weight(name+"post_attention_layernorm.weight", width)
		l.feedNorm = r.weight(name+"final_layernorm.weight", width)
		l.q = r.quantised(path+"self_attn/q_proj", width, width)
		l.k = r.quantised(path+"self_attn/k_proj", width, width)
		l.v = r.quantised(path+"self_attn/v_proj", width, width)
		l.dense = r.quantised(path+"self_attn/dense", width, width)
		l.crossQ = r.quantised(path+"encoder_attn/q_proj", width, width)
		l.crossDense = r.quantised(path+"encoder_attn/dense", width, width)
		l.crossKV = r.stack(width, width, path+"encoder_attn/k_proj", path+"encoder_attn/v_proj")
		l.up = r.quantised(path+"mlp/up_proj", 2*feed, width)
		l.down = r.quantised(path+"mlp/down_proj", width, feed)
		l.upBias = r.weight(name+"mlp.up_proj.bias", 2*feed)
		l.downBias = r.weight(name+"mlp.down_proj.bias", width)
	}
	d.norm = r.weight("model.decoder.norm.weight", width)
	return r.err
}

// withoutCache is the branch of the decoder that names every layer: the one for the first token.
func withoutCache(g *onnx.Graph) *onnx.Graph {
	for _, n := range g.Nodes {
		if n.Op != "If" {
			continue
		}
		if a := n.Attr("else_branch"); a != nil && a.Graph != nil {
			return a.Graph
		}
	}
	return nil
}
