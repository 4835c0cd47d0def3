package pkgheader

import (
	"bytes"
	"crypto"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"github.com/imasign/imasign-build/internal/quote"
)

// Limits of the signatures that come with a header.
const (
	maxSignatures = 8
	maxSignature  = 64 << 10 // bytes, all together
	minRSA        = 2048     // bits
)

// hashes are those of signatures that are accepted.
func hashes() []crypto.Hash {
	return []crypto.Hash{crypto.SHA256, crypto.SHA384, crypto.SHA512, crypto.SHA3_256, crypto.SHA3_512}
}

// verify looks for an acceptable signature over the header. If there is none, it returns what is
// wrong with the first one by a known key.
func (c *Checker) verify(header, signatures []byte, now time.Time) error {
	switch {
	case len(signatures) == 0:
		return errors.New("there is none over the header alone")
	case len(signatures) > maxSignature:
		return fmt.Errorf("it has %d bytes, at most %d are read", len(signatures), maxSignature)
	}
	r := packet.NewOpaqueReader(bytes.NewReader(signatures))
	var refused error
	for range maxSignatures {
		p, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return fmt.Errorf("not an OpenPGP packet: %w", quote.Plain(err))
		}
		err = c.verifyOne(header, p, now)
		if err == nil {
			return nil
		}
		if refused == nil || errors.Is(refused, errUnknown) {
			refused = err
		}
	}
	if refused == nil {
		return errors.New("it has no OpenPGP packets")
	}
	return refused
}

// errUnknown means a signature by a key that is not in the keyring.
var errUnknown = errors.New("no signing key in the keyring has its key id")

func (c *Checker) verifyOne(header []byte, p *packet.OpaquePacket, now time.Time) error {
	parsed, err := p.Parse()
	if err != nil {
		return fmt.Errorf("not an OpenPGP signature: %w", quote.Plain(err))
	}
	s, is := parsed.(*packet.Signature)
	switch {
	case !is:
		return errors.New("an OpenPGP packet that is not a signature")
	case s.SigType != packet.SigTypeBinary: // of a text, line ends may be others
		return fmt.Errorf("it is of type %#02x, not over binary data", uint8(s.SigType))
	case !slices.Contains(hashes(), s.Hash):
		return fmt.Errorf("its hash is %s: make it with SHA-256 or better", s.Hash)
	case s.IssuerKeyId == nil:
		return errors.New("it does not name its key")
	}
	keys := c.keys.KeysByIdUsage(*s.IssuerKeyId, packet.KeyFlagSign)
	if len(keys) == 0 {
		return fmt.Errorf("%w, %016X", errUnknown, *s.IssuerKeyId)
	}
	var one bytes.Buffer
	if err := p.Serialize(&one); err != nil {
		return err
	}
	for i := range keys {
		if err = verifyWith(&keys[i], header, one.Bytes(), s.CreationTime, now); err == nil {
			return nil
		}
	}
	return fmt.Errorf("key %016X: %w", *s.IssuerKeyId, err)
}

// verifyWith verifies a signature that a key is said to have made at some time. The key must
// have existed then, and key and signature must be valid now. Because a key is renewed by a new
// signature over itself, the one of that time may no longer be there.
func verifyWith(key *openpgp.Key, header, signature []byte, made, now time.Time) error {
	for _, k := range []*packet.PublicKey{key.Entity.PrimaryKey, key.PublicKey} {
		if err := strong(k); err != nil {
			return err
		}
		if k.CreationTime.After(made) {
			return errors.New("it was made after the signature")
		}
	}
	at := now
	switch ahead := made.Sub(now); {
	case ahead > maxAhead:
		return fmt.Errorf("the signature is from the future: %s", made.UTC().Format(time.RFC3339))
	case ahead > 0:
		at = made
	}
	config := &packet.Config{Time: func() time.Time { return at }}
	_, err := openpgp.CheckDetachedSignature(openpgp.EntityList{key.Entity}, bytes.NewReader(header), bytes.NewReader(signature), config)
	return quote.Plain(err)
}

// maxAhead is how far the clock of the machine that signed packages may be ahead.
const maxAhead = 5 * time.Minute

// strong refuses keys that could be broken.
func strong(key *packet.PublicKey) error {
	switch key.PubKeyAlgo {
	case packet.PubKeyAlgoRSA, packet.PubKeyAlgoRSASignOnly:
		if bits, err := key.BitLength(); err != nil || bits < minRSA {
			return fmt.Errorf("RSA of %d bits, at least %d are wanted", bits, minRSA)
		}
		return nil
	case packet.PubKeyAlgoECDSA, packet.PubKeyAlgoEdDSA, packet.PubKeyAlgoEd25519, packet.PubKeyAlgoEd448:
		return nil
	}
	return fmt.Errorf("keys of algorithm %d are not accepted", key.PubKeyAlgo)
}
