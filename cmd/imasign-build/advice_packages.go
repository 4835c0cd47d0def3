package main

import (
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/repo"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/selection"
	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/rpmsign"
)

// packageCauses are those of packages and repositories.
func packageCauses() []cause {
	const fewer = "--exclude and --select sign fewer files, other keys make shorter signatures (RSA-2048: 265 bytes, P-256: 81), and the files can be built as several packages"
	return []cause{
		{err: rpmsign.ErrOutside, kind: "refused", advice: "name the file or its directory as well, or write to --output-dir", flag: "output-dir"},
		{err: rpmsign.ErrHeaderLimit, kind: "too_large", advice: "--rpm-max-header sets the limit, " + fewer, flag: "select", given: "rpm-max-header"},
		{err: rpmsign.ErrHeaderLimit, kind: "too_large", advice: fewer, flag: "select"},
		{err: rpmsign.ErrHeaderLimit, kind: "too_large", advice: "--rpm-max-header sets the limit", flag: "rpm-max-header", given: "rpm-max-header"},
		{err: rpmsign.ErrHeaderTooLarge, kind: "too_large"},
		{err: rpmsign.ErrDigest, kind: "mismatch", advice: again},
		{err: rpmsign.ErrNotRPM, kind: "malformed", advice: "name *.rpm files, or directories that contain them"},
		{err: rpmsign.ErrTruncated, kind: "malformed", advice: again},
		{err: rpmsign.ErrOversized, kind: "malformed", advice: again},
		{err: rpmsign.ErrMalformed, kind: "malformed", advice: again},
		{err: selection.ErrUnknown, kind: "unsupported", advice: "--include and --exclude choose files by their paths", flag: "include"},
		{err: rpmsign.ErrWeakDigest, kind: "unsupported"},
		{err: ima.ErrSHA1, kind: "unsupported", advice: "rebuild the package with %_binary_filedigest_algorithm 8 (SHA-256)", flag: "rpm-max-header"},
		{err: rpmsign.ErrMainHeader, kind: "unsupported"},
		{err: rpmsign.ErrChanged, kind: "changed"},
		{err: errNoPackages, kind: "not_found"},
		{err: rpmsign.ErrOutside, kind: "refused", advice: "-o OUT makes a repository with a signed copy of it", flag: "in-place"},
		{err: repo.ErrAround, kind: "exists", advice: "name a new directory, or sign in place"},
		{err: repo.ErrExists, kind: "exists", advice: "remove it (after --swap it is the old repository) or name another place"},
		{err: repo.ErrBusy, kind: "busy"},
		{err: repo.ErrChanged, kind: "changed"},
		{err: repo.ErrNoRepository, kind: "not_found", advice: "make one with createrepo_c"},
		{err: repo.ErrMetadata, kind: "malformed", advice: "createrepo_c makes new metadata"},
		{err: repo.ErrUnlisted, kind: "refused", advice: "--additions publish lists them, --additions leave ignores them", flag: "additions"},
		{err: repo.ErrMissing, kind: "refused", advice: "--removals publish drops them from the list", flag: "removals"},
		{err: repo.ErrSigners, kind: "key", advice: "--openpgp-cert takes a file that `gpg --export` wrote", flag: "openpgp-cert"},
	}
}
