// Package repo signs the files of all packages of an RPM repository, and brings
// the repository's metadata up to date, so that packages and metadata agree at
// every moment.
//
// A signed package is another file: its checksum, which the metadata state, is
// new. So a complete sibling of the repository is written, in which what does not
// change is shared (by hard links, where the
// file system lets them), packages are signed, and
// createrepo_c makes the metadata anew; then the sibling gets its name, or is
// exchanged with the old repository in one step. An interrupted run leaves its
// partial sibling, and the next one goes on from there.
//
// Signing packages is pkg/rpmsign's. Metadata are createrepo_c's alone; this
// package reads repomd.xml to tell it what to keep.
package repo
