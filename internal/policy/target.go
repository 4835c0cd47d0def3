package policy

import "github.com/imasign/imasign-build/internal/kernel"

// Target is the device that a policy is checked for.
type Target struct {
	kernel.Profile

	// Early says that the policy is the first that is loaded, and that the hook of package
	// initramfs loads it as text, one line in each write. Some checks are certain then that
	// are only warnings otherwise.
	Early bool
	// Labels says that, although Early is true, a security module has its own policy before
	// this policy is loaded.
	Labels bool
}
