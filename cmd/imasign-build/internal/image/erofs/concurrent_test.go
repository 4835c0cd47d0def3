package erofs

import (
	"sync"
	"testing"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image/filesystem"
)

// TestConcurrent reads everything in several goroutines at once, for the race detector.
func TestConcurrent(t *testing.T) {
	f, err := open(testImage(t, "all-fragments"))
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for n, err := range filesystem.Walk(t.Context(), f, filesystem.Options{}) {
				if err == nil {
					_, err = describe(f, n)
				}
				if err != nil {
					t.Errorf("%q: %v", n.Path, err)
				}
			}
		})
	}
	all.Wait()
}
