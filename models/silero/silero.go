// Package silero embeds the weights of the Silero voice activity detector, version 6, for audio
// at 16 kHz.
//
// It is data only: github.com/parley-go/parley/plugins/silero runs the model. The weights are under
// the MIT licence, see LICENSE and NOTICE beside this file.
package silero

import _ "embed"

//go:embed silero_vad_16k_op15.onnx
var weights string

// FileName is the name of the embedded file in its package of origin.
const FileName = "silero_vad_16k_op15.onnx"

// Weights returns the ONNX file, 1.3 MB. It is shared memory of the program and not copied.
func Weights() string { return weights }
