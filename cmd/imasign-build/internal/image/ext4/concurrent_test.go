package ext4

import (
	"sync"
	"testing"
)

// TestConcurrent reads everything in several goroutines at once, for the race detector.
func TestConcurrent(t *testing.T) {
	f := opened(t, image(t, "ext4"))
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if err := readAll(t, f); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}
