package input_test

import (
	"errors"
	"fmt"

	"github.com/imasign/imasign-build/internal/input"
)

// In a directory that somebody else made, only regular files are opened.
func ExampleReadRegular() {
	_, err := input.ReadRegular("/dev/zero", 1<<20)
	fmt.Println(errors.Is(err, input.ErrNotRegular), err)
	// Output: true /dev/zero: not a regular file: it is a device
}
