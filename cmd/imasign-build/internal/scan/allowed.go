package scan

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path"
	"slices"
	"strings"
)

// Allowed has the SHA-256 of each file that may hold a private key, in lower-case
// hexadecimal, by its path.
type Allowed map[string]string

// Add allows the file at name, from the root of the tree, if its SHA-256 is sum, in
// hexadecimal. It reports whether the two are a path and a SHA-256.
func (a Allowed) Add(name, sum string) bool {
	b, err := hex.DecodeString(sum)
	if err != nil || len(b) != sha256.Size || name == "" {
		return false
	}
	a[strings.TrimPrefix(path.Clean("/"+name), "/")] = hex.EncodeToString(b)
	return true
}

// AddLines allows the files in lines as sha256sum writes them. Empty lines and those that
// begin with # are passed over.
func (a Allowed) AddLines(text string) error {
	for number, line := range strings.Split(text, "\n") {
		if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		sum, name, _ := strings.Cut(line, " ")
		if !a.Add(strings.TrimLeft(name, " *"), sum) {
			return fmt.Errorf("line %d is not in the format of sha256sum: SHA-256, two spaces, path", number+1)
		}
	}
	return nil
}

// unused returns the paths at which there is no key, sorted.
func (a Allowed) unused(keys []Key) []string {
	there := map[string]bool{}
	for _, key := range keys {
		there[key.Path] = true
	}
	var list []string
	for name := range a {
		if !there[name] {
			list = append(list, name)
		}
	}
	slices.Sort(list)
	return list
}
