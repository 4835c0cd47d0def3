package harness

import "os"

// Nightly reports whether the tests take the time of a night (IMASIGN_NIGHTLY=1). Otherwise
// they do a part of their work, for every change.
func Nightly() bool { return os.Getenv("IMASIGN_NIGHTLY") == "1" }
