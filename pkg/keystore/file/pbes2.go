package file

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/des" //nolint:gosec // only to read what `openssl genrsa -des3` wrote
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"hash"
	"strings"

	"github.com/imasign/imasign-build/pkg/keystore"
)

// Bounds of a derivation: a few seconds, and 256 MiB. OpenSSL writes 2,048 iterations, or
// 16 MiB.
const (
	maxIterations   = 10_000_000
	maxScryptMemory = 256 << 20
	maxScryptWork   = 4 * maxScryptMemory
)

// ASN.1 of encrypted PKCS #8 (RFC 5958, 3) and of PBES2 and PBKDF2 (RFC 8018, appendix A).
type (
	encryptedPrivateKeyInfo struct {
		Algorithm pkix.AlgorithmIdentifier
		Data      []byte
	}
	pbes2Parameters  struct{ KDF, Cipher pkix.AlgorithmIdentifier }
	pbkdf2Parameters struct {
		Salt       []byte
		Iterations int
		KeySize    int                      `asn1:"optional"`
		PRF        pkix.AlgorithmIdentifier `asn1:"optional"`
	}
)

func oidPBES2() asn1.ObjectIdentifier      { return asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 13} }
func oidPBKDF2() asn1.ObjectIdentifier     { return asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 12} }
func oidHMACSHA256() asn1.ObjectIdentifier { return asn1.ObjectIdentifier{1, 2, 840, 113549, 2, 9} }
func oidAES256CBC() asn1.ObjectIdentifier {
	return asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 1, 42}
}

// encryption describes how a key is encrypted: PBES2 (RFC 8018), or the older PEM encryption.
type encryption struct {
	derive     func(ctx context.Context, passphrase []byte, size int) ([]byte, error)
	cipher     cbc
	iv         []byte
	ciphertext []byte
	valid      func(der []byte) bool // whether decryption gave a key
}

// cbc is a block cipher in CBC mode. Sizes are in bytes.
type cbc struct {
	keySize, blockSize int
	newBlock           func(key []byte) (cipher.Block, error)
}

// cipherOf finds a cipher by its object identifier in PBES2, or by its name in the header of
// older PEM. The other argument is "". Only PEM has single DES.
func cipherOf(oid, name string) (c cbc, found bool) {
	switch {
	case oid == "2.16.840.1.101.3.4.1.2", name == "AES-128-CBC":
		return cbc{16, aes.BlockSize, aes.NewCipher}, true
	case oid == "2.16.840.1.101.3.4.1.22", name == "AES-192-CBC":
		return cbc{24, aes.BlockSize, aes.NewCipher}, true
	case oid == "2.16.840.1.101.3.4.1.42", name == "AES-256-CBC":
		return cbc{32, aes.BlockSize, aes.NewCipher}, true
	case oid == "1.2.840.113549.3.7", name == "DES-EDE3-CBC":
		return cbc{24, des.BlockSize, des.NewTripleDESCipher}, true
	case name == "DES-CBC":
		return cbc{8, des.BlockSize, des.NewCipher}, true
	}
	return cbc{}, false
}

// setCipher sets the cipher and its IV, and checks the sizes of the IV and the ciphertext.
// err is the error of reading the IV. form names the encryption in errors.
func (p *encryption) setCipher(c cbc, iv []byte, err error, form string) error {
	p.cipher, p.iv = c, iv
	if err != nil || len(iv) != c.blockSize {
		return notAKey("damaged " + form + ": the IV does not fit the cipher")
	}
	if n := len(p.ciphertext); n == 0 || n%c.blockSize != 0 {
		return notAKey("damaged " + form + ": the length does not fit the cipher")
	}
	return nil
}

// parseEncryption returns nil for a key that is not encrypted.
func parseEncryption(der []byte) (*encryption, error) {
	var all asn1.RawValue
	if _, err := asn1.Unmarshal(der, &all); err != nil || outline(all.Bytes) != "so" {
		return nil, nil //nolint:nilerr // another format; parse checks it
	}
	var info encryptedPrivateKeyInfo
	if _, err := asn1.Unmarshal(der, &info); err != nil {
		return nil, damaged("encrypted PKCS #8")
	}
	if oid := info.Algorithm.Algorithm; !oid.Equal(oidPBES2()) {
		return nil, otherScheme(oid.String())
	}
	var params pbes2Parameters
	if _, err := asn1.Unmarshal(info.Algorithm.Parameters.FullBytes, &params); err != nil {
		return nil, damaged("encrypted PKCS #8")
	}
	p := &encryption{ciphertext: info.Data, valid: isPrivateKeyInfo}
	oid := params.Cipher.Algorithm.String()
	c, found := cipherOf(oid, "")
	if !found {
		return nil, cannotDecrypt("cipher " + oid)
	}
	var iv []byte
	_, err := asn1.Unmarshal(params.Cipher.Parameters.FullBytes, &iv)
	if err := p.setCipher(c, iv, err, "encrypted PKCS #8"); err != nil {
		return nil, err
	}
	p.derive, err = parseKDF(params.KDF, c.keySize)
	return p, err
}

