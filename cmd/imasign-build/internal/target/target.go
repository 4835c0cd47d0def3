// Package target finds out which kernels a container's files are for, which portable EVM
// signatures depend on. It reads the headers of ELF files. Signing and selection are left
// to others.
package target

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/selection"
	"github.com/imasign/imasign-build/internal/compress"
	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/signing"
)

// Errors of Detect.
var (
	// ErrConflict means that files of a container are for different kernels.
	ErrConflict = errors.New("files for different kernels")
	// ErrUnknown means that a container has no ELF file, or one for a machine that EVM
	// signatures cannot be made for.
	ErrUnknown = errors.New("no ELF file tells which kernel the files are for")
)

// Found is the result of Detect.
type Found struct {
	ima.EVMTarget

	Path string // the file that decided
	// Module reports whether that is a kernel module. If not, a 32-bit target is a guess:
	// 64-bit kernels run 32-bit programs, too.
	Module bool
}

// Detect returns the word size and byte order of the kernels that the regular files of a
// container are for. Kernel modules decide. Without any, all programs and shared libraries
// must agree, or the error wraps ErrConflict. Files with other content are not read beyond
// their first bytes.
func Detect(ctx context.Context, src signing.Source) (Found, error) {
	var programs, modules found
	for e, err := range src.Entries(ctx) {
		if err != nil {
			return Found{}, err
		}
		module := selection.IsModule(e.Path)
		if e.Open == nil || !module && e.Mode&0o111 == 0 && !strings.Contains(path.Base(e.Path), ".so") {
			continue
		}
		header, err := read(ctx, &e)
		if err != nil {
			return Found{}, err
		}
		if module {
			modules.add(e.Path, header)
		} else {
			programs.add(e.Path, header)
		}
	}
	if modules.first.path != "" {
		return modules.result(true)
	}
	return programs.result(false)
}

// headerSize is the number of bytes of a file that are looked at: those of the longest
// ELF header.
const headerSize = 64

// read returns the first bytes of a file, or all if it is short. A compressed module is
// decompressed.
func read(ctx context.Context, e *signing.Entry) (header []byte, err error) {
	f, err := e.Open(ctx)
	var not signing.Unselected
	if errors.As(err, &not) { // a selection by content, which is not an ELF file
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	var content io.Reader = f
	if selection.IsModule(e.Path) {
		_, unpacked, stop, err := compress.Files().Open(bufio.NewReader(f))
		if err != nil {
			return nil, fmt.Errorf("%s: decompress: %w", e.Path, err)
		}
		defer stop()
		content = unpacked
	}
	header = make([]byte, headerSize)
	n, err := io.ReadFull(content, header)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil
	}
	return header[:n], err
}
