// Package rpmfiles finds the package files that a command is about, by the names of
// files alone: in directories, through symbolic links, and where their copies go.
//
// What a package contains, and whether a file is one, is left to pkg/rpmsign; what
// belongs to a repository to repo.
package rpmfiles

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// Unit is one package of many.
type Unit struct {
	Path   string // as it is reached
	Output string // where to write it; "" for in place
	// Outside is the file that Path leads to by symbolic links, if that file lies
	// outside of everything that was named: it is read, and never written to.
	Outside string
}

// ErrSameOutput means that two packages would be written to one path.
var ErrSameOutput = errors.New("two packages would be written to one file")

var errManyLinks = errors.New("symbolic links lead to too many directories")

// maxLinkedDirectories bounds how many directories are entered by way of symbolic
// links: a few links that lead to each other make an endless number of paths.
const maxLinkedDirectories = 10_000

// IsPackage reports whether a file in a directory is taken for a package:
// createrepo_c indexes *.rpm, and other cases of the letters are installed as well.
func IsPackage(name string) bool {
	return len(name) >= len(".rpm") && strings.EqualFold(name[len(name)-len(".rpm"):], ".rpm")
}

// Find lists the packages at paths, sorted: files as they are named, and
// everything called *.rpm below directories. As createrepo_c does, it follows
// symbolic links to files and directories, but enters none of the directories it is
// in. What is called *.rpm and is no file (a link that leads nowhere, a FIFO) is
// listed, too, so that it fails by name.
//
// In place each file is listed once, by a path without links where there is one.
// Below outputDir, unless that is "", a named file gets its base name, and what was
// found in a directory its path from there, through links or not.
//
// Errors name the path and wrap what the file system answered, or [ErrSameOutput].
func Find(paths []string, outputDir string) ([]Unit, error) {
	f := finder{every: outputDir != "", entered: map[string]bool{}}
	for _, path := range paths {
		if err := f.name(path); err != nil {
			return nil, err
		}
	}
	f.distinct()
	units := make([]Unit, 0, len(f.found))
	for _, p := range f.found {
		u := Unit{Path: p.path, Outside: f.outside(p)}
		if outputDir != "" {
			u.Output = filepath.Join(outputDir, p.rel)
			if there, err := filepath.EvalSymlinks(u.Output); err != nil || absolute(there) != p.file {
				u.Outside = ""
			}
		}
		units = append(units, u)
	}
	return units, distinctOutputs(units)
}

// finder finds packages by the names of files.
type finder struct {
	every   bool     // every path to a package, not one for each file
	named   []string // what was named, without links
	found   []found
	entered map[string]bool // directories, without links, and whether by way of links
	linked  int             // directories entered by way of links
}

type found struct {
	path string // as it is reached
	rel  string // from the directory that was named
	file string // path without symbolic links, absolute; path where it leads nowhere
	link bool   // symbolic links lead there from the directory that was named
}

// directory is one that is being searched.
type directory struct {
	found

	within []string // the directories that it was reached through, without links
}

// name finds what a path on the command line stands for.
func (f *finder) name(path string) error {
	file, err := filepath.EvalSymlinks(path)
	if err != nil {
		return err
	}
	file = absolute(file)
	f.named = append(f.named, file)
	at := found{path: path, rel: filepath.Base(path), file: file}
	if info, err := os.Stat(file); err != nil {
		return err
	} else if !info.IsDir() {
		f.found = append(f.found, at)
		return nil
	}
	if at.rel = ""; !slices.Contains(strings.Split(path, "/"), "..") {
		at.path = filepath.Clean(path)
	}
	return f.search(directory{found: at})
}

// search finds what is below a directory.
func (f *finder) search(d directory) error {
	byLink, entered := f.entered[d.file]
	if slices.Contains(d.within, d.file) || entered && !f.every && (d.link || !byLink) {
		return nil
	}
	if d.link {
		if f.linked++; f.linked > maxLinkedDirectories {
			return fmt.Errorf("search %s: %w", d.path, errManyLinks)
		}
	}
	f.entered[d.file] = d.link
	d.within = append(slices.Clip(d.within), d.file)
	entries, err := os.ReadDir(d.file)
	if err != nil {
		return fmt.Errorf("search %s: %w", d.path, err)
	}
	for _, e := range entries {
		if err := f.entry(d, e); err != nil {
			return err
		}
	}
	return nil
}

func (f *finder) entry(d directory, e fs.DirEntry) error {
	at := found{path: below(d.path, e.Name()), rel: filepath.Join(d.rel, e.Name()), file: filepath.Join(d.file, e.Name()), link: d.link}
	isDir := e.IsDir()
	if e.Type()&fs.ModeSymlink != 0 {
		at.link = true
		file, info, err := follow(at.file)
		switch {
		case err == nil:
			at.file, isDir = file, info.IsDir()
		case !nowhere(err):
			return fmt.Errorf("follow %s: %w", at.path, err)
		}
	}
	switch {
	case isDir:
		return f.search(directory{at, d.within})
	case IsPackage(e.Name()):
		f.found = append(f.found, at)
	}
	return nil
}

func follow(link string) (string, fs.FileInfo, error) {
	file, err := filepath.EvalSymlinks(link)
	if err != nil {
		return "", nil, err
	}
	info, err := os.Stat(file)
	return file, info, err
}

// nowhere reports whether what failed is a link without anything behind it.
// filepath.EvalSymlinks has no error of its own for links in a circle.
func nowhere(err error) bool {
	var path *fs.PathError
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ELOOP) || errors.Is(err, syscall.ENOTDIR) || !errors.As(err, &path)
}

// below is filepath.Join for a directory whose path may have "..", behind a link.
func below(dir, name string) string {
	switch dir {
	case ".":
		return name
	case "/":
		return dir + name
	}
	return strings.TrimRight(dir, "/") + "/" + name
}

// absolute is a path as seen from the root; without a working directory, as it is.
func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}

// distinct leaves one path of each package, or drops what was named twice, and
// sorts them by path.
func (f *finder) distinct() {
	met, kept := map[string]int{}, f.found[:0]
	for _, p := range f.found {
		key := p.file
		if f.every {
			key = filepath.Clean(p.path)
		}
		switch i, again := met[key]; {
		case !again:
			met[key] = len(kept)
			kept = append(kept, p)
		case kept[i].link && !p.link:
			kept[i] = p
		}
	}
	slices.SortStableFunc(kept, func(a, b found) int { return cmp.Compare(a.path, b.path) })
	f.found = kept
}

// outside returns the file that a package is, unless it is, or is below, something
// that was named.
func (f *finder) outside(p found) string {
	for _, name := range f.named {
		if rel, err := filepath.Rel(name, p.file); err == nil && filepath.IsLocal(rel) {
			return ""
		}
	}
	return p.file
}

func distinctOutputs(units []Unit) error {
	met := map[string]string{}
	for _, u := range units {
		if u.Output == "" {
			continue
		}
		if other, taken := met[u.Output]; taken {
			return fmt.Errorf("%w: %s and %s to %s", ErrSameOutput, other, u.Path, u.Output)
		}
		met[u.Output] = u.Path
	}
	return nil
}

// MakeDirs makes the directories that the units' outputs go to.
func MakeDirs(units []Unit) error {
	made := map[string]bool{}
	for _, u := range units {
		if dir := filepath.Dir(u.Output); u.Output != "" && !made[dir] {
			if err := os.MkdirAll(dir, 0o755); err != nil {
				return err
			}
			made[dir] = true
		}
	}
	return nil
}
