package pipeline

import "runtime"

// Jobs returns the number of goroutines to use: n, or one per core if n is not positive.
func Jobs(n int) int {
	if n > 0 {
		return n
	}
	return runtime.GOMAXPROCS(0)
}
