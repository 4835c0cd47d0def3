package policy

import "github.com/imasign/imasign-build/internal/kernel"

// Target is what a policy is judged for.
type Target struct {
	kernel.Profile

	// Early says that the policy is the first one to be loaded, and that the hook of
	// package initramfs loads it: as text, a line a write. What is uncertain otherwise is
	// certain then.
	Early bool
	// Labels says that with Early, too, a security module has its own policy by then.
	Labels bool
}
