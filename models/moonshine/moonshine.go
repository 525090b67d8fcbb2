// Package moonshine holds the weights and the vocabulary of Moonshine tiny, an English
// speech-to-text model of 27 million parameters (28.5 MB). It is data only: package
// github.com/parley-go/parley/plugins/moonshine runs it. LICENSE and NOTICE say where the files
// come from.
package moonshine

import _ "embed" // for the files

// The files' names, as they are looked for in a folder that replaces them.
const (
	EncoderFile    = "encoder_model.onnx"
	DecoderFile    = "decoder_model_merged.onnx"
	VocabularyFile = "vocabulary.txt"
)

// Strings, not byte slices: they live in the read-only part of the program.
var (
	//go:embed encoder_model.onnx
	encoder string
	//go:embed decoder_model_merged.onnx
	decoder string
	//go:embed vocabulary.txt
	vocabulary string
)

// Encoder is the ONNX file of the encoder.
func Encoder() string { return encoder }

// Decoder is the ONNX file of the decoder.
func Decoder() string { return decoder }

// Vocabulary is the list of token pieces, 32,000 lines in the order of their ids.
func Vocabulary() string { return vocabulary }
