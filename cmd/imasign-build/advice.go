package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/image/ext4sign"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/initramfs"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/oci"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/repo"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/report"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/selection"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/target"
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
// Packages know neither flags nor commands, so only this file gives advice that names
// them.
type cause struct {
	err    error
	kind   string // "" if another cause decides
	advice string
	on     string // the advice is for this command; "" for all
	flag   string // for commands with this flag; "" for all
	given  string // and for runs in which this flag was given; "" for all
}

const (
	askedFor  = "--key-pass env:NAME, file:PATH or fd:N gives it"
	asRoot    = "run it as root, or in one fakeroot or pseudo session with the command that packs the tree"
	instead   = "`tar create DIR -o OUT --sign` signs while it packs and does not change the tree, --output restore makes a file for `setfattr -h --restore=`"
	toTar     = "with -o OUT.tar the signatures go to an archive of the tree"
	spoolIt   = "TMPDIR chooses where"
	again     = "copy or build it again"
	elsewhere = "remove it or name another place"
	fewer     = "--exclude and --select sign fewer files, other keys make shorter signatures (RSA-2048: 265 bytes, P-256: 81), and the files can be built as several packages"
)

// causes returns all causes. The first one that an error wraps decides about the kind, and
// the first one with advice for the command decides about the advice.
func causes() []cause {
	return slices.Concat(
		[]cause{{err: errInterrupted, kind: "interrupted"}, {err: context.Canceled, kind: "interrupted"}},
		keyCauses(), valueCauses(), containerCauses(), imageCauses(), packageCauses(), cacheCauses(), fileCauses())
}

// keyCauses are those of keys and certificates.
func keyCauses() []cause {
	return []cause{
		{err: keystore.ErrPassphraseNeeded, kind: "passphrase", advice: askedFor, flag: "key-pass"},
		{err: keystore.ErrPINNeeded, kind: "passphrase", advice: askedFor, flag: "key-pass"},
		{err: keystore.ErrWrongPassphrase, kind: "passphrase", advice: "check what --key-pass names", given: "key-pass"},
		{err: keystore.ErrWrongPIN, kind: "passphrase", advice: "check what --key-pass names before the next try", given: "key-pass"},
		{err: keystore.ErrWrongPIN, kind: "passphrase", advice: "check it before the next try"},
		{err: keystore.ErrLocked, kind: "passphrase"},
		{err: keystore.ErrNoSecret, kind: "passphrase"},
		{err: rpmsign.ErrOpenPGPLocked, kind: "passphrase"},
		{err: pkcs11.ErrExists, kind: "exists", advice: "key init --name makes one of another name"},
		{err: pkcs11.ErrSeveralCertificates, kind: "key", advice: "--cert names the one to use"},
		{err: pkcs11.ErrNoPublicKey, kind: "key", advice: "--cert names the certificate"},
		{err: tpm.ErrHash, kind: "key", advice: "--hash sha256", flag: "hash"},
		{err: keystore.ErrCertificateMismatch, kind: "key", advice: "--ca names the certificate of --ca-key, and `key show` prints key ids", flag: "ca-key"},
		{err: keystore.ErrCertificateMismatch, kind: "key", advice: "--cert names the certificate of --key, and `key show` prints key ids", flag: "cert"},
		{err: keystore.ErrNotAKey, kind: "key", advice: "--key takes a private key in PEM or DER", flag: "key"},
		{err: keystore.ErrNotAKey, kind: "key", advice: "name a key or a certificate in PEM or DER", on: "key show"},
		{err: keystore.ErrSeveralKeys, kind: "key"},
		{err: keystore.ErrKeyUse, kind: "key"},
		{err: keystore.ErrGone, kind: "key"},
		{err: keystore.ErrUnsupportedKey, kind: "unsupported"},
		{err: keystore.ErrSchemeNotBuilt, kind: "unsupported"},
		{err: keystore.ErrNotFound, kind: "not_found"},
		{err: certs.ErrNoCertificate, kind: "key", advice: "name a certificate file in PEM or DER"},
		{err: certs.ErrCurve, kind: "unsupported"},
		{err: certs.ErrRefused, kind: "refused"},
		{err: certs.ErrExists, kind: "exists", advice: "name another directory, or make a further set with --name", flag: "name"},
		{err: rpmsign.ErrOpenPGPKey, kind: "key", advice: "--openpgp-key takes a file that `gpg --export-secret-keys` wrote, or gpg:KEYID as `gpg --list-secret-keys` prints it", flag: "openpgp-key"},
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
		{err: ima.ErrUnknownKey, advice: "--cert names the certificate of a key that is trusted", on: "manifest apply"},
		{err: signing.ErrNoStage, kind: "mismatch", advice: "--evm-cert names the certificate for security.evm", flag: "evm-cert"},
		{err: signing.ErrDoubleUse, kind: "refused", advice: "--exclude leaves it unsigned, --hashed gives it a digest", flag: "hashed"},
		{err: target.ErrConflict, kind: "unsupported", advice: "--evm-target chooses one", flag: "evm-target"},
		{err: target.ErrUnknown, kind: "unsupported", advice: "--evm-target states it", flag: "evm-target"},
		{err: ima.ErrUnstated, kind: "key", advice: "--key-for states what a key is for if its certificate does not, and `key init --for` makes certificates that do", flag: "key-for"},
		{err: signing.ErrSignedV3, kind: "key", advice: "--key-for states what a key is for if its certificate does not", flag: "key-for"},
		{err: ima.ErrPurpose, kind: "key", advice: "`key init --for` makes a key for each purpose"},
		{err: signing.ErrMismatch, kind: "mismatch", advice: "apply it to the input that it was made from, or make a new one", on: "manifest apply"},
		{err: signing.ErrOtherHash, kind: "mismatch"},
		{err: errNoManifests, kind: "not_found", advice: "--manifest FILE writes a manifest"},
		{err: errNothingToApply, kind: "mismatch", advice: "check that it is signed and belongs to this target; --allow-empty accepts it"},
		{err: manifest.ErrNotListed, kind: "mismatch"},
		{err: manifest.ErrFormat, kind: "malformed", advice: "--manifest and `rpm digests` write manifests"},
		{err: ima.ErrBothXattrs, kind: "key", advice: "sign security.evm with a key of its own (`key init --with evm`); --key-for any accepts the key all the same", flag: "key-for"},
		{err: ima.ErrUnsupportedHash, kind: "unsupported"},
		{err: ima.ErrUnsupportedKey, kind: "unsupported"},
		{err: ima.ErrWeakKey, kind: "key", advice: "`key init` makes a stronger one"},
		{err: ima.ErrNoSubjectKeyID, kind: "key", advice: "`key init` makes certificates that have one, and so does `openssl req -x509 -addext subjectKeyIdentifier=hash`"},
	}
}

