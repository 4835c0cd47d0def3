// Package repo signs the files of all packages of RPM repositories and keeps the
// repositories' metadata up to date, so that packages and metadata agree at every
// moment. It also makes metadata agree again ([Refresh]), and verifies that they do
// ([Verify]). A directory may be a repository or have several below it.
//
// A signed package is another file: its checksum, which the metadata state, is new. So
// a complete sibling of the directory is written. What does not change is shared, by
// hard links where the file system allows them; packages are signed; createrepo_c makes
// the metadata. Then the sibling gets its name, or is exchanged with the old directory
// in one step, provided that nobody changed that one meanwhile. An interrupted run
// leaves its partial sibling, and the next one continues from there.
//
// Signing packages is pkg/rpmsign's. Metadata are createrepo_c's: this package reads
// repomd.xml and primary.xml, replaces checksums in what createrepo_c only keeps, and
// tells it which packages to list.
package repo
