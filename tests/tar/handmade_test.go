package tar

import (
	"bytes"
	"strings"
)

// handMade are archives that the programs read in ways of their own.
func handMade() map[string][]byte {
	all := map[string][]byte{}
	for name, text := range bases() {
		all["plain "+name] = text
	}
	return all
}

var _ = bytes.Clone
var _ = strings.Repeat