// containerCauses are those of trees, archives and images.
func containerCauses() []cause {
	return []cause{
		{err: rootfs.ErrNotPermitted, kind: "permission", advice: asRoot + "; " + instead, on: "rootfs sign"},
		{err: rootfs.ErrNotPermitted, kind: "permission", advice: asRoot + "; " + toTar, on: "manifest apply"},
		{err: rootfs.ErrNotPermitted, kind: "permission", advice: asRoot},
		{err: rootfs.ErrReadOnly, kind: "permission", advice: instead, on: "rootfs sign"},
		{err: rootfs.ErrReadOnly, kind: "permission", advice: toTar, on: "manifest apply"},
		{err: rootfs.ErrNoXattrs, kind: "unsupported", advice: instead, on: "rootfs sign"},
		{err: rootfs.ErrNoXattrs, kind: "unsupported", advice: toTar, on: "manifest apply"},
		{err: rootfs.ErrNoEVM, kind: "unsupported", advice: instead, on: "rootfs sign"},
		{err: rootfs.ErrNoEVM, kind: "unsupported", advice: toTar, on: "manifest apply"},
		{err: rootfs.ErrNoEVM, kind: "unsupported"},
		{err: rootfs.ErrLinksSplit, kind: "unsupported"},
		{err: rootfs.ErrNoRoom, kind: "too_large"},
		{err: tree.ErrPreload, kind: "unsupported"},
		{err: tree.ErrLocked, kind: "busy", advice: "wait until it has ended"},
		{err: rootfs.ErrChanged, kind: "changed", advice: "run it again when nothing else writes there"},
		{err: tarball.ErrUnpackLimit, kind: "too_large", advice: "--unpack-limit raises it", flag: "unpack-limit"},
		{err: signing.ErrSpool, kind: "io", advice: spoolIt},
		{err: tarball.ErrSpool, kind: "io", advice: spoolIt},
		{err: oci.ErrSpool, kind: "io", advice: spoolIt},
		{err: input.ErrSpool, kind: "io", advice: spoolIt},
		{err: tarball.ErrTooLarge, kind: "too_large"},
		{err: tarball.ErrFormat, kind: "malformed", advice: "`tar -tvf` shows whether GNU tar can read it"},
		{err: tarball.ErrTruncated, kind: "malformed", advice: again},
		{err: compress.ErrMemory, kind: "too_large"},
		{err: tarball.ErrCompression, kind: "malformed", advice: again},
		{err: tarball.ErrAmbiguous, kind: "refused"},
		{err: ext4sign.ErrFormat, kind: "unsupported"},
		{err: ext4sign.ErrSquashfs, kind: "unsupported", advice: "make a new image of signed files: " + signSquashfs("IMAGE")},
		{err: ext4sign.ErrEROFS, kind: "unsupported", advice: "sign the archive that it is made from (imasign-build tar sign), and make a new image of that: mkfs.erofs --tar=f"},
		{err: ext4sign.ErrRoom, kind: "too_large"},
		{err: ext4sign.ErrSealed, kind: "refused"},
		{err: ext4sign.ErrDamaged, kind: "malformed"},
		{err: ext4sign.ErrNoProgram, kind: "not_found"},
		{err: oci.ErrFormat, kind: "malformed", advice: "--oci takes what `skopeo copy` writes to oci:, oci-archive: and docker-archive:", flag: "oci"},
		{err: oci.ErrUnsupported, kind: "unsupported"},
		{err: oci.ErrExists, kind: "exists", advice: elsewhere},
		{err: initramfs.ErrPrivateKey, kind: "refused", advice: "name the file that was meant"},
		{err: initramfs.ErrRefused, kind: "refused"}, {err: initramfs.ErrUseless, kind: "refused"},
		{err: initramfs.ErrExists, kind: "exists", advice: elsewhere},
		{err: initramfs.ErrBusybox, kind: "malformed"},
	}
}

