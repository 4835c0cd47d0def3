package repo

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/imasign/imasign-build/internal/pipeline"
	"github.com/imasign/imasign-build/pkg/rpmsign"
	"github.com/imasign/imasign-build/pkg/signing"
)

// packages compares the packages with what primary.xml says about them.
func (v *verification) packages(ctx context.Context, p *listing) error {
	by := map[string][]listed{}
	for _, l := range p.all {
		if item, there := p.units[l.href]; there {
			by[item] = append(by[item], l)
		}
	}
	worker := func() func(context.Context, string) judged {
		return func(ctx context.Context, item string) judged { return v.judge(ctx, item, by[item]) }
	}
	listed := signing.Event{Kind: signing.Listed, Entries: int64(len(by))}
	for _, list := range by {
		listed.Bytes += list[0].size
	}
	v.Observe.Tell(listed)
	var errs []error
	err := pipeline.Ordered(ctx, v.Jobs, 4*pipeline.Jobs(v.Jobs), pipeline.Of(slices.Sorted(maps.Keys(by))), worker, func(j judged) error {
		v.Observe.Tell(signing.Event{Kind: signing.Checked, Path: j.item, Entries: 1, Bytes: by[j.item][0].size})
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

// judged is the result for one package.
type judged struct {
	item    string
	differs []string
	err     error
}

// judge compares one package with its entries in primary.xml.
func (v *verification) judge(ctx context.Context, item string, list []listed) judged {
	j := judged{item: item}
	path := filepath.Join(v.root, item)
	info, err := os.Stat(path)
	if err != nil {
		j.err = err
		return j
	}
	name := ""
	if p, err := rpmsign.Open(path, rpmsign.Options{}); err == nil { // the verification of its signatures reports an error
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
			j.differs = append(j.differs, fmt.Sprintf("its %s checksum is %s, but primary.xml states %s", l.sumType, is[len(l.pkgid)], l.pkgid))
		case info.Size() != l.size:
			j.differs = append(j.differs, fmt.Sprintf("it has %d bytes, but primary.xml states %d", info.Size(), l.size))
		case name != "" && name != l.name:
			j.differs = append(j.differs, fmt.Sprintf("it is %s, but primary.xml calls it %s", name, l.name))
		}
	}
	return j
}
