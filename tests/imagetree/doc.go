// Package imagetree makes a tree with everything that a file system of Linux keeps, lists
// trees so that they can be compared, and mounts images of file systems.
//
// A test makes the tree, runs mkfs on it, and compares the tree with what it reads from
// the image:
//
//	tree := imagetree.New(t, imagetree.ACLs) // mksquashfs keeps no ACLs
//	harness.Must(t, "mksquashfs", tree, image)
//	want := imagetree.List(t, tree)
//	got := imagetree.List(t, imagetree.Mount(t, image))
//	imagetree.Same(t, want, got)
package imagetree
