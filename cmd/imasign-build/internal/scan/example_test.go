package scan_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/scan"
)

func Example() {
	root, err := os.MkdirTemp("", "scan")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(root)
	if err := os.WriteFile(filepath.Join(root, "settings"), []byte("key: -----BEGIN PRIVATE KEY-----\\nMIGHAgEAMBMGByqGSM49AgEGCCqGSM49\n"), 0o600); err != nil {
		panic(err)
	}
	allowed := scan.Allowed{}
	allowed.Add("/settings", "0000000000000000000000000000000000000000000000000000000000000000")
	result, err := scan.Paths(context.Background(), []string{root}, scan.Options{Allowed: allowed})
	if err != nil {
		panic(err)
	}
	for _, key := range result.Keys {
		fmt.Printf("%s: %s at byte %d, allowed: %t\n", key.Path, key.Kind, key.Offset, key.Allowed)
	}
	// Output: settings: PEM at byte 5, allowed: false
}
