package certs

import (
	"fmt"
	"regexp"
	"strconv"
)

// Kernel is a kernel version. The zero value stands for the newest whose rules
// are known here.
type Kernel struct{ Major, Minor int }

// ParseKernel reads "6.1", "6.6.30" or what `uname -r` prints, as
// "6.12.30-yocto-standard". The error is [ErrKernelVersion].
func ParseKernel(version string) (Kernel, error) {
	parts := regexp.MustCompile(`^v?(\d{1,3})\.(\d{1,3})(?:\.\d{1,5})?(?:[-+_].*)?$`).FindStringSubmatch(version)
	if parts == nil {
		return Kernel{}, fmt.Errorf("%q: %w", version, ErrKernelVersion)
	}
	major, _ := strconv.Atoi(parts[1]) // digits, as matched
	minor, _ := strconv.Atoi(parts[2])
	return Kernel{major, minor}, nil
}

// String returns the version without its patch level.
func (k Kernel) String() string {
	if k == (Kernel{}) {
		return "newest"
	}
	return fmt.Sprintf("%d.%d", k.Major, k.Minor)
}

// before reports whether the kernel is older than a version.
func (k Kernel) before(major, minor int) bool {
	return k != (Kernel{}) && (k.Major < major || k.Major == major && k.Minor < minor)
}
