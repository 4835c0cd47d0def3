package rpmsign

import (
	"bytes"
	"crypto"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"github.com/imasign/imasign-build/internal/quote"
)

// Errors of OpenPGP keys that callers decide by.
var (
	// ErrOpenPGPKey means that there is no secret key that can sign packages.
	ErrOpenPGPKey = errors.New("no OpenPGP secret key that can sign packages")
	// ErrOpenPGPLocked means an encrypted key with a wrong passphrase, or without one.
	ErrOpenPGPLocked = errors.New("the OpenPGP key is encrypted: no passphrase, or a wrong one")
)

// OpenPGPKey signs packages as rpmsign does. Every way of printing it shows only its key id.
type OpenPGPKey struct {
	entity *openpgp.Entity // at least the public key
	public *packet.PublicKey
	sign   func(io.ReadSeeker) ([]byte, error)
}

// ReadOpenPGPKey reads a secret key, armored or not, as `gpg --export-secret-keys` writes
// it. If the key is encrypted, it calls passphrase once and overwrites the slice that it
// returns. date is the creation time that signatures state; the zero time means now. Errors
// wrap ErrOpenPGPKey, ErrOpenPGPLocked, or the error of r or passphrase.
func ReadOpenPGPKey(r io.Reader, passphrase func() ([]byte, error), date time.Time) (*OpenPGPKey, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxKey+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxKey {
		return nil, fmt.Errorf("%w: the file has more than %d bytes", ErrOpenPGPKey, maxKey)
	}
	defer clear(text)
	list, err := ReadKeyRing(text)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrOpenPGPKey, quote.Plain(err))
	}
	now := time.Now
	if !date.IsZero() {
		now = func() time.Time { return date }
	}
	if len(list) != 1 {
		return nil, fmt.Errorf("%w: the file has %d keys: export one key to a file of its own", ErrOpenPGPKey, len(list))
	}
	key, ok := list[0].SigningKey(time.Now())
	if !ok || key.PrivateKey == nil {
		return nil, fmt.Errorf("%w: the key has no valid signing key with its secret part", ErrOpenPGPKey)
	}
	if err := verifiable(key.PublicKey); err != nil {
		return nil, err
	}
	if err := unlock(key.PrivateKey, passphrase); err != nil {
		return nil, err
	}
	sign := func(r io.ReadSeeker) ([]byte, error) { return detached(list[0], key.PublicKey.KeyId, now, r) }
	return &OpenPGPKey{list[0], key.PublicKey, sign}, nil
}

const maxKey = 1 << 20

// verifiable refuses keys whose signatures rpmsign would not put into a package
// (putSignature of rpm's sign/rpmgensig.cc).
func verifiable(key *packet.PublicKey) error {
	switch key.PubKeyAlgo {
	case packet.PubKeyAlgoRSA, packet.PubKeyAlgoDSA, packet.PubKeyAlgoECDSA, packet.PubKeyAlgoEdDSA:
		if key.Version == 4 {
			return nil
		}
	}
	return fmt.Errorf("%w: rpm verifies RSA, DSA, ECDSA and EdDSA keys of version 4, and this key has version %d and algorithm %d",
		ErrOpenPGPKey, key.Version, key.PubKeyAlgo)
}

// ReadKeyRing reads secret or public OpenPGP keys (RFC 9580): not armored, or in any number
// of armored blocks with any text between them. Errors are those of the OpenPGP library.
func ReadKeyRing(text []byte) (openpgp.EntityList, error) {
	begin := []byte("-----BEGIN PGP")
	_, armored, found := bytes.Cut(text, begin)
	if !found {
		return openpgp.ReadKeyRing(bytes.NewReader(text))
	}
	var all openpgp.EntityList
	for part := range bytes.SplitSeq(armored, begin) {
		block, err := armor.Decode(io.MultiReader(bytes.NewReader(begin), bytes.NewReader(part)))
		if err != nil {
			return nil, err
		}
		list, err := openpgp.ReadKeyRing(block.Body)
		if err != nil {
			return nil, err
		}
		all = append(all, list...)
	}
	return all, nil
}

func unlock(key *packet.PrivateKey, passphrase func() ([]byte, error)) error {
	if key.Dummy() {
		return fmt.Errorf("%w: the file has only a stub of the secret key, which is on a smart card or elsewhere", ErrOpenPGPKey)
	}
	if !key.Encrypted {
		return nil
	}
	if passphrase == nil {
		return ErrOpenPGPLocked
	}
	secret, err := passphrase()
	if err != nil {
		return err
	}
	defer clear(secret)
	if key.Decrypt(secret) != nil {
		return ErrOpenPGPLocked // the cause can quote decrypted bytes
	}
	return nil
}

// String returns the key id.
func (k OpenPGPKey) String() string { return "OpenPGP key " + k.id() }

// Format prints String for every verb.
func (k OpenPGPKey) Format(s fmt.State, _ rune) {
	_, _ = io.WriteString(s, k.String()) // a Formatter cannot return an error
}

// id returns the id of the signing key in hex.
func (k OpenPGPKey) id() string { return fmt.Sprintf("%016x", k.public.KeyId) }

