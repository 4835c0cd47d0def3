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
	// ErrOpenPGPKey means a file without a secret key that can sign.
	ErrOpenPGPKey = errors.New("no OpenPGP secret key that signs")
	// ErrOpenPGPLocked means an encrypted key without its passphrase, or with a
	// wrong one.
	ErrOpenPGPLocked = errors.New("the OpenPGP key is encrypted: no passphrase, or a wrong one")
)

// OpenPGPKey signs packages as rpmsign does. However it is printed, only its key
// id appears.
type OpenPGPKey struct {
	entity *openpgp.Entity // its public key at least
	public *packet.PublicKey
	sign   func(io.ReadSeeker) ([]byte, error)
}

// ReadOpenPGPKey reads a secret key, armored or not, as `gpg --export-secret-keys` writes
// it. passphrase is called once if the key is encrypted; the slice that it returns is
// overwritten. date is when signatures say that they were made; the zero time stands for
// now. Errors wrap ErrOpenPGPKey, ErrOpenPGPLocked, or what r or passphrase returned.
func ReadOpenPGPKey(r io.Reader, passphrase func() ([]byte, error), date time.Time) (*OpenPGPKey, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxKey+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxKey {
		return nil, fmt.Errorf("%w: over %d bytes", ErrOpenPGPKey, maxKey)
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
		return nil, fmt.Errorf("%w: %d keys in the file, it takes one", ErrOpenPGPKey, len(list))
	}
	key, ok := list[0].SigningKey(time.Now())
	if !ok || key.PrivateKey == nil {
		return nil, fmt.Errorf("%w: it has no valid signing key with its secret part", ErrOpenPGPKey)
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

// verifiable refuses keys whose signatures rpmsign would not put into a package:
// putSignature of rpm's sign/rpmgensig.cc.
func verifiable(key *packet.PublicKey) error {
	switch key.PubKeyAlgo {
	case packet.PubKeyAlgoRSA, packet.PubKeyAlgoDSA, packet.PubKeyAlgoECDSA, packet.PubKeyAlgoEdDSA:
		if key.Version == 4 {
			return nil
		}
	}
	return fmt.Errorf("%w: rpm verifies version 4 keys of RSA, DSA, ECDSA and EdDSA, this one has version %d and algorithm %d",
		ErrOpenPGPKey, key.Version, key.PubKeyAlgo)
}

// ReadKeyRing reads OpenPGP keys, secret or public ones: armored, in as many blocks as
// there are with any text between them, or not armored (RFC 9580). Errors are those of
// the OpenPGP library.
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
		return fmt.Errorf("%w: its secret part is elsewhere (a smart card, gpg's stub)", ErrOpenPGPKey)
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
		return ErrOpenPGPLocked // the cause could quote what was decrypted
	}
	return nil
}

// String returns the key id.
func (k OpenPGPKey) String() string { return "OpenPGP key " + k.id() }

// Format prints String for every verb.
func (k OpenPGPKey) Format(s fmt.State, _ rune) {
	_, _ = io.WriteString(s, k.String()) // nobody could be told
}

// ID returns the signing key's id in hex.
func (k OpenPGPKey) id() string { return fmt.Sprintf("%016x", k.public.KeyId) }

// Sign returns a binary detached signature over what r has.
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
		NonDeterministicSignaturesViaNotation: &plain, // the same input gives the same bytes
	}
	var out bytes.Buffer
	err := openpgp.DetachSign(&out, entity, r, config)
	return out.Bytes(), err
}

// ArmoredSignature returns a detached signature over what r has, in ASCII armor (RFC
// 9580), as repomd.xml.asc is one. Errors are those of r or of gpg.
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

// openPGPTags are those that an OpenPGP signature may be under, all of which a
// new one replaces: deleteSigs of rpm's sign/rpmgensig.cc.
func openPGPTags() []tagNumber {
	return []tagNumber{tagDSA, tagRSA, tagOpenPGP, tagPGP, tagGPG, tagPGP5}
}

// openpgp returns the package's signatures by key; current means that they are
// there already. Packages whose header states no digest of the payload need a
// second signature over both, as rpmsign makes it.
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

// signedBy reports whether the package has a valid signature by key over its main
// header, and over both parts where that is needed.
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
