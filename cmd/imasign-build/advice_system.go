package main

import (
	"errors"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/pflag"

	"github.com/imasign/imasign-build/internal/quote"
)

// adviceOnPath returns advice on a file that is missing or is no directory, if it was
// named on the command line or in the environment; "" otherwise.
func (a *app) adviceOnPath(err error) string {
	path := pathOf(err)
	missing := errors.Is(err, fs.ErrNotExist)
	if path == "" || !missing && !errors.Is(err, syscall.ENOTDIR) {
		return ""
	}
	where, named := a.namedBy(path)
	if !named {
		return ""
	}
	if path == "-" {
		return "name a file: it does not read standard input"
	}
	if info, err := os.Stat(path); err == nil && !missing && !info.IsDir() {
		if a.concerns(cause{on: "manifest apply"}) {
			return "name a directory, or with -o OUT.tar an archive"
		}
		return "name a directory"
	}
	check := "check the path" + where
	if to, err := os.Readlink(path); err == nil && missing {
		return check + ": it is a symbolic link to " + quote.Name(to)
	}
	if parent := filepath.Dir(path); missing && parent != "." {
		if _, err := os.Stat(parent); errors.Is(err, fs.ErrNotExist) {
			return check + ": there is no directory " + quote.Name(parent)
		}
	}
	if dir, err := os.Getwd(); err == nil && missing && !filepath.IsAbs(path) {
		return check + ", which is relative to " + quote.Name(dir)
	}
	return check
}

// namedBy returns what names a path: " in --cert" for a flag, " in IMASIGN_CERT" for a
// variable, and "" for an argument.
func (a *app) namedBy(path string) (where string, named bool) {
	if a.command == nil {
		return "", false
	}
	flags := a.command.Flags()
	for _, arg := range flags.Args() {
		named = named || arg == path || strings.TrimPrefix(arg, "file:") == path
	}
	if named {
		return "", true
	}
	flags.Visit(func(f *pflag.Flag) {
		values := []string{f.Value.String()}
		if list, ok := f.Value.(pflag.SliceValue); ok {
			values = list.GetSlice()
		}
		for _, value := range values {
			if value == path || pathIn(value) == path || isAttribute(value, path) || path != "." && filepath.Dir(value) == path || strings.HasSuffix(value, "source=file:"+path) || strings.Contains(value, "source=file:"+path+"&") {
				where, named = " in --"+f.Name, true
			}
		}
	})
	for _, name := range []string{"IMASIGN_KEY", "IMASIGN_CERT", passVariable, cacheVariable} {
		if value, set := a.getenv(name); set && !named && (value == path || pathIn(value) == path || isAttribute(value, path)) {
			where, named = " in "+name, true
		}
	}
	return where, named
}

// isAttribute reports whether an attribute of the URI of a signing service names a path.
func isAttribute(value, path string) bool {
	if scheme, _, _ := strings.Cut(value, ":"); !strings.EqualFold(scheme, "https") {
		return false
	}
	_, query, _ := strings.Cut(value, "?")
	for pair := range strings.SplitSeq(query, "&") {
		_, raw, _ := strings.Cut(pair, "=")
		name, err := url.PathUnescape(strings.TrimPrefix(raw, "file:"))
		if err == nil && name == path {
			return true
		}
	}
	return false
}

// pathIn returns the path in a URI of a key, or in a source of a secret.
func pathIn(value string) string {
	for _, scheme := range []string{"file:", "tpm2:"} {
		if path, found := strings.CutPrefix(value, scheme); found {
			path, _, _ = strings.Cut(path, "?")
			return path
		}
	}
	return value
}

// adviceOnSystem returns advice on what the operating system refused, "" for none.
func (a *app) adviceOnSystem(err error) string {
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return "free some space or write to another file system"
	case errors.Is(err, syscall.EMFILE) && a.concerns(cause{flag: "jobs"}):
		return "use a smaller --jobs, or a larger limit (ulimit -n)"
	case errors.Is(err, syscall.EMFILE):
		return "use a larger limit (ulimit -n)"
	case errors.Is(err, syscall.EROFS):
		return "write to another file system"
	case errors.Is(err, syscall.EACCES):
		return "check its mode and those of its directories (`namei -l`), or run as root"
	case errors.Is(err, syscall.EISDIR):
		return "name a file"
	case errors.Is(err, syscall.ENOTDIR):
		return "name a directory"
	}
	return ""
}

// pathOf is the path that an error is about: that of a system call, else one that the
// user named and the text repeats, else "".
func (a *app) pathOf(err error) string {
	var usage usageError
	if path := pathOf(err); path != "" || a.command == nil || errors.As(err, &usage) || lines(err) != nil {
		return path
	}
	text := err.Error()
	for _, path := range a.paths() {
		if before, after, found := strings.Cut(text, path); found &&
			(before == "" || strings.HasSuffix(before, " ")) && (after == "" || after[0] == ':' || after[0] == ' ') {
			return path
		}
	}
	return ""
}

// paths are the arguments, and the values of flags and variables that name files.
func (a *app) paths() (list []string) {
	flags := a.command.Flags()
	for _, name := range []string{
		"key", "cert", "ca-key", "ca", "manifest", "output", "restore-file", "output-dir", "openpgp-key", "openpgp-cert",
		"allow-keys", "kernel-config", "rootfs", "image", "policy", "busybox", "secondary", "revoked", "cache", "receipts",
	} {
		if f := flags.Lookup(name); f == nil || !f.Changed {
			continue
		} else if values, ok := f.Value.(pflag.SliceValue); ok {
			list = append(list, values.GetSlice()...)
		} else {
			list = append(list, f.Value.String())
		}
	}
	for _, name := range []string{"IMASIGN_KEY", "IMASIGN_CERT", cacheVariable} {
		if value, set := a.getenv(name); set {
			list = append(list, value)
		}
	}
	for i, value := range list {
		list[i] = pathIn(value)
	}
	list = append(list, flags.Args()...)
	return slices.DeleteFunc(list, func(path string) bool { return path == "" || path == "-" })
}
