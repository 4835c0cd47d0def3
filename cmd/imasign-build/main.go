// Command imasign-build signs files for Linux IMA appraisal at build time: in directory
// trees, packages, repositories, archives, container images and finished images.
package main

import (
	"os"
	"runtime/debug"
)

func main() {
	debug.SetGCPercent(gcPercent)
	os.Exit(run(newApp(), os.Args[1:]))
}
