package main

import "golang.org/x/sys/unix"

// guardMemory protects the memory of this process until it ends: the kernel writes no core
// dump, and only root can trace the process or read its memory. Callers call it before they
// read a secret, because copies that the Go runtime makes cannot be overwritten reliably.
// Child processes are not affected: execve resets the protection. Errors are ignored,
// because there is no alternative.
func guardMemory() { _ = unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0) }
