package repo

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/imasign/imasign-build/internal/atomicfile"
	"github.com/imasign/imasign-build/internal/child"
	"github.com/imasign/imasign-build/internal/pipeline"
	"github.com/imasign/imasign-build/internal/quote"
)

// Files beside repomd.xml that say who made it.
const (
	signaturePath = "repodata/repomd.xml.asc"
	keyPath       = "repodata/repomd.xml.key"
)

// making is one repository whose metadata is being made.
type making struct {
	*task
	*listing

	to  string // the site with its packages: the sibling, or the site itself
	dir string // the directory of its packages: rel, below to
	out string // the directory of repodata, which has the old metadata first and then the new
}

func (m *making) work() string { return filepath.Join(m.dir, workDir) }

// make runs createrepo_c, updates the metadata that createrepo_c only keeps, and signs the
// result. It fails if any additional metadata is missing afterwards.
func (m *making) make(ctx context.Context) error {
	if err := os.MkdirAll(m.work(), 0o700); err != nil {
		return err
	}
	args, err := m.arguments()
	if err != nil {
		return err
	}
	if err := m.forget(); err != nil {
		return err
	}
	if err := m.execute(ctx, m.createrepoProgram(), append(args, m.dir)...); err != nil {
		return err
	}
	now, err := readRepomd(m.out)
	if err != nil {
		return err
	}
	if lost := m.old.lost(now); len(lost) > 0 {
		return fmt.Errorf("make the metadata of %s: %s did not keep the %s metadata: try a newer version", m.dir, m.createrepoProgram(), strings.Join(lost, ", "))
	}
	if err := m.follow(ctx, now); err != nil {
		return err
	}
	if err := makeDir(filepath.Join(m.Dir, m.rel, metadataDir), filepath.Join(m.out, metadataDir)); err != nil {
		return err // sets the mode
	}
	return m.signRepomd()
}

func (m *making) arguments() ([]string, error) {
	sumType := ""
	if len(m.all) > 0 {
		sumType = m.all[0].sumType
	}
	base, err := m.baseURL()
	if err != nil {
		return nil, err
	}
	list := filepath.Join(m.work(), "pkglist")
	if err := os.WriteFile(list, m.pkglist(), 0o600); err != nil {
		return nil, err
	}
	args := append(m.old.createrepoArguments(pipeline.Jobs(m.Jobs), sumType), "--pkglist="+list)
	if base != "" {
		args = append(args, "--baseurl="+base)
	}
	if m.out != m.dir {
		args = append(args, "--outputdir="+m.out)
	}
	return args, nil
}

// forget makes sure that createrepo_c reuses only additional metadata. It compares only size
// and mtime, so it would not notice packages that were signed in place and got their old
// mtime back, or that were rebuilt with the mtime of their SOURCE_DATE_EPOCH.
func (m *making) forget() error {
	text, err := withoutCore(m.text)
	if err != nil {
		return err
	}
	for _, d := range m.old.Data {
		if remade(d.Type) {
			if err := remove(filepath.Join(m.out, d.Location.Href)); err != nil {
				return err
			}
		}
	}
	for name, content := range map[string]string{"primary": "common", "filelists": "filelists", "other": "other"} {
		root := map[string]string{"primary": "metadata", "filelists": "filelists", "other": "otherdata"}[name]
		empty := fmt.Sprintf(`<?xml version="1.0" encoding="UTF-8"?><%s xmlns="http://linux.duke.edu/metadata/%s" packages="0"/>`, root, content)
		if err := replaceFile(filepath.Join(m.out, metadataDir, "imasign-none-"+name+".xml"), []byte(empty)); err != nil {
			return err
		}
	}
	return replaceFile(repomdPath(m.out), text)
}

// replaceFile writes a new file, so other hard links to the old one keep its content.
func replaceFile(path string, text []byte) error {
	if err := remove(path); err != nil {
		return err
	}
	return os.WriteFile(path, text, 0o644)
}

