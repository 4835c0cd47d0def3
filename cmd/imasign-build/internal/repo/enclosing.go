package repo

import (
	"os"
	"path/filepath"
	"slices"
)

// Enclosing returns the repositories that contain a file: the directories above it that have
// metadata. It looks above the path as given and above the path without symbolic links, and
// returns each directory once.
func Enclosing(file string) []string {
	var list []string
	for _, path := range paths(file) {
		for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
			if isFile(repomdPath(dir)) && !slices.ContainsFunc(list, func(other string) bool { return sameDir(dir, other) }) {
				list = append(list, dir)
			}
			if dir == filepath.Dir(dir) {
				break
			}
		}
	}
	slices.Sort(list)
	return list
}

func sameDir(a, b string) bool {
	is, err := os.Stat(a)
	if err != nil {
		return a == b
	}
	other, err := os.Stat(b)
	return err == nil && os.SameFile(is, other)
}

func paths(file string) []string {
	var list []string
	if path, err := filepath.Abs(file); err == nil {
		list = append(list, path)
	}
	if there, err := filepath.EvalSymlinks(file); err == nil {
		if path, err := filepath.Abs(there); err == nil {
			list = append(list, path)
		}
	}
	return list
}
