package pipeline

import "runtime"

// Jobs returns how many goroutines work when n are asked for: one for each core where n
// is zero or less.
func Jobs(n int) int {
	if n > 0 {
		return n
	}
	return runtime.GOMAXPROCS(0)
}
