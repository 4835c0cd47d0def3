package file

import (
	"context"
	"crypto/aes"
	"crypto/des" //nolint:gosec // only to read what `openssl genrsa -des3` wrote
	"crypto/md5" //nolint:gosec // what the format derives its keys with
	"encoding/asn1"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"strings"

	"github.com/imasign/imasign-build/pkg/keystore"
)

// parseLegacy reads how a PEM block says that it is encrypted (RFC 1423, with OpenSSL's
// ciphers): "DEK-Info: AES-128-CBC,<IV in hex>". It is undone here rather than by
// x509.DecryptPEMBlock, which leaves the passphrase in the memory of its hash.
func parseLegacy(block *pem.Block) (*encryption, error) {
	name, iv, _ := strings.Cut(block.Headers["DEK-Info"], ",")
	e := &encryption{ciphertext: block.Bytes, valid: isPrivateKeyDER}
	switch name {
	case "DES-CBC":
		e.cipher = cbc{8, des.BlockSize, des.NewCipher}
	case "DES-EDE3-CBC":
		e.cipher = cbc{24, des.BlockSize, des.NewTripleDESCipher}
	case "AES-128-CBC":
		e.cipher = cbc{16, aes.BlockSize, aes.NewCipher}
	case "AES-192-CBC":
		e.cipher = cbc{24, aes.BlockSize, aes.NewCipher}
	case "AES-256-CBC":
		e.cipher = cbc{32, aes.BlockSize, aes.NewCipher}
	default:
		return nil, conversion{fmt.Errorf("%w: PEM encryption with %.40q", keystore.ErrUnsupportedKey, name), byOpenSSL}
	}
	var err error
	if e.iv, err = hex.DecodeString(iv); err != nil || len(e.iv) != e.cipher.blockSize {
		return nil, notAKey("damaged PEM encryption: the IV does not fit the cipher")
	}
	if n := len(e.ciphertext); n == 0 || n%e.cipher.blockSize != 0 {
		return nil, notAKey("damaged PEM encryption: the length does not fit the cipher")
	}
	e.derive = func(_ context.Context, passphrase []byte, size int) ([]byte, error) {
		return bytesToKey(passphrase, e.iv[:8], size), nil
	}
	return e, nil
}

// bytesToKey is OpenSSL's EVP_BytesToKey with MD5 and one round: each 16 bytes are the
// hash of the 16 before, the passphrase and the salt.
func bytesToKey(passphrase, salt []byte, size int) []byte {
	h := md5.New()
	defer overwrite(h)
	var key []byte
	for len(key) < size {
		h.Reset()
		h.Write(key[max(0, len(key)-md5.Size):])
		h.Write(passphrase)
		h.Write(salt)
		key = h.Sum(key)
	}
	return key[:size]
}

func isPrivateKeyDER(der []byte) bool {
	var all asn1.RawValue
	rest, err := asn1.Unmarshal(der, &all)
	return err == nil && len(rest) == 0 && isPrivateKey(all.Bytes)
}