// decrypt returns the key in clear.
func (p *encryption) decrypt(ctx context.Context, passphrase []byte) ([]byte, error) {
	key, err := p.derive(ctx, passphrase, p.cipher.keySize)
	defer clear(key)
	if err != nil {
		return nil, err
	}
	block, err := p.cipher.newBlock(key)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", keystore.ErrUnsupportedKey, err)
	}
	plain := make([]byte, len(p.ciphertext))
	cipher.NewCBCDecrypter(block, p.iv).CryptBlocks(plain, p.ciphertext)
	pad := int(plain[len(plain)-1])
	if pad == 0 || pad > p.cipher.blockSize || !bytes.HasSuffix(plain, bytes.Repeat([]byte{byte(pad)}, pad)) {
		clear(plain)
		return nil, wrongPassphrase()
	}
	// For one wrong passphrase in 256, the padding is right by chance.
	if der := plain[:len(plain)-pad]; p.valid(der) {
		return der, nil
	}
	clear(plain)
	return nil, wrongPassphrase()
}

// parseKDF returns a key derivation. It refuses one that would take too much work.
func parseKDF(a pkix.AlgorithmIdentifier, size int) (func(context.Context, []byte, int) ([]byte, error), error) {
	switch oid := a.Algorithm.String(); oid {
	case oidPBKDF2().String():
		return parsePBKDF2(a.Parameters.FullBytes, size)
	case "1.3.6.1.4.1.11591.4.11":
		return parseScrypt(a.Parameters.FullBytes, size)
	default:
		return nil, cannotDecrypt("key derivation " + oid)
	}
}

func parsePBKDF2(der []byte, size int) (func(context.Context, []byte, int) ([]byte, error), error) {
	var p pbkdf2Parameters
	if _, err := asn1.Unmarshal(der, &p); err != nil || p.KeySize != 0 && p.KeySize != size {
		return nil, notAKey("damaged encrypted PKCS #8: parameters of PBKDF2")
	}
	if p.Iterations < 1 || p.Iterations > maxIterations {
		return nil, cannotDecrypt(fmt.Sprintf("PBKDF2 of %d iterations, %d are the limit here", p.Iterations, maxIterations))
	}
	prf, err := hmacHash(p.PRF.Algorithm)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, passphrase []byte, size int) ([]byte, error) {
		return pbkdf2Key(ctx, prf, passphrase, p.Salt, p.Iterations, size)
	}, nil
}

func hmacHash(oid asn1.ObjectIdentifier) (func() hash.Hash, error) {
	switch oid.String() {
	case "", "1.2.840.113549.2.7": // SHA-1 is the default
		return sha1.New, nil
	case "1.2.840.113549.2.8":
		return sha256.New224, nil
	case "1.2.840.113549.2.9":
		return sha256.New, nil
	case "1.2.840.113549.2.10":
		return sha512.New384, nil
	case "1.2.840.113549.2.11":
		return sha512.New, nil
	}
	return nil, cannotDecrypt("PBKDF2 with PRF " + oid.String())
}

func parseScrypt(der []byte, size int) (func(context.Context, []byte, int) ([]byte, error), error) {
	var p struct {
		Salt    []byte
		N, R, P int
		KeySize int `asn1:"optional"`
	}
	if _, err := asn1.Unmarshal(der, &p); err != nil || p.KeySize != 0 && p.KeySize != size {
		return nil, notAKey("damaged encrypted PKCS #8: parameters of scrypt")
	}
	if !scryptFits(p.N, p.R, p.P) {
		return nil, cannotDecrypt(fmt.Sprintf("scrypt with N=%d, r=%d, p=%d: more than %d MiB or too much work, or N is no power of two", p.N, p.R, p.P, maxScryptMemory>>20))
	}
	return func(ctx context.Context, passphrase []byte, size int) ([]byte, error) {
		return scryptKey(ctx, passphrase, p.Salt, p.N, p.R, p.P, size)
	}, nil
}

// scryptFits reports whether memory and work are within bounds. Memory is n+p+2 blocks of
// 128*r bytes: the table, the blocks, and scratch space. Work is the table, p times. Each
// factor is bounded first, so that no product overflows.
func scryptFits(n, r, p int) bool {
	const factor = maxScryptWork / 128
	if n < 2 || n&(n-1) != 0 || r < 1 || p < 1 || n > factor || r > factor || p > factor {
		return false
	}
	block := 128 * uint64(r)
	memory := block * (uint64(n) + uint64(p) + 2)
	return memory <= maxScryptMemory && block*uint64(n) <= maxScryptWork/uint64(p)
}

// cannotDecrypt returns the error for an encryption that only OpenSSL supports.
func cannotDecrypt(how string) error {
	return conversion{fmt.Errorf("%w: encrypted with %s", keystore.ErrUnsupportedKey, how), byOpenSSL}
}

// otherScheme returns the error for an encryption other than PBES2.
func otherScheme(oid string) error {
	switch {
	case strings.HasPrefix(oid, "1.2.840.113549.1.5."):
		return conversion{fmt.Errorf("%w: encrypted with PBES1 (%s)", keystore.ErrUnsupportedKey, oid), byLegacy}
	case strings.HasPrefix(oid, "1.2.840.113549.1.12.1."):
		return cannotDecrypt("a PKCS #12 scheme, a kind of PBES1 (" + oid + ")")
	}
	return cannotDecrypt("scheme " + oid)
}
