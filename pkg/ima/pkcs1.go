package ima

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
)

// digestInfo is what an RSA signature was made over.
type digestInfo struct {
	hash   string // the kernel's name, or the object identifier
	digest []byte
}

// recoverDigestInfo decrypts an RSA signature with the public key and returns what was
// signed. It reports false if the result is not a PKCS#1 v1.5 block. It never decides
// whether a signature is valid, which only crypto/rsa does. Because no secret is
// involved, math/big is safe here.
func recoverDigestInfo(pub *rsa.PublicKey, sig []byte) (digestInfo, bool) {
	s := new(big.Int).SetBytes(sig)
	if s.Cmp(pub.N) >= 0 {
		return digestInfo{}, false
	}
	block := s.Exp(s, big.NewInt(int64(pub.E)), pub.N).FillBytes(make([]byte, pub.Size()))
	padded, ok := bytes.CutPrefix(block, []byte{0, 1})
	if !ok {
		return digestInfo{}, false
	}
	der, ok := bytes.CutPrefix(bytes.TrimLeft(padded, "\xff"), []byte{0})
	if !ok {
		return digestInfo{}, false
	}
	var info struct {
		Algorithm pkix.AlgorithmIdentifier
		Digest    []byte
	}
	if rest, err := asn1.Unmarshal(der, &info); err != nil || len(rest) > 0 {
		return digestInfo{}, false
	}
	return digestInfo{hashOfOID(info.Algorithm.Algorithm), info.Digest}, true
}

func hashOfOID(oid asn1.ObjectIdentifier) string {
	switch s := oid.String(); s {
	case "1.2.840.113549.2.5":
		return MD5.String()
	case "1.3.14.3.2.26":
		return SHA1.String()
	case "2.16.840.1.101.3.4.2.1":
		return SHA256.String()
	case "2.16.840.1.101.3.4.2.2":
		return SHA384.String()
	case "2.16.840.1.101.3.4.2.3":
		return SHA512.String()
	case "2.16.840.1.101.3.4.2.4":
		return SHA224.String()
	case "2.16.840.1.101.3.4.2.8":
		return SHA3_256.String()
	case "2.16.840.1.101.3.4.2.9":
		return sha3_384.String()
	case "2.16.840.1.101.3.4.2.10":
		return SHA3_512.String()
	default:
		return s
	}
}
