package kernel

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
)

// ErrVersion means that a text is not a kernel version.
var ErrVersion = errors.New("not a kernel version like 6.1 or 6.12.30")

// Version is a release of Linux without its patch level, which changes no rule. The zero
// value means the newest release with known rules.
type Version struct{ Major, Minor int }

// Newest returns the newest release from whose source the rules of this program are taken.
func Newest() Version { return Version{7, 3} }

// Oldest returns the oldest such release.
func Oldest() Version { return Version{6, 1} }

var versionText = regexp.MustCompile(`^v?(\d{1,3})\.(\d{1,3})(?:\.\d{1,5})?(?:[-+_].*)?$`)

// ParseVersion reads "6.1", "6.6.30" or what `uname -r` prints, such as
// "6.12.30-yocto-standard". The error wraps [ErrVersion].
func ParseVersion(text string) (Version, error) {
	parts := versionText.FindStringSubmatch(text)
	if parts == nil {
		return Version{}, fmt.Errorf("%q: %w", text, ErrVersion)
	}
	major, _ := strconv.Atoi(parts[1]) // both are digits, as the expression matched
	minor, _ := strconv.Atoi(parts[2])
	return Version{major, minor}, nil
}

// String returns "6.12", or "newest" for the zero value.
func (v Version) String() string {
	if v == (Version{}) {
		return "newest"
	}
	return fmt.Sprintf("%d.%d", v.Major, v.Minor)
}

// Before reports whether v is older than major.minor. The zero value is not older than any
// release.
func (v Version) Before(major, minor int) bool {
	return v != (Version{}) && (v.Major < major || v.Major == major && v.Minor < minor)
}

// Older reports whether v is older than another version.
func (v Version) Older(than Version) bool { return v.Before(than.Major, than.Minor) }
