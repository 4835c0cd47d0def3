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

// GPG is a key that GnuPG keeps: in its agent, a smart card, or wherever the agent
// has it from. The secret part never comes here; gpg makes every signature, with the
// configuration and the home that it finds in its environment.
type GPG struct {
	// Key is what gpg finds the key by: a fingerprint or key id, with ! behind it one of
	// a subkey that is to sign, or a user id. It must mean one secret key alone.
	Key string
	// Passphrase, unless nil, is handed to gpg by a pipe, for every signature; otherwise
	// the agent knows it, or asks for it by its pinentry.
	Passphrase []byte
	// Date is when signatures say that they were made; the zero time stands for now.
	Date time.Time
	// Environment is gpg's, "NAME=value"; nil stands for the caller's own. It should be
	// free of secrets.
	Environment []string

	program string // gpg's name or path; "" stands for gpg
}

// OpenGPG finds a key of gpg and makes a trial signature, so that a key that is locked or
// unfit is an error before anything else is done. ctx ends whatever gpg does for the
// key, also later. Errors wrap ErrOpenPGPKey or ErrOpenPGPLocked.
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
		return nil, fmt.Errorf("%w: signatures are to be of %s, the key was made on %s", ErrOpenPGPKey, g.Date.UTC().Format(time.RFC3339), made.UTC().Format(time.RFC3339))
	}
	signer := fingerprint
	if strings.HasSuffix(g.Key, "!") {
		signer = g.Key
	}
	key := &OpenPGPKey{entity: entity}
	key.sign = func(r io.ReadSeeker) ([]byte, error) {
		signature, public, err := g.sign(ctx, entity, signer, r)
		if err == nil && key.public != nil && public.KeyId != key.public.KeyId {
			err = fmt.Errorf("gpg signed with key %016x by now", public.KeyId)
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

// find returns the fingerprint of the one secret key that gpg knows by the name, and why
// it may be unfit, "" for a key that signs.
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
		// doc/DETAILS of GnuPG: the fpr record behind a sec record is the primary key's.
		switch field := strings.Split(lines.Text(), ":"); {
		case field[0] == "sec":
			n, fingerprint, unfit = n+1, "", unfitness(field)
		case field[0] == "fpr" && len(field) > 9 && fingerprint == "":
			fingerprint = field[9]
		}
	}
	if n != 1 || fingerprint == "" {
		return "", "", fmt.Errorf("%w: gpg has %d secret keys for %q: name one by its fingerprint", ErrOpenPGPKey, n, g.Key)
	}
	return fingerprint, unfit, nil
}

// unfitness says why a key does not sign today, by gpg's record of it: of its letters for
// what keys are for, capital ones are of the key as a whole.
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
		return "neither signs nor has a subkey that does"
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
		return nil, fmt.Errorf("%w: its public part: %w", ErrOpenPGPKey, err)
	}
	if len(list) != 1 {
		return nil, fmt.Errorf("%w: gpg exports %d keys for %s", ErrOpenPGPKey, len(list), fingerprint)
	}
	return list[0], nil
}

// sign has gpg sign what r has, and verifies what comes of it. It returns the key that
// signed as well.
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
		return nil, nil, fmt.Errorf("the signature that gpg made does not hold: %w", err)
	}
	return signature, public, nil
}

// signedWith returns the key of the entity that made a signature, and when. It refuses
// what rpm does not take: several signatures, another version or type.
func signedWith(entity *openpgp.Entity, signature []byte) (*packet.PublicKey, time.Time, error) {
	in := packet.NewReader(bytes.NewReader(signature))
	next, err := in.Next()
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("what gpg made is no signature: %w", err)
	}
	s, ok := next.(*packet.Signature)
	if _, err := in.Next(); !ok || !errors.Is(err, io.EOF) {
		return nil, time.Time{}, errors.New("gpg made something else than one signature: does its gpg.conf set local-user?")
	}
	if s.Version != 4 || s.SigType != packet.SigTypeBinary || s.IssuerKeyId == nil {
		return nil, time.Time{}, fmt.Errorf("%w: gpg made a signature of version %d and type %d, rpm verifies version 4 and type 0", ErrOpenPGPKey, s.Version, s.SigType)
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

// gpgError is how gpg failed.
type gpgError struct {
	status string // what its status descriptor said of the failure
	said   string
	err    error
}

func (e *gpgError) Error() string {
	text := strings.ReplaceAll(cmp.Or(e.said, e.status), "\n", "; ")
	return fmt.Sprintf("gpg: %v: %s", e.err, cmp.Or(text, "it says nothing"))
}

// Unwrap returns ErrOpenPGPLocked for a passphrase that was wrong or not to be had.
func (e *gpgError) Unwrap() []error {
	if slices.ContainsFunc(strings.Split(e.status, "\n"), locked) {
		return []error{ErrOpenPGPLocked, e.err}
	}
	return []error{e.err}
}

// locked reports whether a status line is of a failure for want of a passphrase: the
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
