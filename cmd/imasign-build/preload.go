package main

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/imasign/imasign-build/internal/libc"
)

// errNotPreloaded means that the library that pretends owners, modes and xattrs is not in
// this process. System calls would bypass it.
var errNotPreloaded = errors.New("it cannot be loaded into this program")

// checkPreload fails if LD_PRELOAD names pseudo or fakeroot, but the dynamic linker did not
// load the library: the program is static, or of another architecture.
//
// Only LD_PRELOAD counts. BitBake sets PSEUDO_PREFIX for all tasks, including tasks outside
// of pseudo. Both libraries set LD_PRELOAD for all programs that they cover.
func (a *app) checkPreload() error {
	library := a.preloadWanted()
	if library == "" || libc.Preload() != "" {
		return nil
	}
	const instead = "build imasign-build with cgo and link it dynamically (CGO_ENABLED=1, no -static), or run it where LD_PRELOAD does not name the library"
	if !libc.Linked {
		return fmt.Errorf("LD_PRELOAD asks for %s: %w, which was built without cgo; %s", library, errNotPreloaded, instead)
	}
	return fmt.Errorf("LD_PRELOAD asks for %s: %w, which is linked statically or for another architecture; %s", library, errNotPreloaded, instead)
}

// preloadWanted returns "pseudo" or "fakeroot" if the environment asks for it, else "".
func (a *app) preloadWanted() string {
	list, _ := a.getenv("LD_PRELOAD")
	for _, file := range strings.FieldsFunc(list, func(r rune) bool { return r == ':' || r == ' ' }) {
		name := libc.PreloadName(path.Base(file))
		if name == "pseudo" && a.pseudoDisabled() {
			continue // the library would have no effect
		}
		if name != "" {
			return name
		}
	}
	return ""
}

// pseudoDisabled interprets PSEUDO_DISABLED as pseudo does, by its first letter.
func (a *app) pseudoDisabled() bool {
	value, set := a.getenv("PSEUDO_DISABLED")
	return set && (value == "" || !strings.ContainsRune("0fFnNsS", rune(value[0])))
}
