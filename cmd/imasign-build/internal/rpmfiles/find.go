// Package rpmfiles finds package files by their names, in directories and through symbolic
// links, and the paths of their copies.
//
// It does not open the files: pkg/rpmsign reads packages. Package repo knows which files
// belong to a repository.
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
	Path   string // how it was found
	Output string // where to write it; "" means in place
	// Outside is the file that Path leads to through symbolic links, if that file is outside
	// everything that the user named. It is read, and never written to.
	Outside string
}

// ErrSameOutput means that two packages would be written to one path.
var ErrSameOutput = errors.New("two packages would be written to one file")

var errManyLinks = errors.New("symbolic links lead to too many directories")

// maxLinkedDirectories limits how many directories are entered through symbolic links, because
// a few links that lead to each other make an endless number of paths.
const maxLinkedDirectories = 10_000

// IsPackage reports whether a file in a directory counts as a package. createrepo_c lists only
// *.rpm, but files with capital letters in .rpm can be installed as well.
func IsPackage(name string) bool {
	return len(name) >= len(".rpm") && strings.EqualFold(name[len(name)-len(".rpm"):], ".rpm")
}

// Find lists the packages at paths, sorted: named files, and everything called *.rpm below
// named directories. Like createrepo_c, it follows symbolic links to files and directories,
// but never enters a directory that it is already in. It also lists *.rpm that are not files
// (a dangling link, a FIFO), so that opening them fails with their name.
//
// Without outputDir it lists each file once, by a path without links if there is one. With
// outputDir it sets Output below it: for a named file its base name, for others their path
// from the named directory, with or without links.
//
// Errors name the path and wrap the error of the file system, or [ErrSameOutput].
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
	named   []string // the named paths, without links
	found   []found
	entered map[string]bool // directories, without links, and whether they were entered through links
	linked  int             // directories entered through links
}

type found struct {
	path string // how it was found
	rel  string // from the named directory
	file string // absolute path without symbolic links; path if a link is dangling
	link bool   // whether symbolic links lead there from the named directory
}

// directory is a directory that is being searched.
type directory struct {
	found

	within []string // the directories on the way to it, without links
}

// name finds the packages at a path that the user named.
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

// search finds the packages below a directory.
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

// nowhere reports whether err means a dangling link. filepath.EvalSymlinks has no error type
// for links in a circle.
func nowhere(err error) bool {
	var path *fs.PathError
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ELOOP) || errors.Is(err, syscall.ENOTDIR) || !errors.As(err, &path)
}

// below is filepath.Join for a directory whose path may have ".." after a link.
func below(dir, name string) string {
	switch dir {
	case ".":
		return name
	case "/":
		return dir + name
	}
	return strings.TrimRight(dir, "/") + "/" + name
}

// absolute returns the absolute path, or path if there is no working directory.
func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}

// distinct keeps one path of each package, or of each path if every is set, and sorts them.
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

// outside returns the file of a package that is neither named nor below a named directory, and
// "" for others.
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

// MakeDirs makes the directories of the units' outputs.
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
