package file

import (
	"bytes"
	"encoding/asn1"
	"encoding/pem"
	"fmt"

	"github.com/imasign/imasign-build/pkg/keystore"
)

// contents is the content of a key file, not yet decrypted.
type contents struct {
	der          []byte
	isTPM        bool       // der is wrapped by a TPM
	legacy       *pem.Block // der is encrypted as Proc-Type and DEK-Info say
	certificates [][]byte   // DER
}

// Commands that convert unsupported formats to new.key.
const (
	byOpenSSL = "openssl pkey -in %s -aes256 -out new.key"
	byLegacy  = byOpenSSL + " -provider legacy -provider default" // MD5 and single DES
	bySSH     = "cp %s new.key && ssh-keygen -p -m PKCS8 -f new.key"
	byPKCS12  = "openssl pkcs12 -in %s -nocerts -out new.key"
	byCurve   = "openssl ec -in %s -param_enc named_curve -out new.key"
)

// labelTPM is the PEM label of a key that a TPM has wrapped.
const labelTPM = "TSS2 PRIVATE KEY"

// find returns the key and the certificates in PEM or DER.
func find(data []byte) (*contents, error) {
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")) // a byte order mark
	switch {
	case len(bytes.TrimSpace(data)) == 0:
		return nil, notAKey("the file is empty")
	case bytes.Contains(data, []byte("-----BEGIN ")), bytes.Contains(data, []byte("---- BEGIN ")):
		return findPEM(data)
	case data[0] == 0x30: // SEQUENCE, as all DER here
		return findDER(data)
	}
	return nil, foreign(data)
}

func findPEM(data []byte) (*contents, error) {
	var found contents
	var other error
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			break
		}
		switch block.Type {
		case "PRIVATE KEY", "ENCRYPTED PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", labelTPM:
			if found.der != nil {
				return nil, fmt.Errorf("%w in the file: keep the one that signs", keystore.ErrSeveralKeys)
			}
			found.der, found.isTPM = block.Bytes, block.Type == labelTPM
			if block.Headers["DEK-Info"] != "" || block.Headers["Proc-Type"] != "" {
				found.legacy = block
			}
		case "CERTIFICATE":
			found.certificates = append(found.certificates, block.Bytes)
			other = notAKey("it holds a certificate and no key")
		default:
			other = otherPEM(block.Type)
		}
	}
	switch {
	case found.der != nil:
		return &found, nil
	case other != nil:
		return nil, other
	case bytes.Contains(data, []byte("-----BEGIN PGP ")):
		return nil, otherPEM("PGP MESSAGE") // its checksum is none of PEM
	case bytes.Contains(data, []byte("---- BEGIN SSH2 ")):
		return nil, conversion{notAKey("it is an SSH key"), bySSH}
	}
	return nil, notAKey("the PEM is damaged or cut off: copy it again")
}

// otherPEM returns the error for PEM that is not a signing key.
func otherPEM(label string) error {
	switch label {
	case "PUBLIC KEY", "RSA PUBLIC KEY":
		return notAKey("it is a public key; signing takes the private one")
	case "X509 CERTIFICATE", "TRUSTED CERTIFICATE":
		return notAKey("it holds a certificate and no key")
	case "CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST":
		return notAKey("it is a certificate request")
	case "OPENSSH PRIVATE KEY":
		return conversion{notAKey("it is an OpenSSH key"), bySSH}
	case "PGP PRIVATE KEY BLOCK", "PGP PUBLIC KEY BLOCK", "PGP MESSAGE", "PGP SIGNATURE", "PGP SIGNED MESSAGE":
		return notAKey("it is OpenPGP data; IMA takes an RSA or ECDSA key of its own")
	case "DSA PRIVATE KEY", "X25519 PRIVATE KEY", "ED25519 PRIVATE KEY":
		return unsupportedKey(label[:len(label)-len(" PRIVATE KEY")])
	}
	if len(label) > 40 {
		label = label[:40] + "…"
	}
	return notAKey(fmt.Sprintf("it holds PEM of type %q", label))
}

// findDER reads a single key. Its outline tells what other DER is.
func findDER(data []byte) (*contents, error) {
	var all asn1.RawValue
	rest, err := asn1.Unmarshal(data, &all)
	if err != nil {
		return nil, notAKey("it begins like DER, but is damaged or cut off: copy it again")
	}
	if len(bytes.TrimSpace(rest)) > 0 {
		return nil, notAKey("bytes follow the DER")
	}
	switch outline(all.Bytes) {
	case "sb":
		return nil, notAKey("it is a public key; signing takes the private one")
	case "ii":
		return nil, notAKey("it is an RSA public key; signing takes the private one")
	case "ssb":
		return nil, notAKey("it is a certificate or a certificate request")
	case "is", "iss":
		return nil, conversion{notAKey("it is a PKCS #12 bundle"), byPKCS12}
	case "iiiiii":
		return nil, unsupportedKey("DSA")
	}
	return &contents{der: all.FullBytes}, nil
}

// foreign returns the error for data that is neither PEM nor DER.
func foreign(data []byte) error {
	for _, prefix := range []string{"ssh-rsa ", "ssh-ed25519 ", "ssh-dss ", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-"} {
		if bytes.HasPrefix(data, []byte(prefix)) {
			return notAKey("it is an SSH public key; signing takes a private one")
		}
	}
	switch {
	case bytes.HasPrefix(data, []byte("PuTTY-User-Key-File-")):
		return notAKey("it is a PuTTY key; puttygen FILE -O private-openssh-new exports it, ssh-keygen -p -m PKCS8 converts that")
	case bytes.HasPrefix(data, []byte{0x95}), bytes.HasPrefix(data, []byte{0x99}), bytes.HasPrefix(data, []byte{0xc5}), bytes.HasPrefix(data, []byte{0xc6}):
		return notAKey("it looks like OpenPGP data; IMA takes an RSA or ECDSA key of its own")
	}
	return notAKey("it is neither PEM nor DER")
}

func notAKey(what string) error { return fmt.Errorf("%w: %s", keystore.ErrNotAKey, what) }

// outline returns a letter for each of the first elements of a SEQUENCE, 16 at most: i for
// INTEGER, s for SEQUENCE, o for OCTET STRING, b for BIT STRING, ? for others.
func outline(content []byte) string {
	letters := ""
	for len(content) > 0 && len(letters) < 16 {
		var element asn1.RawValue
		rest, err := asn1.Unmarshal(content, &element)
		if err != nil {
			return letters + "!"
		}
		letter := "?"
		if element.Class == asn1.ClassUniversal {
			switch element.Tag {
			case asn1.TagInteger:
				letter = "i"
			case asn1.TagSequence:
				letter = "s"
			case asn1.TagOctetString:
				letter = "o"
			case asn1.TagBitString:
				letter = "b"
			}
		}
		letters, content = letters+letter, rest
	}
	return letters
}
