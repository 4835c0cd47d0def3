package manifest

// Container is a kind of container, by the word that a manifest's header has for it.
type Container string

// The containers of this program. A manifest of any other one is read and compared all
// the same.
const (
	// Tree is a directory tree, or an archive that is made of one. Its header has no
	// name. In it alone no path repeats.
	Tree Container = "tree"
	// Package is an rpm package, by the name of its package file.
	Package Container = "rpm"
	// Archive is a tar archive, by the name of its file.
	Archive Container = "tar"
	// Layer is a layer of a container image, by its digest.
	Layer Container = "layer"
	// Digests lists distinct digests instead of files: what a machine needs that has a
	// key and nothing else. Its lines have DigestPath as path, kind "file", and neither
	// size, mode nor owner.
	Digests Container = "digests"
)
