package repo

import (
	"cmp"
	"encoding/xml"
	"fmt"
	"io"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/imasign/imasign-build/internal/input"
	"github.com/imasign/imasign-build/internal/quote"
)

// maxRepomd limits the size of repomd.xml, which lists about a dozen files.
const maxRepomd = 4 << 20

// repomd is the content of repodata/repomd.xml (createrepo_c's src/repomd.h).
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

// metadata is one metadata file.
type metadata struct {
	Type     string   `xml:"type,attr"`
	Checksum checksum `xml:"checksum"`
	// Open is the checksum of the unpacked file. It is missing if the file is not compressed.
	Open     *checksum `xml:"open-checksum"`
	Size     int64     `xml:"size"`
	OpenSize int64     `xml:"open-size"`
	Location struct {
		Href string `xml:"href,attr"`
		Base string `xml:"base,attr"`
	} `xml:"location"`
}

type checksum struct {
	Type string `xml:"type,attr"`
	Hex  string `xml:",chardata"`
}

func repomdPath(dir string) string { return filepath.Join(dir, "repodata", "repomd.xml") }

// readRepomd reads the repomd.xml of the repository in dir.
func readRepomd(dir string) (*repomd, error) {
	text, err := readBounded(repomdPath(dir))
	if err != nil {
		return nil, err
	}
	return parseRepomd(repomdPath(dir), text)
}

// readBounded reads a repomd.xml, or maxRepomd+1 bytes of a larger file.
func readBounded(path string) ([]byte, error) {
	f, err := input.Regular(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // opened for reading
	return io.ReadAll(io.LimitReader(f, maxRepomd+1))
}

func parseRepomd(name string, text []byte) (*repomd, error) {
	if len(text) > maxRepomd {
		return nil, fmt.Errorf("%s: %w: it has more than %d bytes", name, ErrNoRepository, maxRepomd)
	}
	var r repomd
	if err := xml.Unmarshal(text, &r); err != nil {
		return nil, fmt.Errorf("%s: %w: %w", name, ErrNoRepository, quote.Plain(err))
	}
	primary := r.find("primary")
	if primary == nil {
		return nil, fmt.Errorf("%s: %w: it lists no primary metadata", name, ErrNoRepository)
	}
	for _, m := range r.Data {
		if !filepath.IsLocal(m.Location.Href) {
			return nil, fmt.Errorf("%s: %w: its %s metadata is at %q, outside the repository", name, ErrNoRepository, m.Type, m.Location.Href)
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

// createrepoArguments returns arguments for createrepo_c to make metadata of the same kinds as
// the old metadata. packageSum is the type of the packages' checksums.
func (r *repomd) createrepoArguments(workers int, packageSum string) []string {
	args := []string{"--update", "--keep-all-metadata", "--retain-old-md=0", "--error-exit-val", fmt.Sprintf("--workers=%d", workers)}
	primary := r.find("primary")
	if t := primary.Checksum.Type; t != "" {
		args = append(args, "--checksum="+cmp.Or(packageSum, t), "--repomd-checksum="+t)
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
	if r.find("filelists-ext") != nil {
		args = append(args, "--filelists-ext")
	}
	if r.simpleNames() {
		args = append(args, "--simple-md-filenames")
	}
	return append(args, r.tagArguments()...)
}

// hasOriginal reports whether a type is the zchunk copy of another type in the repository.
func (r *repomd) hasOriginal(kind string) bool {
	original, is := strings.CutSuffix(kind, "_zck")
	return is && r.find(original) != nil
}

// simpleNames reports whether the names of metadata files have no checksums.
func (r *repomd) simpleNames() bool {
	return !strings.Contains(path.Base(r.find("primary").Location.Href), "-")
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

// lost returns the types of additional metadata that now lacks.
func (r *repomd) lost(now *repomd) []string {
	var list []string
	for _, m := range r.Data {
		if !remade(m.Type) && now.find(m.Type) == nil {
			list = append(list, m.Type)
		}
	}
	return list
}
