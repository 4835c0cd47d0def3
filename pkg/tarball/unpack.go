package tarball

import (
	"bufio"
	"io"

	"github.com/klauspost/compress/gzip"
)

// Unpack returns what r holds decompressed, if its first bytes say that it is compressed;
// content is nil where they do not. stop frees what decompressing takes. A Read that
// wants more memory than archives get ends with [ErrTooLarge] or the decompressor's own
// error.
func Unpack(r *bufio.Reader) (content io.Reader, stop func(), err error) {
	head, _ := r.Peek(6) // fewer bytes are no magic
	switch c := recognise(head); c {
	case None:
		return nil, func() {}, nil
	case Gzip: // pgzip takes megabytes for each of the many small files
		z, err := gzip.NewReader(r)
		if err != nil {
			return nil, nil, decompressError(c, err)
		}
		return z, func() {}, nil
	default:
		return decompress(r, c)
	}
}
