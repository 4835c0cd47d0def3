package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/initramfs"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/oci"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/repo"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/report"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/selection"
	"github.com/imasign/imasign-build/internal/atomicfile"
	"github.com/imasign/imasign-build/internal/certs"
	"github.com/imasign/imasign-build/internal/compress"
	"github.com/imasign/imasign-build/internal/input"
	"github.com/imasign/imasign-build/internal/policy"
	"github.com/imasign/imasign-build/internal/tree"
	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/keystore"
	"github.com/imasign/imasign-build/pkg/keystore/pkcs11"
	"github.com/imasign/imasign-build/pkg/keystore/tpm"
	"github.com/imasign/imasign-build/pkg/manifest"
	"github.com/imasign/imasign-build/pkg/rootfs"
	"github.com/imasign/imasign-build/pkg/rpmsign"
	"github.com/imasign/imasign-build/pkg/signing"
	"github.com/imasign/imasign-build/pkg/tarball"
)

// cause is a reason to fail: its kind in JSON documents, and what a user can do about it.
// Packages know neither flags nor commands, so that advice is given here alone.
type cause struct {
	err    error
	kind   string
	advice string
	flag   string // the advice is for commands with this flag; "" for all
	given  string // and for runs in which this flag was given; "" for all
}

const (
	askedFor = "--key-pass env:NAME, file:PATH or fd:N gives it"
	instead  = "instead, --output restore makes a file for `setfattr -h --restore=` to be run as root, and --output none --manifest FILE a manifest for `manifest apply`"
	spoolIt  = "TMPDIR chooses where"
)

// causes are all of them. The first one that an error wraps counts, for its advice the
// first that has one for the command.
func causes() []cause {
	return slices.Concat(
		[]cause{{err: errInterrupted, kind: "interrupted"}, {err: context.Canceled, kind: "interrupted"}},
		keyCauses(), valueCauses(), containerCauses(), packageCauses(), fileCauses())
}

// keyCauses are those of keys and certificates.
func keyCauses() []cause {
	return []cause{
		{err: keystore.ErrPassphraseNeeded, kind: "passphrase", advice: askedFor, flag: "key-pass"},
		{err: keystore.ErrPINNeeded, kind: "passphrase", advice: askedFor, flag: "key-pass"},
		{err: keystore.ErrWrongPassphrase, kind: "passphrase"},
		{err: keystore.ErrWrongPIN, kind: "passphrase"},
		{err: keystore.ErrLocked, kind: "passphrase"},
		{err: keystore.ErrNoSecret, kind: "passphrase"},
		{err: rpmsign.ErrOpenPGPLocked, kind: "passphrase"},
		{err: pkcs11.ErrExists, kind: "exists", advice: "key init --name makes one of another name"},
		{err: pkcs11.ErrSeveralCertificates, kind: "key", advice: "--cert names the one to use"},
		{err: pkcs11.ErrNoPublicKey, kind: "key", advice: "--cert names the certificate"},
		{err: tpm.ErrHash, kind: "key", advice: "--hash sha256", flag: "hash"},
		{err: keystore.ErrCertificateMismatch, kind: "key"},
		{err: keystore.ErrNotAKey, kind: "key"},
		{err: keystore.ErrSeveralKeys, kind: "key"},
		{err: keystore.ErrKeyUse, kind: "key"},
		{err: keystore.ErrGone, kind: "key"},
		{err: keystore.ErrUnsupportedKey, kind: "unsupported"},
		{err: keystore.ErrSchemeNotBuilt, kind: "unsupported"},
		{err: keystore.ErrNotFound, kind: "not_found"},
		{err: certs.ErrNoCertificate, kind: "key"},
		{err: certs.ErrCurve, kind: "unsupported"},
		{err: certs.ErrRefused, kind: "refused"},
		{err: certs.ErrExists, kind: "exists"},
		{err: rpmsign.ErrOpenPGPKey, kind: "key"},
	}
}

