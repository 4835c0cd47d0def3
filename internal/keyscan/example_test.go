package keyscan_test

import (
	"context"
	"fmt"
	"strings"

	"github.com/imasign/imasign-build/internal/keyscan"
)

func Example() {
	content := "# settings\nkey: |\n  -----BEGIN PRIVATE KEY-----\n  MIGHAgEAMBMGByqGSM49AgEGCCqGSM49\n"
	found, size, err := keyscan.New().Scan(context.Background(), strings.NewReader(content))
	if err != nil {
		panic(err)
	}
	for _, key := range found {
		fmt.Printf("%s at byte %d of %d\n", key.Kind, key.Offset, size)
	}
	// Output: PEM at byte 20 of 83
}
