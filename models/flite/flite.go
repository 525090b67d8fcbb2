// Package flite embeds the speech synthesiser flite of Carnegie Mellon University, compiled to
// WebAssembly (WASI preview 1), with its voices for English.
//
// It is data only: github.com/parley-go/parley/plugins/flite runs the module. flite is free
// software under several equally free licences, see LICENSE and NOTICE beside this file.
package flite

import (
	"bytes"
	"compress/gzip"
	_ "embed"
	"fmt"
	"io"
	"strings"
)

//go:embed flite.wasm.gz
var compressed string

// FileName is the name of the module in its package of origin.
const FileName = "flite.wasm"

// size is the length of the module in bytes.
const size = 21_530_456

// Module unpacks the module, 21.5 MB, which takes about 0.1 s. Every call makes a new copy that the
// caller owns. It may be called concurrently. An error means that the program itself is damaged.
func Module() ([]byte, error) {
	r, err := gzip.NewReader(strings.NewReader(compressed))
	if err != nil {
		return nil, fmt.Errorf("unpack %s: %w", FileName, err)
	}
	out := bytes.NewBuffer(make([]byte, 0, size+bytes.MinRead))
	if _, err := io.Copy(out, r); err != nil {
		return nil, fmt.Errorf("unpack %s: %w", FileName, err)
	}
	return out.Bytes(), nil
}
