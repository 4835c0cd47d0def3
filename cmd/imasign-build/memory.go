package main

import "golang.org/x/sys/unix"

// guardMemory has the kernel write no core dump of this process, and let nobody
// but root trace it or read its memory, from before a secret comes into it until
// it ends: what Go's runtime has copied cannot be overwritten for certain. Programs
// that are started are not concerned, execve resets it. Where it cannot be had
// there is nothing to be done about it.
func guardMemory() { _ = unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0) }
