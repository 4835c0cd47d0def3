// Package bitbake tests the BitBake layer that is this repository's root.
//
// The tests that need no BitBake always run. They lint the layer's files, compile its
// Python and shell functions, compare its list of Go modules with go.mod, and build from
// these modules. The tests that build packages and images with BitBake and OE-core's
// classes need checkouts in BITBAKE_DIR and OECORE_DIR (`make bitbake`). They are skipped
// without them.
package bitbake
