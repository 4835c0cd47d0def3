package rootfs

import (
	"bufio"
	"fmt"
	"io"
	"strings"

	"github.com/imasign/imasign-build/pkg/signing"
)

// WriteRestore writes what the plan would attach in the form that
// `setfattr --restore=` reads, with paths relative to the tree: it is to be run
// in the tree's root directory. Every name of a hard link is written.
func WriteRestore(w io.Writer, plan *signing.Plan) error {
	if err := plan.Attachable(); err != nil {
		return err
	}
	buf := bufio.NewWriterSize(w, 64<<10)
	for r, err := range plan.Records() {
		if err != nil {
			return err
		}
		if r.Status != signing.Signed && r.Status != signing.Hashed {
			continue
		}
		fmt.Fprintf(buf, "# file: %s\n", quote(r.Path))
		for _, name := range names(r.Values) {
			fmt.Fprintf(buf, "%s=0x%x\n", name, r.Values[name])
		}
		fmt.Fprintln(buf)
	}
	return buf.Flush()
}

// quote writes the bytes that end a line, and the escape itself, as getfattr
// does: a backslash and three octal digits.
func quote(path string) string {
	if !strings.ContainsAny(path, "\n\r\\") {
		return path
	}
	var b strings.Builder
	for i := range len(path) {
		switch c := path[i]; c {
		case '\n', '\r', '\\':
			fmt.Fprintf(&b, `\%03o`, c)
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}
