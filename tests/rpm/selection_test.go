package rpm

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/tests/harness"
	"github.com/imasign/imasign-build/tests/rpm/packages"
)

// signatures returns the signatures of a package by path, as rpm prints them.
func signatures(t *testing.T, path string) map[string]string {
	t.Helper()
	all := map[string]string{}
	for line := range strings.Lines(packages.Query(t, path, "[%{FILENAMES}\t%{FILESIGNATURES}\n]")) {
		name, signature, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		all[name] = signature
	}
	return all
}

// TestSignedAgainInPart signs packages of every kind with one key, and then all files except one
// with another key. rpm reads the old signature of that file, also after the others are
// stripped.
func TestSignedAgainInPart(t *testing.T) {
	first, second := harness.Keys(t, "rsa2048"), harness.Keys(t, "p256")
	program := harness.Program(t)
	for _, name := range []string{"zstd", "sha512", "rich", "many", "no-reserve", "el6", "openpgp-rsa"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := packages.Copy(t, name, t.TempDir())
			plain := content(t, path)
			kept := ""
			for _, e := range packages.Entries(t, path) {
				if e.Regular() && e.Digest != "" && kept == "" {
					kept = e.Path
				}
			}
			rpmSign(t, first, path)
			before, old := signatures(t, path), content(t, path)
			rpmSign(t, first, "--exclude", kept, path)
			if !bytes.Equal(content(t, path), old) {
				t.Error("signing the rest again changes the package")
			}
			rpmSign(t, second, "--force", "--exclude", kept, path)
			changed := 0
			for file, signature := range signatures(t, path) {
				switch was := before[file]; {
				case file == kept && (signature != was || was == ""):
					t.Errorf("%s had %q and has %q", file, was, signature)
				case file != kept && was != "" && signature != was:
					changed++
				case file != kept && was != "":
					t.Errorf("%s has its old signature", file)
				}
			}
			if r := packages.Checksig(t, path); r.Code != 0 || strings.Contains(r.Out, "BAD") || changed == 0 {
				t.Errorf("%d signatures changed; rpmkeys --checksig: exit %d\n%s%s", changed, r.Code, r.Out, r.Err)
			}
			harness.Must(t, program, "rpm", "verify", "--cert", filepath.Join(first, "x509_ima.crt"), "--include", kept, path)
			harness.Must(t, program, "rpm", "verify", "--cert", filepath.Join(second, "x509_ima.crt"), "--exclude", kept, path)

			harness.Must(t, program, "rpm", "strip", "--exclude", kept, path)
			for file, signature := range signatures(t, path) {
				if file == kept && signature != before[kept] || file != kept && signature != "" {
					t.Errorf("stripped, %s has %q", file, signature)
				}
			}
			if r := packages.Checksig(t, path); r.Code != 0 {
				t.Errorf("stripped: rpmkeys --checksig: exit %d\n%s%s", r.Code, r.Out, r.Err)
			}
			harness.Must(t, program, "rpm", "strip", path)
			if !bytes.Equal(content(t, path), plain) {
				t.Error("stripped of all, the package is not what it was")
			}
		})
	}
}

const elfSpec = `
Name: elf
Version: 1
Release: 1
Summary: ELF files without an execute bit
License: none
%global debug_package %{nil}
%global __os_install_post %{nil}
%description
%install
mkdir -p %{buildroot}/usr/lib %{buildroot}/etc
echo 'int f(void) { return 1; }' >f.c
gcc -shared f.c -o %{buildroot}/usr/lib/shared
gcc -c f.c -o %{buildroot}/usr/lib/object
gcc -c f.c -o %{buildroot}/usr/lib/module.ko
echo text >%{buildroot}/etc/text
echo '#!/bin/sh' >%{buildroot}/etc/script
chmod 644 %{buildroot}/usr/lib/*
chmod 755 %{buildroot}/etc/script
%files
/usr/lib/*
/etc/*
`

// TestSelectExecutable selects the files of a package that can be executed or loaded. rpm 4.18
// gives no colour to files without an execute bit.
func TestSelectExecutable(t *testing.T) {
	dir, keys := t.TempDir(), harness.Keys(t, "p256")
	spec := filepath.Join(dir, "elf.spec")
	check(t, os.WriteFile(spec, []byte(elfSpec), 0o644))
	harness.Tool(t, "gcc")
	harness.Must(t, harness.Tool(t, "rpmbuild"), "-bb", "--define", "_topdir "+dir, "--define", "_rpmdir "+dir, "--define", "_rpmfilename elf.rpm", spec)
	path := filepath.Join(dir, "elf.rpm")
	rpmSign(t, keys, "--select", "executable", path)
	for file, signature := range signatures(t, path) {
		want := file != "/etc/text" && !strings.Contains(file, ".build-id")
		if (signature != "") != want {
			t.Errorf("%s: signed %t, want %t", file, signature != "", want)
		}
	}
	harness.Must(t, harness.Program(t), "rpm", "verify", "--require", "executable", "--cert", filepath.Join(keys, "x509_ima.crt"), path)

	// A package without these tags.
	f := read(t, path)
	f.Header = packages.Without(f.Header, 1140, 1141, 1142)
	check(t, os.WriteFile(path, f.Pack(), 0o644))
	r := harness.Run(t, harness.Program(t), append(append([]string{"rpm", "sign"}, keyFlags(keys)...), "--select", "executable", path)...)
	if r.Code != 1 || !strings.Contains(r.Err, path) || !strings.Contains(r.Err, "which of its files are ELF") || !strings.Contains(r.Err, "--include and --exclude") {
		t.Errorf("exit %d\n%s", r.Code, r.Err)
	}
	rpmSign(t, keys, "--select", "executable", "--include", "/etc/script", "--include", "*.ko", path)
}