// withoutCore returns a repomd.xml whose core metadata lists no packages.
func withoutCore(text []byte) ([]byte, error) {
	var out bytes.Buffer
	d := xml.NewDecoder(bytes.NewReader(text))
	from := int64(0) // the first byte that is not written yet
	for {
		at := d.InputOffset()
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			out.Write(text[from:])
			return out.Bytes(), nil
		}
		if err != nil {
			return nil, err
		}
		switch t := token.(type) {
		case xml.StartElement:
			if t.Name.Local != "data" || !remade(attribute(t, "type")) {
				continue
			}
			out.Write(text[from:at])
			if err := d.Skip(); err != nil {
				return nil, err
			}
			from = d.InputOffset()
		case xml.EndElement:
			if t.Name.Local != "repomd" {
				continue
			}
			out.Write(text[from:at])
			for _, name := range []string{"primary", "filelists", "other"} {
				fmt.Fprintf(&out, `<data type="%s"><location href="repodata/imasign-none-%s.xml"/></data>`, name, name)
			}
			from = at
		}
	}
}

// unknownCompression matches the error of createrepo_c and modifyrepo_c for a --compress-type
// that they do not support: zstd before 1.0.
var unknownCompression = regexp.MustCompile(`Unknown\S* compression type`)

// execute runs a program that works on the metadata.
func (m *making) execute(ctx context.Context, program string, args ...string) error {
	err := child.Run(ctx, child.Command{Program: program, Args: args, Environment: m.Environment, Log: logPath(m.dir)})
	switch {
	case err == nil || ctx.Err() != nil:
		return err
	case unknownCompression.MatchString(err.Error()):
		return fmt.Errorf("make the metadata of %s: this %s does not know the compression of some of it: use a newer createrepo_c: %w", m.dir, filepath.Base(program), err)
	}
	return fmt.Errorf("make the metadata of %s: %w", m.dir, err)
}

// logPath returns the file that programs have open while they work on a repository.
func logPath(dir string) string { return filepath.Join(dir, workDir, "log") }

func (r *task) createrepoProgram() string {
	if r.Createrepo == "" {
		return "createrepo_c"
	}
	return r.Createrepo
}

func (r *task) findCreaterepo() error {
	if _, err := exec.LookPath(r.createrepoProgram()); err != nil {
		return fmt.Errorf("%w: install it (the package is called createrepo_c or createrepo-c), it makes the metadata of repositories", quote.Plain(err))
	}
	return nil
}

// warnAboutSignature warns that repomd.xml will lose its signature.
func (r *task) warnAboutSignature(rel string) error {
	_, err := os.Stat(filepath.Join(r.Dir, rel, signaturePath))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case r.OpenPGP == nil:
		r.warn(filepath.Join(rel, signaturePath) + " " + SignatureLeftOut)
	}
	return nil
}

// signRepomd makes repomd.xml.asc with the OpenPGP key, and repomd.xml.key if there was one.
// Without a key it removes both, because they belong to the old metadata.
func (m *making) signRepomd() error {
	if m.OpenPGP == nil {
		return errors.Join(remove(filepath.Join(m.out, signaturePath)), remove(filepath.Join(m.out, keyPath)))
	}
	text, err := os.ReadFile(repomdPath(m.out))
	if err != nil {
		return err
	}
	signature, err := m.OpenPGP.ArmoredSignature(bytes.NewReader(text))
	if err != nil {
		return err
	}
	if err := atomicfile.WriteFile(filepath.Join(m.out, signaturePath), signature, 0o644); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(m.Dir, m.rel, keyPath)); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	public, err := m.OpenPGP.ArmoredPublicKey()
	if err != nil {
		return err
	}
	return atomicfile.WriteFile(filepath.Join(m.out, keyPath), public, 0o644)
}

func remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// shareMetadata makes a repodata directory in out with the files of the one in dir, except
// the signature of repomd.xml and its key.
func shareMetadata(dir, out string) error {
	from, err := filepath.EvalSymlinks(filepath.Join(dir, metadataDir))
	if err != nil {
		return err
	}
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		name := filepath.Join(metadataDir, rel)
		target := filepath.Join(out, name)
		switch {
		case d.IsDir():
			return makeDir(path, target)
		case name == signaturePath || name == keyPath:
			return nil
		case d.Type()&fs.ModeSymlink != 0 && !isFile(path):
			return nil // a dangling link, or one to a directory, which is not metadata
		}
		return atomicfile.LinkOrCopy(path, target)
	})
}
