package flite

import (
	"io/fs"
	"path"

	experimental "github.com/tetratelabs/wazero/experimental/sys"
	"github.com/tetratelabs/wazero/sys"
)

// maxFile bounds the file that a run may write: 17 minutes of audio.
const maxFile = 32 << 20

// memFS is the file system of one run: a folder with at most a handful of files, in memory. A run
// is one goroutine, so there is no lock.
type memFS struct {
	experimental.UnimplementedFS
	files map[string]*memFile
}

const maxFiles = 4

// OpenFile implements sys.FS.
func (m *memFS) OpenFile(name string, flag experimental.Oflag, _ fs.FileMode) (experimental.File, experimental.Errno) {
	name = path.Clean("/" + name)
	if name == "/" {
		return &memDir{}, 0
	}
	f := m.files[name]
	switch {
	case f == nil && flag&experimental.O_CREAT == 0:
		return nil, experimental.ENOENT
	case f == nil && len(m.files) == maxFiles:
		return nil, experimental.EACCES
	case f == nil:
		f = &memFile{}
		if m.files == nil {
			m.files = make(map[string]*memFile)
		}
		m.files[name] = f
	case flag&experimental.O_TRUNC != 0:
		f.data = f.data[:0]
	}
	return f, 0
}

// Stat implements sys.FS.
func (m *memFS) Stat(name string) (sys.Stat_t, experimental.Errno) {
	name = path.Clean("/" + name)
	if name == "/" {
		return (&memDir{}).Stat()
	}
	if f := m.files[name]; f != nil {
		return f.Stat()
	}
	return sys.Stat_t{}, experimental.ENOENT
}

// Lstat implements sys.FS.
func (m *memFS) Lstat(name string) (sys.Stat_t, experimental.Errno) { return m.Stat(name) }

// take returns what was written to a file, nil if nothing was.
func (m *memFS) take(name string) []byte {
	if f := m.files["/"+name]; f != nil {
		return f.data
	}
	return nil
}

// memDir is the root folder.
type memDir struct{ experimental.UnimplementedFile }

func (*memDir) IsDir() (bool, experimental.Errno) { return true, 0 }

func (*memDir) Stat() (sys.Stat_t, experimental.Errno) {
	return sys.Stat_t{Mode: fs.ModeDir | 0o700, Nlink: 1, Ino: 1}, 0
}

// memFile is a file that is only written, from start to end.
type memFile struct {
	experimental.UnimplementedFile
	data []byte
}

func (f *memFile) Stat() (sys.Stat_t, experimental.Errno) {
	return sys.Stat_t{Mode: 0o600, Nlink: 1, Ino: 2, Size: int64(len(f.data))}, 0
}

// Write implements sys.File. flite writes its file from start to end, so there is nothing to seek.
func (f *memFile) Write(p []byte) (int, experimental.Errno) {
	if len(f.data)+len(p) > maxFile {
		return 0, experimental.EIO
	}
	f.data = append(f.data, p...)
	return len(p), 0
}