// valueCauses are those of values that files have, or are to get.
func valueCauses() []cause {
	const force, alone = "--force replaces it", "--force without --from-key-id replaces it"
	return []cause{
		{err: signing.ErrOtherKey, kind: "refused", advice: alone, flag: "force", given: "from-key-id"},
		{err: signing.ErrOtherKey, kind: "refused", advice: force, flag: "force"},
		{err: signing.ErrNotOurs, kind: "refused", advice: alone, flag: "force", given: "from-key-id"},
		{err: signing.ErrNotOurs, kind: "refused", advice: force, flag: "force"},
		{err: signing.ErrMismatch, kind: "mismatch"},
		{err: signing.ErrOtherHash, kind: "mismatch"},
		{err: errNothingToApply, kind: "mismatch", advice: "was it signed, and is it of this container? --allow-empty accepts that"},
		{err: manifest.ErrNotListed, kind: "mismatch"},
		{err: manifest.ErrFormat, kind: "malformed"},
		{err: ima.ErrUnsupportedHash, kind: "unsupported"},
		{err: ima.ErrUnsupportedKey, kind: "unsupported"},
		{err: ima.ErrWeakKey, kind: "key"},
		{err: ima.ErrNoSubjectKeyID, kind: "key"},
	}
}

// containerCauses are those of trees, archives and images.
func containerCauses() []cause {
	return []cause{
		{err: rootfs.ErrNotPermitted, kind: "permission", advice: instead, flag: "restore-file"},
		{err: rootfs.ErrReadOnly, kind: "permission", advice: instead, flag: "restore-file"},
		{err: rootfs.ErrNoXattrs, kind: "unsupported", advice: instead, flag: "restore-file"},
		{err: rootfs.ErrLinksSplit, kind: "unsupported"},
		{err: tree.ErrPreload, kind: "unsupported"},
		{err: tree.ErrLocked, kind: "busy"},
		{err: tree.ErrChanged, kind: "changed"},
		{err: tarball.ErrUnpackLimit, kind: "too_large", advice: "--unpack-limit raises it", flag: "unpack-limit"},
		{err: signing.ErrSpool, kind: "io", advice: spoolIt},
		{err: tarball.ErrSpool, kind: "io", advice: spoolIt},
		{err: oci.ErrSpool, kind: "io", advice: spoolIt},
		{err: input.ErrSpool, kind: "io", advice: spoolIt},
		{err: tarball.ErrTooLarge, kind: "too_large"},
		{err: tarball.ErrFormat, kind: "malformed"},
		{err: tarball.ErrTruncated, kind: "malformed"},
		{err: compress.ErrMemory, kind: "too_large"},
		{err: tarball.ErrCompression, kind: "malformed"},
		{err: tarball.ErrAmbiguous, kind: "refused"},
		{err: oci.ErrFormat, kind: "malformed"},
		{err: oci.ErrUnsupported, kind: "unsupported"},
		{err: oci.ErrExists, kind: "exists"},
		{err: initramfs.ErrPrivateKey, kind: "refused"},
		{err: initramfs.ErrRefused, kind: "refused"}, {err: initramfs.ErrUseless, kind: "refused"},
		{err: initramfs.ErrExists, kind: "exists"},
		{err: initramfs.ErrBusybox, kind: "malformed"},
	}
}

// packageCauses are those of packages and repositories.
func packageCauses() []cause {
	return []cause{
		{err: rpmsign.ErrOutside, kind: "refused", advice: "name the file or its directory as well, or write to --output-dir", flag: "output-dir"},
		{err: rpmsign.ErrHeaderLimit, kind: "too_large", advice: "--rpm-max-header sets the limit, P-256 signatures are shorter than RSA ones", flag: "rpm-max-header"},
		{err: rpmsign.ErrHeaderTooLarge, kind: "too_large"},
		{err: rpmsign.ErrDigest, kind: "mismatch"},
		{err: rpmsign.ErrNotRPM, kind: "malformed"},
		{err: rpmsign.ErrTruncated, kind: "malformed"},
		{err: rpmsign.ErrOversized, kind: "malformed"},
		{err: rpmsign.ErrMalformed, kind: "malformed"},
		{err: selection.ErrUnknown, kind: "unsupported", advice: "--include and --exclude choose files by their paths", flag: "include"},
		{err: rpmsign.ErrWeakDigest, kind: "unsupported"},
		{err: ima.ErrSHA1, kind: "unsupported", advice: "rebuild the package with %_binary_filedigest_algorithm 8 (SHA-256)", flag: "rpm-max-header"},
		{err: rpmsign.ErrMainHeader, kind: "unsupported"},
		{err: rpmsign.ErrChanged, kind: "changed"},
		{err: errNoPackages, kind: "not_found"},
		{err: rpmsign.ErrOutside, kind: "refused", advice: "-o NEWDIR makes a repository with a signed copy of it", flag: "in-place"},
		{err: repo.ErrAround, kind: "exists", advice: "name a new directory, or sign in place"},
		{err: repo.ErrExists, kind: "exists", advice: "remove it (after --swap it is the old repository) or name another place"},
		{err: repo.ErrBusy, kind: "busy"},
		{err: repo.ErrChanged, kind: "changed"},
		{err: repo.ErrNoRepository, kind: "not_found"},
		{err: repo.ErrMetadata, kind: "malformed"},
		{err: repo.ErrUnlisted, kind: "refused"},
		{err: repo.ErrMissing, kind: "refused"},
		{err: repo.ErrSigners, kind: "key"},
	}
}

