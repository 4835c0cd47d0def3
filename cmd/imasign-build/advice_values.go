package main

import (
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/target"
	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/manifest"
	"github.com/imasign/imasign-build/pkg/signing"
)

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
