// Package keyuri reads the attributes of key URIs, which PKCS#11 URIs (RFC 7512), tpm2: and
// https: have in common.
package keyuri

import (
	"fmt"
	"net/url"
	"strings"
)

const maxName = 32

// Attributes calls set with every name and decoded value in a list of NAME=VALUE, in their
// order. Values are percent-encoded; except for id, which is binary, they contain no NUL. Names
// are lower-case letters and hyphens. None may be in met, to which Attributes adds them.
//
// Errors wrap bad, or are those of set. They repeat no value, which may be a secret.
func Attributes(bad error, list, separator string, met map[string]bool, set func(name, value string) error) error {
	if list == "" {
		return nil
	}
	for pair := range strings.SplitSeq(list, separator) {
		name, raw, found := strings.Cut(pair, "=")
		if !found || !isName(name) {
			return fmt.Errorf("%w: attributes are written name=value, with %s between them", bad, separator)
		}
		value, err := url.PathUnescape(raw)
		if err != nil || strings.ContainsRune(value, 0) && name != "id" {
			return fmt.Errorf("%w: the value of %s is not percent-encoded as it must be", bad, name)
		}
		if met[name] {
			return fmt.Errorf("%w: %s comes twice", bad, name)
		}
		met[name] = true
		if err := set(name, value); err != nil {
			return err
		}
	}
	return nil
}

// isName reports whether errors may repeat s.
func isName(s string) bool {
	return s != "" && len(s) <= maxName && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz-") == ""
}