// fileCauses are those of files.
func fileCauses() []cause {
	return []cause{
		{err: input.ErrTooLarge, kind: "too_large"},
		{err: certs.ErrTooLarge, kind: "too_large"},
		{err: policy.ErrTooLarge, kind: "too_large"},
		{err: input.ErrNotRegular, kind: "malformed"},
		{err: atomicfile.ErrExists, kind: "exists"},
		{err: atomicfile.ErrNotRegular, kind: "exists"},
		{err: fs.ErrNotExist, kind: "not_found"},
		{err: fs.ErrPermission, kind: "permission"},
		{err: syscall.EROFS, kind: "permission"},
		{err: fs.ErrExist, kind: "exists"},
		{err: errNotPreloaded, kind: "unsupported"},
	}
}

// adviseWarning returns a warning with what can be done about it.
func adviseWarning(message string) string {
	for _, w := range []struct{ about, advice string }{
		{repo.InPlace, "-o NEWDIR --swap has no such moment"},
		{repo.SignatureLeftOut, "--openpgp-key makes it anew"},
		{keystore.NotBound, "key init --on makes one that cannot"},
	} {
		if strings.Contains(message, w.about) {
			return message + ": " + w.advice
		}
	}
	return message
}

// advise returns err with what can be done about it at the end of its line. Where it has
// several lines, each has its own.
func (a *app) advise(err error) error {
	switch all, inner := lines(err), errors.Unwrap(err); {
	case all != nil:
		advised := make([]error, len(all))
		for i, one := range all {
			advised[i] = a.advise(one)
		}
		return errors.Join(advised...)
	case inner != nil && strings.Contains(inner.Error(), "\n"):
		if before, after, found := strings.Cut(err.Error(), inner.Error()); found {
			return around{before, a.advise(inner), after}
		}
	}
	for _, c := range causes() {
		if c.advice != "" && errors.Is(err, c.err) && a.concerns(c) && !strings.Contains(err.Error(), c.advice) {
			return advised{err, c.advice}
		}
	}
	return err
}

// lines returns the errors that err shows on lines of their own, nil where it is one.
func lines(err error) []error {
	switch e := err.(type) { //nolint:errorlint // what it wraps has its turn
	case interface{ Lines() []error }:
		return e.Lines()
	case interface{ Unwrap() []error }:
		if all := e.Unwrap(); len(all) > 0 && err.Error() == errors.Join(all...).Error() {
			return all
		}
	}
	return nil
}

// around is the text of an error around one that it wraps.
type around struct {
	before string
	inner  error
	after  string
}

func (e around) Error() string { return e.before + e.inner.Error() + e.after }
func (e around) Unwrap() error { return e.inner }

// advised is an error with advice.
type advised struct {
	error

	advice string
}

func (e advised) Error() string { return e.error.Error() + ": " + e.advice }
func (e advised) Unwrap() error { return e.error }

// concerns reports whether a cause's advice is for the command that runs.
func (a *app) concerns(c cause) bool {
	if a.command == nil {
		return c.flag == "" && c.given == ""
	}
	flags := a.command.Flags()
	return (c.flag == "" || flags.Lookup(c.flag) != nil) && (c.given == "" || flags.Changed(c.given))
}

// failure is an error as JSON documents have it.
func (a *app) failure(err error) report.Error {
	return report.Error{Message: a.advise(err).Error(), Kind: kindOf(err), Path: report.PathOf(pathOf(err))}
}

// kindOf returns a short word for an error, which does not change.
func kindOf(err error) string {
	var usage usageError
	if errors.As(err, &usage) {
		return "usage"
	}
	for _, c := range causes() {
		if errors.Is(err, c.err) {
			return c.kind
		}
	}
	var system syscall.Errno
	if errors.As(err, &system) {
		return "io"
	}
	return "failed"
}

// pathOf is the path that an error is about, "" where it does not tell.
func pathOf(err error) string {
	var path *fs.PathError
	var link *os.LinkError
	switch {
	case errors.As(err, &path):
		return path.Path
	case errors.As(err, &link):
		return link.New
	}
	return ""
}
