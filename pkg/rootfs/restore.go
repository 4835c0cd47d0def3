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

// Detached is a tree whose files are never changed. It lists entries as a [Tree] does.
type Detached struct {
	*Tree

	// Output, unless nil, receives the file of [WriteRestore]. It calls write with a
	// writer, and keeps the result only if write returns nil.
	Output func(write func(io.Writer) error) error
}

// Prepare returns the change that calls [WriteRestore], or an empty change if Output is
// nil. It never returns an error. Commit returns those of WriteRestore.
func (d *Detached) Prepare(_ context.Context, plan *signing.Plan) (*signing.Change, error) {
	if d.Output == nil {
		return &signing.Change{}, nil
	}
	return &signing.Change{Any: plan.Counts().Pending() > 0, Commit: func(context.Context) error {
		return d.Output(func(w io.Writer) error { return WriteRestore(w, plan) })
	}}, nil
}

// WriteRestore writes the values that the tree's files have after the plan is attached,
// unchanged values included, in the format that `setfattr --restore=` reads
// (setfattr(1)). Paths are relative to the tree. Every name of a hard link is written.
//
// Run `setfattr -h --restore=FILE` in the root directory of the tree. The option -h
// prevents it from following symbolic links that have replaced files.
//
// The error wraps [signing.ErrUnsignedPlan] for a plan without signatures, or is that of w
// or of reading the plan.
func WriteRestore(w io.Writer, plan *signing.Plan) error {
	if err := plan.Attachable(); err != nil {
		return err
	}
	buf := bufio.NewWriterSize(w, 64<<10) // Flush returns the first error of all writes
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

// quote escapes line ends and backslashes as getfattr does: with a backslash and three
// octal digits.
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
