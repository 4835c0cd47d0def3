package shards_test

import (
	"fmt"
	"strings"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/sigcache/shards"
)

func ExampleParseIndex() {
	text := "imasign-signatures 1 2\n" +
		"ima-signatures-07-" + strings.Repeat("4e", 32) + ".shard 3124 9\n" +
		"ima-signatures-a3-" + strings.Repeat("0b", 32) + ".shard 1890 5\n"
	index, err := shards.ParseIndex([]byte(text))
	fmt.Println(len(index), index.Bytes(), err)
	fmt.Println(index.Find(0xa3).Entries)
	// Output:
	// 2 5014 <nil>
	// 5
}