// packageCauses are those of packages and repositories.
func packageCauses() []cause {
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

// fileCauses are those of files.
func fileCauses() []cause {
	return []cause{
		{err: input.ErrTooLarge, kind: "too_large", advice: "is it the right file?"},
		{err: certs.ErrTooLarge, kind: "too_large", advice: "is it the right file?"},
		{err: policy.ErrTooLarge, kind: "too_large", advice: "is it the right file?"},
		{err: input.ErrNotRegular, kind: "malformed"},
		{err: atomicfile.ErrExists, kind: "exists", advice: elsewhere},
		{err: atomicfile.ErrNotRegular, kind: "exists", advice: "name a file"},
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
		{repo.InPlace, "-o OUT --swap has no such moment"},
		{repo.SignatureLeftOut, "--openpgp-key makes a new one"},
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
	for _, about := range []func(error) string{a.adviceOnFormat, a.adviceOnPath} {
		if text := about(err); text != "" {
			return advised{err, text}
		}
	}
	for _, c := range causes() {
		if c.advice == "" || !errors.Is(err, c.err) || !a.concerns(c) {
			continue
		}
		if says(err, c.advice) {
			return err
		}
		return advised{err, c.advice}
	}
	if text := a.adviceOnSystem(err); text != "" {
		return advised{err, text}
	}
	return err
}

// says reports whether the text of an error has the advice, or says itself what to do.
func says(err error, advice string) bool {
	text := err.Error()
	return slices.ContainsFunc([]string{advice, ": copy it again", "; give a file that has only the certificate", "; to convert it: ", "; run e2fsck ", " converts it", " converts that"}, func(s string) bool { return strings.Contains(text, s) })
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
		return c.on == "" && c.flag == "" && c.given == ""
	}
	flags := a.command.Flags()
	return (c.on == "" || c.on == commandName(a.command)) && (c.flag == "" || flags.Lookup(c.flag) != nil) && (c.given == "" || flags.Changed(c.given))
}

// failure is an error as JSON documents have it.
func (a *app) failure(err error) report.Error {
	return report.Error{Message: a.advise(err).Error(), Kind: kindOf(err), Path: report.PathOf(a.pathOf(err))}
}

// kindOf returns a short word for an error, which does not change.
func kindOf(err error) string {
	var usage usageError
	if errors.As(err, &usage) {
		return "usage"
	}
	for _, c := range causes() {
		if c.kind != "" && errors.Is(err, c.err) {
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
