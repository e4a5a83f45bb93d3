package blob

import (
	"bytes"
	"io"
	"os"
)

type bytesReader struct{ *bytes.Reader }

func (bytesReader) Close() error { return nil }

func memReader(b []byte) Reader { return bytesReader{bytes.NewReader(b)} }

// sectionReader reads a ReaderAt of known length and closes what is below.
type sectionReader struct {
	*io.SectionReader
	below io.Closer
}

func (s sectionReader) Close() error { return s.below.Close() }

// File returns the operating system's file under a reader, or nil.
func File(r Reader) *os.File {
	if f, ok := r.(interface{ File() *os.File }); ok {
		return f.File()
	}
	return nil
}
