package repo

import "strings"

// content is what metadata of a type have to do with packages' checksums.
type content int

const (
	unknown content = iota
	// core metadata are made anew by createrepo_c.
	core
	// byChecksum metadata name packages by checksum, in hex, and are brought up to
	// date.
	byChecksum
	// ofDeltas metadata are about delta packages, of no use once packages changed.
	ofDeltas
	// without any checksum of a package: by name, or about something else.
	without
)

// contentOf knows the types that createrepo_c, modifyrepo_c, SUSE's and Fedora's tools
// write and libsolv (tools/repo2solv.c) and libdnf read. A suffix tells the container:
// sqlite, zchunk, or the compression of the file.
func contentOf(kind string) content {
	for _, suffix := range []string{"_db", "_zck", "_gz", "_xz", "_bz2", "_zst"} {
		kind = strings.TrimSuffix(kind, suffix)
	}
	switch {
	case kind == "primary", kind == "filelists", kind == "other":
		return core
	// filelists-ext is createrepo_c's; an older one keeps it as it is.
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
