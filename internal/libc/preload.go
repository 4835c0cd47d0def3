package libc

import (
	"bufio"
	"os"
	"path/filepath"
	"strings"
)

// Preload returns the name of the library that pretends owners and xattrs to this
// process, "pseudo" or "fakeroot", and "" if there is none. It looks in /proc/self/maps,
// not in LD_PRELOAD, because a static program inherits the variable without the library.
func Preload() string {
	f, err := os.Open("/proc/self/maps")
	if err != nil {
		return ""
	}
	defer f.Close() //nolint:errcheck // opened for reading
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if name := PreloadName(filepath.Base(lines.Text())); name != "" {
			return name
		}
	}
	return ""
}

// PreloadName is like Preload for one library, given by its file name without a
// directory: "fakeroot" for libfakeroot-sysv.so.
func PreloadName(library string) string {
	for _, name := range []string{"pseudo", "fakeroot"} {
		if strings.HasPrefix(library, "lib"+name) && strings.Contains(library, ".so") {
			return name
		}
	}
	return ""
}
