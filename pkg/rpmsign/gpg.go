package rpmsign

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// GPG is a key that GnuPG's agent can use: its own, or one on a smart card. gpg makes every
// signature, with the configuration and home directory that it finds in its environment.
// This process never has the secret key.
type GPG struct {
	// Key is how gpg finds the key: a user id, a fingerprint or a key id. A ! after a
	// fingerprint or key id selects a subkey that signs. Exactly one secret key must match.
	Key string
	// Passphrase, unless nil, is handed to gpg through a pipe for every signature.
	// Otherwise the agent knows it, or asks for it with pinentry.
	Passphrase []byte
	// Asking, unless nil, is called before the agent asks for the passphrase or a PIN, on
	// any goroutine. It may block. answered is called after gpg has ended.
	Asking func() (answered func())
	// Date is the creation time that signatures state. The zero time means now.
	Date time.Time
	// Environment is the environment of gpg, "NAME=value". nil means that of the caller. It
	// should have no secrets.
	Environment []string

	program string // name or path of gpg; "" means gpg
}

// OpenGPG finds a key of gpg and makes a trial signature, so a key that is locked or cannot
// sign is an error before anything else is done. When ctx ends, so does every gpg process of
// the key, also later. Errors wrap ErrOpenPGPKey or ErrOpenPGPLocked.
func OpenGPG(ctx context.Context, g GPG) (*OpenPGPKey, error) {
	fingerprint, unfit, err := g.find(ctx)
	if err != nil {
		return nil, err
	}
	entity, err := g.export(ctx, fingerprint)
	if err != nil {
		return nil, err
	}
	if made := entity.PrimaryKey.CreationTime; !g.Date.IsZero() && g.Date.Before(made) {
		return nil, fmt.Errorf("%w: signatures would state %s, before the key was made on %s", ErrOpenPGPKey, g.Date.UTC().Format(time.RFC3339), made.UTC().Format(time.RFC3339))
	}
	signer := fingerprint
	if strings.HasSuffix(g.Key, "!") {
		signer = g.Key
	}
	key := &OpenPGPKey{entity: entity}
	key.sign = func(r io.ReadSeeker) ([]byte, error) {
		signature, public, err := g.sign(ctx, entity, signer, r)
		if err == nil && key.public != nil && public.KeyId != key.public.KeyId {
			err = fmt.Errorf("gpg now signs with another key, %016x", public.KeyId)
		}
		return signature, err
	}
	_, public, err := g.sign(ctx, entity, signer, strings.NewReader("imasign-build: which key signs?\n"))
	switch {
	case err != nil && unfit != "" && !errors.Is(err, ErrOpenPGPLocked):
		return nil, fmt.Errorf("%w: the gpg key %s %s: %w", ErrOpenPGPKey, g.Key, unfit, err)
	case err != nil:
		return nil, fmt.Errorf("sign with the gpg key %s: %w", g.Key, err)
	}
	key.public = public
	return key, nil
}

// find returns the fingerprint of the only secret key that matches Key, and why it probably
// cannot sign, or "".
func (g *GPG) find(ctx context.Context) (fingerprint, unfit string, err error) {
	out, err := g.run(ctx, nil, "--with-colons", "--list-secret-keys", "--", strings.TrimSuffix(g.Key, "!"))
	var failed *gpgError
	if errors.As(err, &failed) {
		return "", "", fmt.Errorf("%w: gpg has no secret key %q: %w", ErrOpenPGPKey, g.Key, err)
	}
	if err != nil {
		return "", "", err
	}
	n := 0
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		// doc/DETAILS of GnuPG: the fpr record after a sec record is that of the primary key.
		switch field := strings.Split(lines.Text(), ":"); {
		case field[0] == "sec":
			n, fingerprint, unfit = n+1, "", unfitness(field)
		case field[0] == "fpr" && len(field) > 9 && fingerprint == "":
			fingerprint = field[9]
		}
	}
	if n != 1 || fingerprint == "" {
		return "", "", fmt.Errorf("%w: gpg has %d secret keys for %q: give the fingerprint of one", ErrOpenPGPKey, n, g.Key)
	}
	return fingerprint, unfit, nil
}

// unfitness says why a key cannot sign today, from gpg's record of it. Among the letters for
// the uses of a key, capital letters describe the primary key with its subkeys.
func unfitness(field []string) string {
	const validity, expires, uses = 1, 6, 11
	switch {
	case len(field) <= uses:
		return ""
	case field[validity] == "r":
		return "is revoked"
	case field[validity] == "e":
		if seconds, err := strconv.ParseInt(field[expires], 10, 64); err == nil {
			return "expired on " + time.Unix(seconds, 0).UTC().Format(time.DateOnly)
		}
		return "expired"
	case strings.Contains(field[uses], "D"):
		return "is disabled"
	case !strings.Contains(field[uses], "S"):
		return "cannot sign, and neither can its subkeys"
	}
	return ""
}

