package manifest

// Container is a kind of container, as the headers of manifests name it.
type Container string

// The kinds of containers that this program makes. Manifests of other kinds can be read
// and compared too.
const (
	// Tree is a directory tree, or an archive made from one. Its header has no name. Only
	// in a tree no path may repeat.
	Tree Container = "tree"
	// Package is an RPM package. Its name is that of the package file.
	Package Container = "rpm"
	// Archive is a tar archive. Its name is that of the archive file.
	Archive Container = "tar"
	// Layer is a layer of a container image. Its name is the layer's digest.
	Layer Container = "layer"
	// Digests is a list of distinct digests instead of files, for signing on a machine that
	// has only the key. Each line has the path [DigestPath] and the kind "file". Its size,
	// mode and owner are zero.
	Digests Container = "digests"
)
