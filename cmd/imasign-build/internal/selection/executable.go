package selection

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/imasign/imasign-build/pkg/signing"
)

// notExecutable is the Reason of the files that Executable leaves out.
const notExecutable = "not executable"

// limit leaves the entry out unless it is executable. If only the content can tell, the
// decision waits until the file is opened to be digested. For a name of a hard link,
// limit opens the file itself: values are attached to the first name that is selected,
// and another name may be selected whatever the content is.
func limit(ctx context.Context, e *signing.Entry) error {
	switch {
	case selectedByName(e.Path, e.Mode):
	case e.Traits&signing.KnowsELF != 0:
		if e.Traits&signing.ELF == 0 {
			e.Reason = notExecutable
		}
	case e.Open == nil:
		return fmt.Errorf("%s: %w", e.Path, ErrUnknown)
	case e.Group == "":
		e.Open = onlyELF(e.Open)
	default:
		return examine(ctx, e)
	}
	return nil
}

// selectedByName reports whether Executable selects the file whatever its content is: it
// has an execute bit, or is a module or firmware.
func selectedByName(name string, mode fs.FileMode) bool {
	if mode&0o111 != 0 {
		return true
	}
	return IsModule(name) || strings.HasPrefix(name, "lib/firmware/") || strings.HasPrefix(name, "usr/lib/firmware/")
}

// IsModule reports whether a name is that of a kernel module, which may be compressed.
func IsModule(name string) bool {
	for _, suffix := range []string{".ko", ".ko.gz", ".ko.xz", ".ko.zst"} {
		if strings.HasSuffix(name, suffix) {
			return true
		}
	}
	return false
}

func examine(ctx context.Context, e *signing.Entry) error {
	f, err := onlyELF(e.Open)(ctx)
	var not signing.Unselected
	switch {
	case errors.As(err, &not):
		e.Reason = not.Reason
		return nil
	case err != nil:
		return err
	}
	return f.Close()
}

type open = func(context.Context) (*signing.File, error)

// onlyELF returns an Open that fails with Unselected for content that is not an ELF file.
// A file that cannot be read is an error. Otherwise it would silently stay unsigned.
func onlyELF(all open) open {
	return func(ctx context.Context) (*signing.File, error) {
		f, err := all(ctx)
		if err != nil {
			return nil, err
		}
		var magic [4]byte
		n, err := io.ReadFull(f, magic[:])
		switch short := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF); {
		case err != nil && !short:
			return nil, errors.Join(err, f.Close())
		case string(magic[:n]) != "\x7fELF":
			return nil, errors.Join(signing.Unselected{Reason: notExecutable}, f.Close())
		}
		f.ReadCloser = reread{io.MultiReader(bytes.NewReader(magic[:]), f.ReadCloser), f.ReadCloser}
		return f, nil
	}
}

// reread is content that begins with bytes that were read before.
type reread struct {
	io.Reader
	io.Closer
}
