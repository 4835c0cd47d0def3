package file

import (
	"context"
	"crypto/md5"
	"encoding/asn1"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"strings"

	"github.com/imasign/imasign-build/pkg/keystore"
)

// parseLegacy reads the header of an encrypted PEM block (RFC 1423, with OpenSSL's ciphers):
// "DEK-Info: AES-128-CBC,<IV in hex>". x509.DecryptPEMBlock is not used, because it leaves
// the passphrase in the memory of its hash.
func parseLegacy(block *pem.Block) (*encryption, error) {
	name, text, _ := strings.Cut(block.Headers["DEK-Info"], ",")
	c, found := cipherOf("", name)
	if !found {
		return nil, conversion{fmt.Errorf("%w: PEM encryption with %.40q", keystore.ErrUnsupportedKey, name), byOpenSSL}
	}
	e := &encryption{ciphertext: block.Bytes, valid: isPrivateKeyDER}
	iv, err := hex.DecodeString(text)
	if err := e.setCipher(c, iv, err, "PEM encryption"); err != nil {
		return nil, err
	}
	e.derive = func(_ context.Context, passphrase []byte, size int) ([]byte, error) {
		return bytesToKey(passphrase, e.iv[:8], size), nil
	}
	return e, nil
}

// bytesToKey is OpenSSL's EVP_BytesToKey with MD5 and one round: each 16 bytes are the
// hash of the previous 16, the passphrase and the salt.
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
