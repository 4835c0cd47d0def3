package bench

import (
	"slices"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/tests/harness"
)

// A floor is the time that signing a tree takes at least if all signatures are there already,
// in seconds: to verify each of them as fast as `openssl speed` does on all cores, and to set
// the xattrs in a loop that does nothing else. Digesting the tree is not in it.
type floor struct{ verify, set float64 }

// measure adds what the signatures that the tree has cost. The tree has them afterwards, too.
func (f *floor) measure(b *testing.B, tree, algorithm string) {
	b.Helper()
	n := cores()
	_, rate := opensslRates(b, speed(algorithm))
	files, values, signatures := signedFiles(b, tree)
	f.verify += float64(signatures) / rate
	harness.Must(b, harness.Program(b), "rootfs", "strip", tree)
	f.set += timed(func() {
		var all sync.WaitGroup
		for core := range n {
			all.Go(func() {
				for i := core; i < len(files); i += n {
					if err := unix.Lsetxattr(files[i], ima.XattrIMA, values[i], 0); err != nil {
						b.Errorf("%s: %v", files[i], err)
						return
					}
				}
			})
		}
		all.Wait()
	})
}

// signedFiles returns the files of a tree that have a value of security.ima, once for each
// inode, their values, and the number of different values.
func signedFiles(b *testing.B, tree string) (files []string, values [][]byte, different int) {
	b.Helper()
	seen := map[string]bool{}
	for _, file := range harness.Inodes(b, tree) {
		value := make([]byte, 1024)
		n, err := unix.Lgetxattr(file, ima.XattrIMA, value)
		if err != nil {
			continue
		}
		value = slices.Clip(value[:n])
		files, values = append(files, file), append(values, value)
		seen[string(value)] = true
	}
	if len(files) == 0 {
		b.Fatal("the tree has no signatures")
	}
	return files, values, len(seen)
}

// speed returns the name of an algorithm in `openssl speed`.
func speed(algorithm string) string {
	if algorithm == "p256" {
		return "ecdsap256"
	}
	return algorithm
}