// export returns the public key.
func (g *GPG) export(ctx context.Context, fingerprint string) (*openpgp.Entity, error) {
	out, err := g.run(ctx, nil, "--no-armor", "--export", "--", fingerprint)
	if err != nil {
		return nil, err
	}
	list, err := openpgp.ReadKeyRing(bytes.NewReader(out))
	if err != nil {
		return nil, fmt.Errorf("%w: read the public key that gpg exported: %w", ErrOpenPGPKey, err)
	}
	if len(list) != 1 {
		return nil, fmt.Errorf("%w: gpg exports %d keys for %s", ErrOpenPGPKey, len(list), fingerprint)
	}
	return list[0], nil
}

// sign makes gpg sign the content of r and verifies the signature. It also returns the key
// that signed.
func (g *GPG) sign(ctx context.Context, entity *openpgp.Entity, signer string, r io.ReadSeeker) ([]byte, *packet.PublicKey, error) {
	args := []string{"--no-armor", "--no-textmode", "--digest-algo", "SHA256", "--local-user", signer}
	if !g.Date.IsZero() {
		args = append(args, "--faked-system-time", g.Date.UTC().Format("20060102T150405")+"!")
	}
	signature, err := g.run(ctx, r, append(args, "--detach-sign", "--output", "-")...)
	if err != nil {
		return nil, nil, err
	}
	public, made, err := signedWith(entity, signature)
	if err != nil {
		return nil, nil, err
	}
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return nil, nil, err
	}
	config := &packet.Config{Time: func() time.Time { return made }}
	if _, err := openpgp.CheckDetachedSignature(openpgp.EntityList{entity}, r, bytes.NewReader(signature), config); err != nil {
		return nil, nil, fmt.Errorf("the signature that gpg made is not valid: %w", err)
	}
	return signature, public, nil
}

// signedWith returns the key of the entity that made a signature, and when. It refuses
// several signatures, and versions and types that rpm does not accept.
func signedWith(entity *openpgp.Entity, signature []byte) (*packet.PublicKey, time.Time, error) {
	in := packet.NewReader(bytes.NewReader(signature))
	next, err := in.Next()
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("gpg did not make a signature: %w", err)
	}
	s, ok := next.(*packet.Signature)
	if _, err := in.Next(); !ok || !errors.Is(err, io.EOF) {
		return nil, time.Time{}, errors.New("gpg did not make exactly one signature: remove local-user from its gpg.conf")
	}
	if s.Version != 4 || s.SigType != packet.SigTypeBinary || s.IssuerKeyId == nil {
		return nil, time.Time{}, fmt.Errorf("%w: gpg made a signature of version %d and type %d, but rpm verifies only version 4 and type 0", ErrOpenPGPKey, s.Version, s.SigType)
	}
	keys := []*packet.PublicKey{entity.PrimaryKey}
	for _, sub := range entity.Subkeys {
		keys = append(keys, sub.PublicKey)
	}
	i := slices.IndexFunc(keys, func(k *packet.PublicKey) bool { return k.KeyId == *s.IssuerKeyId })
	if i < 0 {
		return nil, time.Time{}, fmt.Errorf("gpg signed with another key, %016x", *s.IssuerKeyId)
	}
	return keys[i], s.CreationTime, verifiable(keys[i])
}

// gpgError says how gpg failed.
type gpgError struct {
	status string // lines of its status descriptor about the failure
	said   string // its standard error
	err    error
}

func (e *gpgError) Error() string {
	text := strings.ReplaceAll(cmp.Or(e.said, e.status), "\n", "; ")
	return fmt.Sprintf("gpg: %v: %s", e.err, cmp.Or(text, "no message"))
}

// Unwrap includes ErrOpenPGPLocked if the passphrase was wrong or missing.
func (e *gpgError) Unwrap() []error {
	if slices.ContainsFunc(strings.Split(e.status, "\n"), locked) {
		return []error{ErrOpenPGPLocked, e.err}
	}
	return []error{e.err}
}

// locked reports whether a status line says that the passphrase was wrong or missing. The
// codes are those of libgpg-error (err-codes.h.in).
func locked(line string) bool {
	const badPassphrase, noPINEntry, canceled, noPassphrase, fullyCanceled = 11, 85, 99, 177, 198
	field := strings.Fields(line)
	if len(field) < 3 || field[0] != "FAILURE" {
		return false
	}
	code, err := strconv.ParseUint(field[2], 10, 32)
	return err == nil && slices.Contains([]uint64{badPassphrase, noPINEntry, canceled, noPassphrase, fullyCanceled}, code&0xffff)
}
