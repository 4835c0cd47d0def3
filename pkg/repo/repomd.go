package repo

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/imasign/imasign-build/internal/input"
)

// maxRepomd bounds repomd.xml, which lists a dozen files.
const maxRepomd = 4 << 20

// repomd is what repodata/repomd.xml says: createrepo_c's src/repomd.h.
type repomd struct {
	Revision string `xml:"revision"`
	Tags     struct {
		Content []string `xml:"content"`
		Repo    []string `xml:"repo"`
		Distro  []struct {
			CPE  string `xml:"cpeid,attr"`
			Name string `xml:",chardata"`
		} `xml:"distro"`
	} `xml:"tags"`
	Data []metadata `xml:"data"`
}

// metadata is one file of metadata.
type metadata struct {
	Type     string `xml:"type,attr"`
	Checksum struct {
		Type string `xml:"type,attr"`
	} `xml:"checksum"`
	Location struct {
		Href string `xml:"href,attr"`
	} `xml:"location"`
}

func repomdPath(dir string) string { return filepath.Join(dir, "repodata", "repomd.xml") }

// readRepomd reads the metadata's index of the repository in dir.
func readRepomd(dir string) (*repomd, error) {
	f, err := input.Regular(repomdPath(dir))
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w: it has no repodata/repomd.xml; createrepo_c makes one, and `rpm sign` signs packages that are no repository", dir, ErrNoRepository)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // opened for reading
	text, err := io.ReadAll(io.LimitReader(f, maxRepomd+1))
	if err != nil {
		return nil, err
	}
	return parseRepomd(f.Name(), text)
}

func parseRepomd(name string, text []byte) (*repomd, error) {
	if len(text) > maxRepomd {
		return nil, fmt.Errorf("%s: %w: over %d bytes", name, ErrNoRepository, maxRepomd)
	}
	var r repomd
	if err := xml.Unmarshal(text, &r); err != nil {
		return nil, fmt.Errorf("%s: %w: %w", name, ErrNoRepository, err)
	}
	primary := r.find("primary")
	if primary == nil {
		return nil, fmt.Errorf("%s: %w: it names no primary metadata", name, ErrNoRepository)
	}
	for _, m := range r.Data {
		if !filepath.IsLocal(m.Location.Href) {
			return nil, fmt.Errorf("%s: %w: %s metadata at %q, outside of the repository", name, ErrNoRepository, m.Type, m.Location.Href)
		}
	}
	return &r, nil
}

func (r *repomd) find(kind string) *metadata {
	i := slices.IndexFunc(r.Data, func(m metadata) bool { return m.Type == kind })
	if i < 0 {
		return nil
	}
	return &r.Data[i]
}

// additional reports whether metadata of a type describe something else than the
// packages themselves: groups, modules, updateinfo. They are kept as they are.
func additional(kind string) bool {
	kind = strings.TrimSuffix(strings.TrimSuffix(kind, "_zck"), "_db")
	switch kind {
	case "primary", "filelists", "filelists-ext", "other":
		return false
	}
	return !isDelta(kind)
}

// isDelta reports whether metadata of a type are of delta packages, which are of no
// use once the packages have changed.
func isDelta(kind string) bool { return kind == "prestodelta" || kind == "deltainfo" }

// createrepoArguments are what has createrepo_c make metadata of the same kinds as
// the old ones.
func (r *repomd) createrepoArguments(workers int) []string {
	args := []string{"--update", "--recycle-pkglist", "--keep-all-metadata", "--retain-old-md=0", "--error-exit-val", fmt.Sprintf("--workers=%d", workers)}
	primary := r.find("primary")
	if t := primary.Checksum.Type; t != "" {
		args = append(args, "--checksum="+t)
	}
	if suffix := compressionOf(primary.Location.Href); suffix != "" {
		args = append(args, "--general-compress-type="+suffix)
	}
	switch {
	case r.find("primary_db") != nil:
		args = append(args, "--database")
	default:
		args = append(args, "--no-database")
	}
	if r.find("primary_zck") != nil {
		args = append(args, "--zck")
	}
	if !strings.Contains(path.Base(primary.Location.Href), "-") {
		args = append(args, "--simple-md-filenames")
	}
	return append(args, r.tagArguments()...)
}

func (r *repomd) tagArguments() []string {
	var args []string
	for _, c := range r.Tags.Content {
		args = append(args, "--content="+c)
	}
	for _, t := range r.Tags.Repo {
		args = append(args, "--repo="+t)
	}
	for _, d := range r.Tags.Distro {
		text := d.Name
		if d.CPE != "" {
			text = d.CPE + "," + d.Name
		}
		args = append(args, "--distro="+text)
	}
	return args
}

func compressionOf(name string) string {
	switch path.Ext(name) {
	case ".gz":
		return "gz"
	case ".bz2":
		return "bz2"
	case ".xz":
		return "xz"
	case ".zst":
		return "zstd"
	}
	return ""
}

// lost returns the additional metadata that now does not have any more.
func (r *repomd) lost(now *repomd) []string {
	var list []string
	for _, m := range r.Data {
		if additional(m.Type) && now.find(m.Type) == nil {
			list = append(list, m.Type)
		}
	}
	return list
}
