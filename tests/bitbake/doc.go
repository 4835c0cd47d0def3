// Package bitbake tests the BitBake layer that is this repository's root.
//
// What needs no BitBake always runs: the layer's files are linted, its Python and
// shell functions compiled, its list of Go modules compared with go.mod and built
// from. What builds packages and images with BitBake and OE-core's own classes runs
// where BITBAKE_DIR and OECORE_DIR name checkouts (`make bitbake`), and is skipped
// elsewhere, saying so.
package bitbake
