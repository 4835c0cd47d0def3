package repo

import (
	"context"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/imasign/imasign-build/internal/input"
)

// file verifies one metadata file.
func (v *verification) file(ctx context.Context, p *listing, d metadata) error {
	if d.Location.Base != "" {
		v.Observe.Warn(filepath.Join(v.Dir, p.rel, metadataDir), fmt.Sprintf("the %s metadata is elsewhere (%s) and is not verified", d.Type, d.Location.Base))
		return nil
	}
	rel := filepath.Join(p.rel, d.Location.Href)
	f, err := input.Regular(filepath.Join(v.root, rel))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, input.ErrNotRegular) {
		v.find(rel, FlawMetadata, "repomd.xml lists it as %s: %v", d.Type, err)
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // opened for reading
	if err := v.sum(ctx, rel, d.Checksum, d.Size, f); err != nil {
		return err
	}
	in, err := openMetadata(f.Name())
	if err != nil {
		if errors.Is(err, ErrMetadata) && !errors.Is(err, errZchunk) {
			v.find(rel, FlawMetadata, "%v", err)
			err = nil
		}
		if errors.Is(err, errZchunk) {
			err = nil
		}
		return err
	}
	defer in.Close() //nolint:errcheck // opened for reading
	if d.Open != nil {
		if err := v.sum(ctx, rel, *d.Open, d.OpenSize, in); err != nil {
			v.find(rel, FlawMetadata, "unpack it: %v", err)
			return context.Cause(ctx)
		}
	}
	return v.pkgids(p, rel, d)
}

// sum compares a file with the checksum and the size that repomd.xml states.
func (v *verification) sum(ctx context.Context, rel string, want checksum, size int64, in io.Reader) error {
	h := hashOf(want.Type)
	if h == nil {
		v.find(rel, FlawMetadata, "repomd.xml states a checksum of type %q", want.Type)
		return nil
	}
	digest := h()
	counted := &counter{r: in}
	if err := copyContext(ctx, digest, counted); err != nil {
		return err
	}
	if got := hex.EncodeToString(digest.Sum(nil)); got != strings.ToLower(strings.TrimSpace(want.Hex)) {
		v.find(rel, FlawMetadata, "its %s checksum is %s, but repomd.xml states %s", want.Type, got, want.Hex)
	} else if size != 0 && size != counted.n {
		v.find(rel, FlawMetadata, "it has %d bytes, but repomd.xml states %d", counted.n, size)
	}
	return nil
}

type counter struct {
	r io.Reader
	n int64
}

func (c *counter) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.n += int64(n)
	return n, err
}

// pkgids compares the checksums of packages in a metadata file with primary.xml.
func (v *verification) pkgids(p *listing, rel string, d metadata) error {
	base := strings.TrimSuffix(d.Type, "_zck")
	whole := base == "filelists" || base == "other" || base == "filelists-ext"
	if base != d.Type || !whole && !strings.HasPrefix(base, "susedata") {
		return nil
	}
	known := map[string]bool{}
	for _, l := range p.all {
		known[l.pkgid] = false
	}
	in, err := openMetadata(filepath.Join(v.root, rel))
	if err != nil {
		return err
	}
	defer in.Close() //nolint:errcheck // opened for reading
	var strange []string
	err = eachToken(in, func(path []string, token xml.Token) error {
		t, start := token.(xml.StartElement)
		if !start || len(path) != 2 || path[1] != "package" {
			return nil
		}
		id := strings.ToLower(attribute(t, "pkgid"))
		if _, is := known[id]; !is {
			strange = append(strange, attribute(t, "name"))
			return nil
		}
		known[id] = true
		return nil
	})
	if err != nil {
		v.find(rel, FlawMetadata, "%v", err)
		return nil
	}
	if len(strange) > 0 {
		v.find(rel, FlawStale, "it has checksums of packages that are not in primary.xml: %s", some(strange))
	}
	lacks := 0
	for _, met := range known {
		if !met && whole {
			lacks++
		}
	}
	if lacks > 0 {
		v.find(rel, FlawStale, "it lacks %d packages of primary.xml", lacks)
	}
	return nil
}