// signature returns a binary detached signature over the content of r.
func (k *OpenPGPKey) signature(r io.ReadSeeker) ([]byte, error) {
	signature, err := k.sign(r)
	if err != nil {
		return nil, fmt.Errorf("sign with %s: %w", k, err)
	}
	return signature, nil
}

func detached(entity *openpgp.Entity, id uint64, now func() time.Time, r io.Reader) ([]byte, error) {
	plain := false
	config := &packet.Config{
		DefaultHash: crypto.SHA256, Time: now, SigningKeyId: id,
		NonDeterministicSignaturesViaNotation: &plain, // the same input makes the same bytes
	}
	var out bytes.Buffer
	err := openpgp.DetachSign(&out, entity, r, config)
	return out.Bytes(), err
}

// ArmoredSignature returns a detached signature over the content of r in ASCII armor (RFC
// 9580), the format of repomd.xml.asc. Errors are those of r or of gpg.
func (k *OpenPGPKey) ArmoredSignature(r io.ReadSeeker) ([]byte, error) {
	signature, err := k.signature(r)
	if err != nil {
		return nil, err
	}
	return armored(openpgp.SignatureType, signature)
}

// ArmoredPublicKey returns the public key in ASCII armor (RFC 9580), which `rpm --import`
// and dnf read.
func (k *OpenPGPKey) ArmoredPublicKey() ([]byte, error) {
	var key bytes.Buffer
	if err := k.entity.Serialize(&key); err != nil {
		return nil, err
	}
	return armored(openpgp.PublicKeyType, key.Bytes())
}

func armored(kind string, content []byte) ([]byte, error) {
	var out bytes.Buffer
	w, err := armor.Encode(&out, kind, nil)
	if err == nil {
		_, err = w.Write(content)
	}
	if err == nil {
		err = w.Close()
	}
	return append(out.Bytes(), '\n'), err
}

// openPGPTags returns the tags that OpenPGP signatures can have. A new signature replaces
// all of them (deleteSigs of rpm's sign/rpmgensig.cc).
func openPGPTags() []tagNumber {
	return []tagNumber{tagDSA, tagRSA, tagOpenPGP, tagPGP, tagGPG, tagPGP5}
}

// openpgp returns the package's signatures by key. current means that the package has them
// already. Like rpmsign, it makes a second signature over header and payload if the header
// states no digest of the payload.
func (p *Package) openpgp(key *OpenPGPKey) (signatures []value, current bool, err error) {
	if p.signedBy(key) {
		return nil, true, nil
	}
	over, err := key.signature(bytes.NewReader(p.main.raw))
	if err != nil {
		return nil, false, err
	}
	rsa := key.public.PubKeyAlgo == packet.PubKeyAlgoRSA
	if p.format() >= 6 {
		text := append(base64.StdEncoding.AppendEncode(nil, over), 0)
		return []value{{tagOpenPGP, typeStringArray, 1, text}}, false, nil
	}
	signatures = []value{openPGPValue(rsa, tagRSA, tagDSA, over)}
	if p.main.has(tagPayloadSHA256) || p.main.has(tagPayloadSHA256Alt) {
		return signatures, false, nil
	}
	both, err := key.signature(io.NewSectionReader(p.content, p.mainAt, p.size-p.mainAt))
	if err != nil {
		return nil, false, err
	}
	return append(signatures, openPGPValue(rsa, tagPGP, tagGPG, both)), false, nil
}

func openPGPValue(rsa bool, forRSA, forOthers tagNumber, signature []byte) value {
	if rsa {
		return value{forRSA, typeBin, uint32(len(signature)), signature}
	}
	return value{forOthers, typeBin, uint32(len(signature)), signature}
}

// signedBy reports whether the package has a valid signature by key over its main header,
// and also over header and payload if it needs one.
func (p *Package) signedBy(key *OpenPGPKey) bool {
	valid := false
	for _, s := range p.headerSignatures() {
		_, err := openpgp.CheckDetachedSignature(openpgp.EntityList{key.entity}, bytes.NewReader(p.main.raw), bytes.NewReader(s), nil)
		valid = valid || err == nil
	}
	if !valid || p.format() >= 6 || p.main.has(tagPayloadSHA256) || p.main.has(tagPayloadSHA256Alt) {
		return valid
	}
	valid = false
	for _, t := range []tagNumber{tagPGP, tagGPG} {
		if e, ok := p.sig.find(t); ok {
			both := io.NewSectionReader(p.content, p.mainAt, p.size-p.mainAt)
			_, err := openpgp.CheckDetachedSignature(openpgp.EntityList{key.entity}, both, bytes.NewReader(p.sig.bytes(e)), nil)
			valid = valid || err == nil
		}
	}
	return valid
}

// headerSignatures returns the OpenPGP signatures over the main header, in binary.
func (p *Package) headerSignatures() [][]byte {
	var list [][]byte
	for _, t := range []tagNumber{tagRSA, tagDSA} {
		if e, ok := p.sig.find(t); ok {
			list = append(list, p.sig.bytes(e))
		}
	}
	return append(list, p.base64Signatures()...)
}

func (p *Package) base64Signatures() [][]byte {
	var list [][]byte
	for _, text := range p.sig.strings(tagOpenPGP) {
		if b, err := base64.StdEncoding.DecodeString(text); err == nil {
			list = append(list, b)
		}
	}
	return list
}
