package repo

import (
	"context"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/imasign/imasign-build/internal/input"
	"github.com/imasign/imasign-build/pkg/rpmsign"
	"github.com/imasign/imasign-build/pkg/signing"
)

// Flaw is what is wrong with a repository's metadata, or with a package that they
// list.
type Flaw string

// The flaws.
const (
	FlawMetadata  Flaw = "metadata"  // a file of metadata is missing, unreadable, or not the one that repomd.xml lists
	FlawMissing   Flaw = "missing"   // a listed package is not there
	FlawDiffers   Flaw = "differs"   // a package is not the one that is listed
	FlawUnlisted  Flaw = "unlisted"  // a package is there that is not listed
	FlawStale     Flaw = "stale"     // metadata name packages by checksums that no package has
	FlawSignature Flaw = "signature" // repomd.xml.asc is missing or not valid
)

// Finding is one flaw.
type Finding struct {
	Path   string // of the package or the metadata; it begins with VerifyOptions.Dir
	Flaw   Flaw
	Detail string
}

// VerifyOptions are those of Verify.
type VerifyOptions struct {
	Dir string // a repository, or a directory with several below it
	// Signers, unless nil, demands that one of them signed repomd.xml.
	Signers *Signers
	// Jobs is how many packages are read at a time, at least one.
	Jobs int
	// Observe gets warnings.
	Observe signing.Observer
}

// verification is one run of Verify.
type verification struct {
	VerifyOptions
	*site

	take func(Finding) error
	err  error // of take
}

// Verify compares a repository's metadata with its packages and with each other, and
// hands what is wrong to take. It returns the listed packages that are there, whose
// file signatures are for the caller to verify, and how many repositories there are.
func Verify(ctx context.Context, o VerifyOptions, take func(Finding) error) (units []rpmsign.Unit, repositories int, err error) {
	r, err := newTask(Options{Dir: o.Dir}, nil)
	if err != nil {
		return nil, 0, err
	}
	all, err := takeSurvey(ctx, r.Dir)
	if err != nil {
		return nil, 0, err
	}
	v := &verification{VerifyOptions: o, site: &site{survey: all}, take: take}
	for _, rel := range v.roots() {
		repositories++
		if err := v.open(rel); err != nil {
			return nil, 0, err
		}
	}
	if repositories == 0 {
		return nil, 0, noRepository(o.Dir)
	}
	if err := v.run(ctx); err != nil {
		return nil, 0, err
	}
	r.Dir = o.Dir
	return r.unitsIn(v.site, ""), repositories, v.err
}

func (v *verification) find(path string, flaw Flaw, format string, args ...any) {
	if v.err == nil {
		v.err = v.take(Finding{filepath.Join(v.Dir, path), flaw, fmt.Sprintf(format, args...)})
	}
}

// open reads a repository; metadata that cannot be used are what is wrong with it.
func (v *verification) open(rel string) error {
	p, err := v.readRepository(rel)
	switch {
	case errors.Is(err, ErrMetadata), errors.Is(err, ErrNoRepository), errors.Is(err, input.ErrNotRegular), errors.Is(err, fs.ErrNotExist):
		v.find(filepath.Join(rel, metadataDir), FlawMetadata, "%v", err)
		return nil
	case err != nil:
		return err
	}
	v.repositories = append(v.repositories, p)
	return nil
}

func (v *verification) run(ctx context.Context) error {
	v.findAdditions()
	for _, rel := range v.homeless {
		v.find(rel, FlawUnlisted, "it lies in no repository")
	}
	for _, p := range v.repositories {
		if err := v.repository(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

func (v *verification) repository(ctx context.Context, p *listing) error {
	for _, d := range p.old.Data {
		if err := v.file(ctx, p, d); err != nil {
			return err
		}
	}
	if err := v.signature(p); err != nil {
		return err
	}
	for _, href := range p.gone {
		v.find(filepath.Join(p.rel, href), FlawMissing, "the metadata list it, and it is not there")
	}
	for _, rel := range p.added {
		v.find(filepath.Join(p.rel, rel), FlawUnlisted, "the metadata do not list it")
	}
	p.added = nil
	return v.packages(ctx, p)
}

// file verifies one file of metadata.
func (v *verification) file(ctx context.Context, p *listing, d metadata) error {
	if d.Location.Base != "" {
		v.Observe.Warn(filepath.Join(v.Dir, p.rel, metadataDir), fmt.Sprintf("the %s metadata lie elsewhere (%s) and are not verified", d.Type, d.Location.Base))
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
		v.find(rel, FlawMetadata, "its %s checksum is %s, and repomd.xml states %s", want.Type, got, want.Hex)
	} else if size != 0 && size != counted.n {
		v.find(rel, FlawMetadata, "it has %d bytes, and repomd.xml states %d", counted.n, size)
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

// pkgids compares the checksums by which metadata name packages with primary.xml.
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
		v.find(rel, FlawStale, "it names packages by checksums that are not in primary.xml: %s", some(strange))
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

// packages compares the packages that are there with what primary.xml says of them.
func (v *verification) packages(ctx context.Context, p *listing) error {
	by := map[string][]listed{}
	var units []rpmsign.Unit
	for _, l := range p.all {
		item, there := p.units[l.href]
		if !there {
			continue
		}
		if by[item] == nil {
			units = append(units, rpmsign.Unit{Path: item})
		}
		by[item] = append(by[item], l)
	}
	slices.SortFunc(units, func(a, b rpmsign.Unit) int { return strings.Compare(a.Path, b.Path) })
	var errs []error
	err := rpmsign.Each(ctx, v.Jobs, units, func(ctx context.Context, u rpmsign.Unit) judged {
		return v.judge(ctx, u.Path, by[u.Path])
	}, func(j judged) error {
		for _, detail := range j.differs {
			v.find(j.item, FlawDiffers, "%s", detail)
		}
		if j.err != nil {
			errs = append(errs, j.err)
		}
		return v.err
	})
	return errors.Join(append(errs, err)...)
}

// judged is what came of one package.
type judged struct {
	item    string
	differs []string
	err     error
}

// judge compares one package with what is listed of it.
func (v *verification) judge(ctx context.Context, item string, list []listed) judged {
	j := judged{item: item}
	path := filepath.Join(v.root, item)
	info, err := os.Stat(path)
	if err != nil {
		j.err = err
		return j
	}
	name := ""
	if p, err := rpmsign.Open(path, rpmsign.Options{}); err == nil { // what it is otherwise, its signatures' verification tells
		name = p.Name()
		_ = p.Close() // opened for reading
	}
	for _, l := range list {
		h := hashOf(l.sumType)
		if h == nil || 2*h().Size() != len(l.pkgid) {
			j.differs = append(j.differs, fmt.Sprintf("primary.xml states a checksum of type %q", l.sumType))
			continue
		}
		is, err := sums(ctx, path, map[int]bool{len(l.pkgid): true})
		if err != nil {
			j.err = err
			return j
		}
		switch {
		case is[len(l.pkgid)] != l.pkgid:
			j.differs = append(j.differs, fmt.Sprintf("its %s checksum is %s, and primary.xml states %s", l.sumType, is[len(l.pkgid)], l.pkgid))
		case info.Size() != l.size:
			j.differs = append(j.differs, fmt.Sprintf("it has %d bytes, and primary.xml states %d", info.Size(), l.size))
		case name != "" && name != l.name:
			j.differs = append(j.differs, fmt.Sprintf("it is %s, and primary.xml calls it %s", name, l.name))
		}
	}
	return j
}
