package moonshine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	data "github.com/parley-go/parley/models/moonshine"
	"github.com/parley-go/parley/plugins/moonshine/internal/tiny"
)

// loaded holds the models of this process, so that every user of the same files shares them.
var loaded models

// models are the models that are in use, by folder; "" is the embedded one.
type models struct {
	mu  sync.Mutex
	dir map[string]*entry
}

// entry is one model, loaded or being loaded.
type entry struct {
	load func() (*tiny.Model, error)
}

// get returns the model of a folder. The first caller loads it, those who come meanwhile wait. A
// model that failed is tried again by the next caller, since files can be mended.
func (m *models) get(dir string) (*tiny.Model, error) {
	m.mu.Lock()
	e := m.dir[dir]
	if e == nil {
		e = &entry{load: sync.OnceValues(func() (*tiny.Model, error) { return load(dir) })}
		if m.dir == nil {
			m.dir = make(map[string]*entry)
		}
		m.dir[dir] = e
	}
	m.mu.Unlock()

	model, err := e.load()
	if err != nil {
		m.forget(dir, e)
	}
	return model, err
}

// forget removes e unless somebody has replaced it.
func (m *models) forget(dir string, e *entry) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.dir[dir] == e {
		delete(m.dir, dir)
	}
}

func load(dir string) (*tiny.Model, error) {
	files := tiny.Files{Encoder: data.Encoder(), Decoder: data.Decoder(), Vocabulary: data.Vocabulary()}
	if dir != "" {
		var err error
		if files, err = read(dir, files.Vocabulary); err != nil {
			return nil, fmt.Errorf("load moonshine: %w", err)
		}
	}
	m, err := tiny.Load(files)
	if err != nil {
		return nil, fmt.Errorf("load moonshine: %w", named(dir, err))
	}
	return m, nil
}

// read reads the files of a folder. Without a vocabulary in it the given one is used.
func read(dir, vocabulary string) (f tiny.Files, err error) {
	if f.Encoder, err = readFile(dir, data.EncoderFile); err != nil {
		return f, err
	}
	if f.Decoder, err = readFile(dir, data.DecoderFile); err != nil {
		return f, err
	}
	f.Vocabulary, err = readFile(dir, data.VocabularyFile)
	if errors.Is(err, fs.ErrNotExist) {
		f.Vocabulary, err = vocabulary, nil
	}
	return f, err
}

func readFile(dir, name string) (string, error) {
	b, err := os.ReadFile(filepath.Join(dir, name)) // its error names the file
	return string(b), err
}

// named puts the path of the broken file in front of the error.
func named(dir string, err error) error {
	var part *tiny.PartError
	if dir == "" || !errors.As(err, &part) {
		return err
	}
	name := map[string]string{
		"encoder": data.EncoderFile, "decoder": data.DecoderFile, "vocabulary": data.VocabularyFile,
	}[part.Part]
	return fmt.Errorf("%s: %w", filepath.Join(dir, name), part.Err)
}
