package ext4sign

import (
	"fmt"
	"strings"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image/filesystem"
	"github.com/imasign/imasign-build/pkg/signing"
)

// maxLine is the length of a line of a request that debugfs reads as one, with its line end
// (source_file in debugfs/debugfs.c and BUFSIZ of the C library).
const maxLine = 8191

// request returns the line that tells debugfs to set a value, which is also in a file.
//
// debugfs reads at most one block from a file and cuts off the rest (do_set_xattr in
// debugfs/xattrs.c). Larger values are in the line itself.
func request(file string, id filesystem.ID, v *signing.Value, block int) string {
	if len(v.Bytes) <= block {
		return fmt.Sprintf("ea_set -f %s <%d> %s\n", file, id, v.Form.Xattr)
	}
	return fmt.Sprintf("ea_set <%d> %s \"%s\"\n", id, v.Form.Xattr, escaped(v.Bytes))
}

// escaped returns a value for a word in double quotes, with escape sequences as in C
// (parse_c_string in lib/support/cstring.c).
func escaped(value []byte) string {
	var b strings.Builder
	for _, c := range value {
		switch c {
		case 0, '\n', '\r', '"', '\\':
			fmt.Fprintf(&b, `\%03o`, c)
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}
