package archtest

import (
	"slices"
	"strings"
	"testing"
)

// arrow forbids imports, direct and indirect. A package stands for all packages below it too.
// A name that begins with neither cmd, pkg nor internal is a package in
// cmd/imasign-build/internal.
type arrow struct {
	from, to []string
	apart    bool        // the packages in from do not import each other either
	but      [][2]string // allowed imports; "" means any importing package
}

func containers() []string {
	return []string{"pkg/rootfs", "pkg/rpmsign", "pkg/tarball", "repo", "oci", "image"}
}

func arrows() []arrow {
	backends := []string{"pkg/keystore/file", "pkg/keystore/pkcs11", "pkg/keystore/remote", "pkg/keystore/tpm"}
	return []arrow{
		{from: []string{"pkg", "internal"}, to: []string{"cmd"}},
		{from: []string{"internal"}, to: []string{"pkg"}, but: [][2]string{{"", "pkg/ima"}}},
		{from: []string{"internal/tree", "internal/keyscan"}, to: []string{"pkg"}},
		{from: []string{"pkg/signing", "operate", "selection"}, to: append(containers(), "pkg/keystore")},
		{from: []string{"pkg/manifest"}, to: append(containers(), "pkg/keystore", "pkg/signing", "internal/tree")},
		{from: []string{"pkg/keystore"}, to: append(containers(), "pkg/signing", "pkg/manifest", "internal/certs", "internal/tree")},
		{from: backends, apart: true},
		{from: []string{"internal/policy", "internal/kernel", "internal/finding"}, to: []string{"internal/certs", "internal/tree"}},
		{from: containers(), to: []string{"pkg/keystore", "operate"}, apart: true, but: [][2]string{{"repo", "pkg/rpmsign"}, {"oci", "pkg/tarball"}}},
		{from: []string{"initramfs"}, to: append(containers(), "pkg/keystore", "pkg/signing", "pkg/manifest")},
		{from: []string{"simulate", "scan"}, to: []string{"pkg/keystore", "internal/certs"}}, // callers pass the keys
	}
}

const halls = "cmd/imasign-build/internal/"

// directory returns the directory of a package in an arrow or in the documentation.
func directory(name string) string {
	top, _, _ := strings.Cut(name, "/")
	if slices.Contains([]string{"cmd", "pkg", "internal"}, top) {
		return name
	}
	return halls + name
}

// check checks all direct and indirect imports of the package path, which is below from.
func (a *arrow) check(t *testing.T, path, from string, imported []string) {
	for _, dep := range imported {
		hits := func(to string) bool { return below(dep, to) }
		forbidden := slices.ContainsFunc(a.to, hits)
		if a.apart && !below(dep, from) {
			forbidden = forbidden || slices.ContainsFunc(a.from, hits)
		}
		allowed := slices.ContainsFunc(a.but, func(b [2]string) bool { return (b[0] == "" || b[0] == from) && hits(b[1]) })
		if forbidden && !allowed {
			t.Errorf("%s imports %s", path, dep)
		}
	}
}

// String returns the line of docs/architecture.md for the arrow.
func (a *arrow) String() string {
	never := names(a.to)
	if a.apart {
		never = append(never, "each other")
	}
	line := "- " + strings.Join(names(a.from), ", ") + ": never " + strings.Join(never, ", ")
	var but []string
	for _, b := range a.but {
		edge := "`" + b[1] + "`"
		if b[0] != "" {
			edge = "`" + b[0] + "` → " + edge
		}
		but = append(but, edge)
	}
	if but != nil {
		line += " (except " + strings.Join(but, ", ") + ")"
	}
	return line
}

// names lists packages as the documentation does: the containers together as "containers".
func names(packages []string) (list []string) {
	if n := len(containers()); len(packages) >= n && slices.Equal(packages[:n], containers()) {
		list, packages = append(list, "containers"), packages[n:]
	}
	for _, p := range packages {
		list = append(list, "`"+p+"`")
	}
	return list
}
