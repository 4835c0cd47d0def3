// Package repo signs all packages of RPM repositories and updates the metadata, so packages
// and metadata agree at every moment. [Refresh] regenerates only the metadata, and [Verify]
// checks that it agrees with the packages. A directory can be a repository or have several
// below it.
//
// Signing changes the checksum of a package, which the metadata states. So this package
// writes a complete sibling of the directory. It shares unchanged files, by hard links if
// the file system supports them, signs the packages, and runs createrepo_c for the metadata.
// Then the sibling gets its name, or is exchanged with the old directory in one step, unless
// somebody changed that directory in the meantime. An interrupted run leaves its partial
// sibling, and the next run continues there.
//
// pkg/rpmsign signs the packages. createrepo_c makes the metadata: this package reads
// repomd.xml and primary.xml, tells createrepo_c which packages to list, and replaces
// checksums in metadata that createrepo_c only keeps.
package repo
