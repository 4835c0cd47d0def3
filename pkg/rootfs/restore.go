package rootfs

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/imasign/imasign-build/pkg/signing"
)

// Detached is a tree whose files keep what they have.
type Detached struct {
	*Tree

	// Output, unless nil, calls write with where WriteRestore's file goes, and keeps it only
	// if write returns nil.
	Output func(write func(io.Writer) error) error
}

// Prepare returns the change that calls WriteRestore, none without Output, and no error:
// those of WriteRestore are Commit's.
func (d *Detached) Prepare(_ context.Context, plan *signing.Plan) (*signing.Change, error) {
	if d.Output == nil {
		return &signing.Change{}, nil
	}
	return &signing.Change{Any: plan.Counts().Pending() > 0, Commit: func(context.Context) error {
		return d.Output(func(w io.Writer) error { return WriteRestore(w, plan) })
	}}, nil
}

// WriteRestore writes the values that the tree's files have once the plan is attached,
// those that are there already among them, in the form that `setfattr -h --restore=`
// reads (setfattr(1)), with paths relative to the tree: it is to be run in the tree's
// root directory, with -h so that it follows no symbolic link that has taken a file's
// place since. Every name of a hard link is written. Errors wrap signing.ErrUnsignedPlan,
// or are those of w and of reading the plan.
func WriteRestore(w io.Writer, plan *signing.Plan) error {
	if err := plan.Attachable(); err != nil {
		return err
	}
	buf := bufio.NewWriterSize(w, 64<<10) // keeps its first error for Flush
	for r, err := range plan.Records() {
		if err != nil {
			return err
		}
		if s := r.Status(); s == signing.Skipped || s == signing.Stripped {
			continue
		}
		_, _ = fmt.Fprintf(buf, "# file: %s\n", quote(r.Path))
		for _, v := range slices.SortedFunc(slices.Values(r.Values), func(a, b signing.Value) int { return strings.Compare(a.Form.Xattr, b.Form.Xattr) }) {
			_, _ = fmt.Fprintf(buf, "%s=0x%x\n", v.Form.Xattr, v.Bytes)
		}
		_, _ = fmt.Fprintln(buf)
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
