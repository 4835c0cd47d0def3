package repo

import "strings"

// content says whether a type of metadata has checksums of packages.
type content int

const (
	unknown content = iota
	// core metadata is made anew by createrepo_c.
	core
	// byChecksum metadata names packages by checksum in hex. It is updated.
	byChecksum
	// ofDeltas metadata describes delta packages, which are useless after packages changed.
	ofDeltas
	// without metadata has no checksums of packages.
	without
)

// contentOf returns the content of a type. It knows the types that createrepo_c, modifyrepo_c
// and the tools of SUSE and Fedora write, and those that libsolv (tools/repo2solv.c) and
// libdnf read. A suffix names the container: sqlite, zchunk, or the compression.
func contentOf(kind string) content {
	for _, suffix := range []string{"_db", "_zck", "_gz", "_xz", "_bz2", "_zst"} {
		kind = strings.TrimSuffix(kind, suffix)
	}
	switch {
	case kind == "primary", kind == "filelists", kind == "other":
		return core
	// createrepo_c makes filelists-ext; older versions keep it unchanged.
	case kind == "filelists-ext", kind == "susedata", strings.HasPrefix(kind, "susedata."), kind == "updateinfo":
		return byChecksum
	case kind == "prestodelta", kind == "deltainfo":
		return ofDeltas
	}
	switch kind {
	case "group", "comps", "modules", "productid", "product", "products", "pattern", "patterns", "suseinfo", "license",
		"appdata", "appdata-icons", "appdata-ignore", "appdata-screenshots", "appstream", "appstream-icons", "app-icons", "origin", "pkgorigins":
		return without
	}
	if strings.HasPrefix(kind, "license-") {
		return without
	}
	return unknown
}

func remade(kind string) bool { return contentOf(kind) == core }

func isDelta(kind string) bool { return contentOf(kind) == ofDeltas }
