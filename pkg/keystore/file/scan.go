package file

import (
	"bytes"
	"encoding/asn1"
	"regexp"
	"strings"
)

// armored is a private key as text, by its beginning. A program may well contain the
// line that begins one, so that what such a line stands for has to follow.
var armored = regexp.MustCompile(`^(?:-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----\r?\n(?:[A-Za-z-]+: [^\n]*\n|\r?\n)*[A-Za-z0-9+/=]{16}` +
	`|---- BEGIN SSH2 (?:ENCRYPTED )?PRIVATE KEY ----\r?\n` +
	`|PuTTY-User-Key-File-[0-9]+: )`)

// armorHead is as far as the headers of PEM and OpenPGP reach.
const armorHead = 8 << 10

// holdsArmored looks only where one may begin: an expression over a whole program takes
// twenty times as long.
func holdsArmored(data []byte) bool {
	for _, begin := range []string{"-----BEGIN ", "---- BEGIN SSH2 ", "PuTTY-User-Key-File-"} {
		for rest := data; ; rest = rest[1:] {
			at := bytes.Index(rest, []byte(begin))
			if at < 0 {
				break
			}
			rest = rest[at:]
			if armored.Match(rest[:min(len(rest), armorHead)]) {
				return true
			}
		}
	}
	return false
}

// HoldsPrivateKey reports whether data are a private key in DER (PKCS #1, PKCS #8, SEC 1,
// also encrypted, and PKCS #12, which holds one as a rule), or have one as text anywhere
// in them (PEM, OpenSSH, OpenPGP, SSH2, PuTTY). It is for what goes to devices; whether
// the key is one that Open could use makes no difference.
func HoldsPrivateKey(data []byte) bool {
	if holdsArmored(data) {
		return true
	}
	for len(data) > 0 && data[0] == 0x30 { // SEQUENCE, as all DER here
		var all asn1.RawValue
		rest, err := asn1.Unmarshal(data, &all)
		if err != nil {
			return false
		}
		if isPrivateKey(all.Bytes) || isEncrypted(all.Bytes) {
			return true
		}
		data = rest
	}
	return false
}

// isEncrypted recognises EncryptedPrivateKeyInfo of PKCS #8, and PKCS #12.
func isEncrypted(content []byte) bool {
	switch outline(content) {
	case "is", "iss":
		return true
	case "so":
		var algorithm struct {
			OID        asn1.ObjectIdentifier
			Parameters asn1.RawValue `asn1:"optional"`
		}
		if _, err := asn1.Unmarshal(content, &algorithm); err != nil {
			return false
		}
		oid := algorithm.OID.String() + "."
		return strings.HasPrefix(oid, "1.2.840.113549.1.5.") || strings.HasPrefix(oid, "1.2.840.113549.1.12.1.")
	}
	return false
}
