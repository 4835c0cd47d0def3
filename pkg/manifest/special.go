package manifest

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
)

// Device returns the number of a device node as manifests state it, "major:minor" in
// decimal, or "" for a file that is not a device node.
func Device(mode fs.FileMode, major, minor uint32) string {
	if mode&fs.ModeDevice == 0 {
		return ""
	}
	return strconv.FormatUint(uint64(major), 10) + ":" + strconv.FormatUint(uint64(minor), 10)
}

// checkSpecial returns an error for a target or a device number that is malformed or that a
// file of this kind does not have.
func (l *Line) checkSpecial() error {
	switch {
	case l.Target != "" && l.Kind != "symlink":
		return fmt.Errorf("target: a line of kind %q has none", l.Kind)
	case strings.IndexByte(l.Target, 0) >= 0:
		return errors.New("target: it contains a zero byte")
	case l.Device == "":
		return nil
	case l.Kind != "char" && l.Kind != "block":
		return fmt.Errorf("device: a line of kind %q has none", l.Kind)
	}
	major, minor, _ := strings.Cut(l.Device, ":")
	if !isNumber(major) || !isNumber(minor) {
		return fmt.Errorf("device %q: not the numbers MAJOR:MINOR", l.Device)
	}
	return nil
}

// isNumber reports whether text is a number of 32 bits in its shortest form.
func isNumber(text string) bool {
	n, err := strconv.ParseUint(text, 10, 32)
	return err == nil && strconv.FormatUint(n, 10) == text
}
