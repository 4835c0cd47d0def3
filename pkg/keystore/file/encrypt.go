package file

import (
	"bytes"
	"context"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"

	"github.com/imasign/imasign-build/pkg/keystore"
)

// iterations of PBKDF2-HMAC-SHA256, as OWASP recommended in 2023.
const iterations = 600_000

// maxPassphrase is the longest passphrase that OpenSSL takes for a key, in bytes
// (PEM_BUFSIZE). OpenSSL could not read a key with a longer one.
const maxPassphrase = 1024

// Encrypt encrypts a private key and returns encrypted PKCS #8 in DER. der is the key as
// PKCS #8 in DER, of any algorithm. The encryption is PBES2 with AES-256-CBC and PBKDF2
// (HMAC-SHA-256), which OpenSSL 1.0 and later read. An empty passphrase is
// [keystore.ErrNoSecret]. A passphrase over 1,024 bytes is an error. If ctx ends first, the error is its cause.
func Encrypt(ctx context.Context, der, passphrase []byte) ([]byte, error) {
	if len(passphrase) == 0 {
		return nil, fmt.Errorf("encrypt the private key: %w: it is empty", keystore.ErrNoSecret)
	}
	if len(passphrase) > maxPassphrase {
		return nil, fmt.Errorf("encrypt the private key: the passphrase has %d bytes, and OpenSSL takes up to %d: use a shorter one", len(passphrase), maxPassphrase)
	}
	return encrypt(ctx, der, passphrase, iterations)
}

func encrypt(ctx context.Context, der, passphrase []byte, iterations int) ([]byte, error) {
	c, _ := cipherOf(oidAES256CBC().String(), "")
	salt, iv := make([]byte, 16), make([]byte, c.blockSize)
	_, _ = rand.Read(salt) // it never fails
	_, _ = rand.Read(iv)
	key, err := pbkdf2Key(ctx, sha256.New, passphrase, salt, iterations, c.keySize)
	if err != nil {
		return nil, err
	}
	defer clear(key)
	block, err := c.newBlock(key)
	if err != nil {
		return nil, err
	}
	pad := c.blockSize - len(der)%c.blockSize
	data := make([]byte, len(der)+pad)
	copy(data[copy(data, der):], bytes.Repeat([]byte{byte(pad)}, pad))
	cipher.NewCBCEncrypter(block, iv).CryptBlocks(data, data) //nolint:gosec // the IV is random
	return marshalPBES2(salt, iterations, iv, data)
}

func marshalPBES2(salt []byte, iterations int, iv, data []byte) ([]byte, error) {
	var err error
	algorithm := func(oid asn1.ObjectIdentifier, parameters any) pkix.AlgorithmIdentifier {
		der, marshalErr := asn1.Marshal(parameters)
		if err == nil {
			err = marshalErr
		}
		return pkix.AlgorithmIdentifier{Algorithm: oid, Parameters: asn1.RawValue{FullBytes: der}}
	}
	info := encryptedPrivateKeyInfo{Data: data, Algorithm: algorithm(oidPBES2(), pbes2Parameters{
		KDF: algorithm(oidPBKDF2(), pbkdf2Parameters{
			Salt: salt, Iterations: iterations, PRF: pkix.AlgorithmIdentifier{Algorithm: oidHMACSHA256(), Parameters: asn1.NullRawValue},
		}),
		Cipher: algorithm(oidAES256CBC(), iv),
	})}
	if err != nil {
		return nil, err
	}
	return asn1.Marshal(info)
}
