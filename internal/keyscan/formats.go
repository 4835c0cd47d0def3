package keyscan

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"regexp"
)

// formats returns the patterns of all formats that are recognised by their beginning.
func formats() []pattern {
	list := []pattern{
		{text: "-----BEGIN", kind: "PEM", judge: judgeText(pemKey)},
		{text: "-\x00-\x00-\x00-\x00-\x00B\x00E\x00G\x00I\x00N\x00", kind: "PEM in UTF-16", judge: pemInUTF16},
		{text: "---- BEGIN SSH2 ", kind: "SSH2 key", judge: judgeText(ssh2Key)},
		{text: "PuTTY-User-Key-File-", kind: "PuTTY key", judge: judgeText(puttyKey)},
		{text: "AGE-SECRET-KEY-1", kind: "age key", judge: judgeText(ageKey)},
		{text: "secret key\nRW", kind: "signify or minisign key", judge: judgeText(signifyKey)},
		{text: "Private-key-format: v", kind: "DNSSEC key of BIND", judge: judgeText(bindKey)},
		{text: "Key: (private-key", kind: "key of gpg-agent", judge: judgeText(agentText)},
		{text: "Key: (protected-private-key", kind: "key of gpg-agent", judge: judgeText(agentText)},
		{text: "11:private-key(", kind: "key of gpg-agent", judge: judgeText(agentKey)},
		{text: "21:protected-private-key(", kind: "key of gpg-agent", judge: judgeText(agentKey)},
		{text: "openssh-key-v1\x00", kind: "OpenSSH key", judge: opensshKey},
		{text: `"kty":"`, kind: "JSON Web Key", judge: jwkKey},
		{text: `"kty": "`, kind: "JSON Web Key", judge: jwkKey},
		{text: `"kty" : "`, kind: "JSON Web Key", judge: jwkKey},
		{text: `\"kty\":`, kind: "JSON Web Key", judge: jwkKey},
		{text: "PrivateKey", kind: "WireGuard key", judge: wireGuardKey},
		{text: "private-key", kind: "WireGuard key", judge: wireGuardKey},
		{text: "private_key", kind: "WireGuard key", judge: wireGuardKey},

		{text: "\x02\x01\x00\x30", kind: "PKCS #8 in DER", judge: derKey(isPKCS8)},
		{text: "\x02\x01\x01\x30", kind: "PKCS #8 in DER", judge: derKey(isPKCS8)},
		{text: "\x02\x01\x00\x02", kind: "PKCS #1 or DSA key in DER", judge: derKey(isNumbers)},
		{text: "\x02\x01\x01\x02", kind: "PKCS #1 in DER", judge: derKey(isNumbers)},
		{text: "\x02\x01\x01\x04", kind: "SEC 1 in DER", judge: derKey(isSEC1)},
		{text: "\x02\x01\x03\x30", kind: "PKCS #12", judge: isPKCS12},
	}
	for _, oid := range []string{
		"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x05",         // PKCS #5: PBES1, PBES2
		"\x06\x0a\x2a\x86\x48\x86\xf7\x0d\x01\x0c\x01",     // PKCS #12's own schemes
		"\x06\x0b\x2a\x86\x48\x86\xf7\x0d\x01\x0c\x05\x01", // the older ones
		"\x06\x0a\x2b\x06\x01\x04\x01\x2a\x02\x11\x01\x01", // Java's JKS
		"\x06\x09\x2b\x06\x01\x04\x01\x2a\x02\x13\x01",     // JCEKS
	} {
		list = append(list, pattern{text: oid, kind: "encrypted PKCS #8 in DER", judge: encryptedPKCS8})
	}
	for name, kind := range map[string]string{"ssh-rsa": "dropbear RSA key", "ssh-dss": "dropbear DSA key", "ssh-ed25519": "dropbear Ed25519 key", "ecdsa-sha2-nistp256": "dropbear ECDSA key", "ecdsa-sha2-nistp384": "dropbear ECDSA key", "ecdsa-sha2-nistp521": "dropbear ECDSA key"} {
		list = append(list, pattern{text: name + "\x00", kind: kind, judge: dropbearKey(name)})
	}
	return append(list, encoded()...)
}

// textReach bounds the headers of PEM and OpenPGP, in bytes.
const textReach = 8 << 10

// judgeText returns a judge that matches an expression at the place.
func judgeText(key *regexp.Regexp) func([]byte, int) (int, int) {
	return func(data []byte, at int) (int, int) {
		found := key.FindIndex(data[at:min(len(data), at+textReach)])
		if found == nil {
			return 0, 0
		}
		return at, max(found[1], armorEnd(data[at:min(len(data), at+reach)]))
	}
}

// armorEnd returns the size of a PEM block.
func armorEnd(text []byte) int {
	if !bytes.HasPrefix(text, []byte("-----BEGIN ")) {
		return 0
	}
	at := bytes.Index(text, []byte("-----END "))
	if at < 0 {
		return 0
	}
	line := text[at+len("-----END "):]
	return at + len("-----END ") + min(len(line), max(0, bytes.Index(line, []byte("-----")))+len("-----"))
}

// The lines of a key in text may be separated by white space, comment and quotation marks, or
// escapes of JSON, XML, URLs and program text. 20 characters of base64 must follow the first
// line, because programs contain that line alone.
const (
	breaks  = `(?:[ \t\r\n"',+#>;*|]|` + escapes + `)*`
	escapes = `\\+(?:[nrt]|u000[aAdD]|\r?\n)|&#(?:10|13|x[aAdD]);|%0[aAdD]`
	body    = `(?:(?:[A-Za-z0-9+/=]|%2[BbFf]|%3[Dd]|\\/)(?:\r?\n|\\n)?){20}`
	space   = `(?: |\+|%20)`
	headers = `(?:[A-Za-z-]+: [^\n]*?(?:\n|\\n)` + breaks + `)*`
)

var (
	escape     = regexp.MustCompile(escapes)
	pemKey     = regexp.MustCompile(`^-----BEGIN` + space + `(?:[A-Z0-9-]+` + space + `)*PRIVATE` + space + `KEY(?:` + space + `BLOCK)?-----` + breaks + headers + body)
	ssh2Key    = regexp.MustCompile(`^---- BEGIN SSH2 (?:ENCRYPTED )?PRIVATE KEY ----` + breaks + headers + body)
	puttyKey   = regexp.MustCompile(`^PuTTY-User-Key-File-[1-9]: [a-z0-9-]+\r?\nEncryption: `)
	ageKey     = regexp.MustCompile(`^AGE-SECRET-KEY-1[A-Z0-9]{58}`)
	signifyKey = regexp.MustCompile(`^secret key\nRW[A-Za-z0-9+/]{60}`)
	bindKey    = regexp.MustCompile(`^Private-key-format: v[0-9]+\.[0-9]+\r?\nAlgorithm: [0-9]`)
	agentText  = regexp.MustCompile(`^Key: \((?:protected-)?private-key\s+\([a-z]`)
	agentKey   = regexp.MustCompile(`^[0-9]+:(?:protected-)?private-key\([0-9]+:[a-z]+\([0-9]+:[a-z]`)
)

// opensshKey judges a key by what follows its magic: first the name of a cipher.
func opensshKey(data []byte, at int) (int, int) {
	rest := data[at+len("openssh-key-v1\x00"):]
	cipher, rest, ok := sshString(rest)
	if !ok || len(cipher) == 0 || len(cipher) > 64 {
		return 0, 0
	}
	kdf, rest, ok := sshString(rest)
	if !ok || string(kdf) != "none" && string(kdf) != "bcrypt" {
		return 0, 0
	}
	_, rest, ok = sshString(rest) // the derivation's options
	if !ok || len(rest) < 4 || binary.BigEndian.Uint32(rest) == 0 {
		return 0, 0
	}
	public, rest, ok := sshString(rest[4:]) // behind the number of keys
	if algorithm, _, named := sshString(public); !ok || !named || len(algorithm) == 0 {
		return 0, 0 // the beginning, in a program that writes such files
	}
	if _, after, ok := sshString(rest); ok { // the private keys
		rest = after
	}
	return at, len(data[at:]) - len(rest)
}

// sshString reads a string of RFC 4251: its length, big-endian, and its bytes.
func sshString(data []byte) (value, rest []byte, ok bool) {
	if len(data) < 4 {
		return nil, nil, false
	}
	size := binary.BigEndian.Uint32(data)
	if size > uint32(len(data)-4) {
		return nil, nil, false
	}
	return data[4 : 4+size], data[4+size:], true
}

// dropbearKey judges what follows the name of an algorithm. A public key has only the public
// numbers. Files of dropbear, and the inside of OpenSSH's, also have the private ones.
func dropbearKey(name string) func([]byte, int) (int, int) {
	return func(data []byte, at int) (int, int) {
		if at < 4 || int(binary.BigEndian.Uint32(data[at-4:])) != len(name) {
			return 0, 0
		}
		rest := data[at+len(name):]
		var fields [][]byte
		for len(fields) < 6 {
			value, after, ok := sshString(rest)
			if !ok || len(value) == 0 || len(value) > 4096 {
				break
			}
			fields, rest = append(fields, value), after
		}
		if !isSSHPrivate(name, fields) {
			return 0, 0
		}
		return at - 4, len(data) - len(rest) - at + 4
	}
}

func isSSHPrivate(name string, fields [][]byte) bool {
	size := func(i int) int {
		if i >= len(fields) {
			return 0
		}
		return len(bytes.TrimLeft(fields[i], "\x00"))
	}
	near := func(n, want int) bool { return n > want-8 && n <= want }
	switch name {
	case "ssh-rsa": // e, n, d, p, q
		n := size(1)
		return size(0) <= 8 && n >= 64 && near(size(2), n) && near(size(3), n/2+1) && near(size(4), n/2+1)
	case "ssh-dss": // p, q, g, y, x
		return size(0) >= 64 && size(1) >= 20 && size(1) <= 32 && size(3) <= size(0) && near(size(4), size(1))
	case "ssh-ed25519": // seed and public key
		return len(fields) >= 1 && len(fields[0]) == 64 || len(fields) >= 2 && len(fields[0]) == 32 && len(fields[1]) == 64
	}
	// curve, point, scalar
	return len(fields) >= 3 && len(fields[0]) == 8 && size(1) >= 65 && fields[1][0] == 4 && near(size(2), (len(fields[1])-1)/2)
}

// wholeFile recognises formats that must be a whole file: the beginning of OpenPGP packets is
// a single byte, and BKS has none.
func wholeFile(data []byte) (kind string, size int) {
	if holdsOpenPGP(data) {
		return "OpenPGP secret key", len(data)
	}
	if isBKS(data) {
		return "BKS key store", len(data)
	}
	return "", 0
}

// holdsOpenPGP reports whether data begins with OpenPGP packets (RFC 9580, 4.2), one of which
// is a secret key or subkey.
func holdsOpenPGP(data []byte) bool {
	for len(data) > 2 && data[0]&0x80 != 0 {
		tag, head, length, ok := packetHead(data)
		if !ok || head+length > len(data) {
			return false
		}
		body := data[head : head+length]
		switch {
		case tag == 5 || tag == 7:
			return len(body) > 20 && body[0] >= 3 && body[0] <= 6
		case tag == 0 || tag == 6 && (len(body) < 6 || body[0] < 2 || body[0] > 6):
			return false
		}
		data = data[head+length:]
	}
	return false
}

func packetHead(data []byte) (tag, head, length int, ok bool) {
	if data[0]&0x40 == 0 { // the old format
		size := 1 << (data[0] & 3) // of the length
		if size == 8 || len(data) < 1+size {
			return 0, 0, 0, false
		}
		for _, b := range data[1 : 1+size] {
			length = length<<8 | int(b)
		}
		return int(data[0]>>2) & 15, 1 + size, length, true
	}
	tag = int(data[0] & 63)
	switch first := int(data[1]); {
	case first < 192:
		return tag, 2, first, true
	case first < 224 && len(data) > 2:
		return tag, 3, (first-192)<<8 + int(data[2]) + 192, true
	case first == 255 && len(data) > 5:
		return tag, 6, int(binary.BigEndian.Uint32(data[2:])), true
	}
	return 0, 0, 0, false // partial lengths, which keys do not have
}

// isBKS recognises BouncyCastle's key store by its first fields: version, 20 bytes of salt,
// iterations, and an entry that is a key or sealed.
func isBKS(data []byte) bool {
	if len(data) < 40 || binary.BigEndian.Uint32(data) < 1 || binary.BigEndian.Uint32(data) > 2 || binary.BigEndian.Uint32(data[4:]) != 20 {
		return false
	}
	iterations, entry := binary.BigEndian.Uint32(data[28:]), data[32]
	return iterations >= 1 && iterations <= 1<<20 && entry >= 2 && entry <= 4
}

// decodeArmor returns the DER of a key in text, nil if there is none.
func decodeArmor(text []byte) []byte {
	_, rest, found := bytes.Cut(text, []byte("KEY-----"))
	if !found {
		return nil
	}
	rest, _, _ = bytes.Cut(rest, []byte("-----END"))
	rest = escape.ReplaceAll(rest, nil)
	rest = bytes.Map(func(r rune) rune {
		if r < 0x80 && (r == '+' || r == '/' || r == '=' || r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z') {
			return r
		}
		return -1
	}, rest)
	der, err := base64.StdEncoding.DecodeString(string(rest))
	if err != nil {
		return nil
	}
	return der
}
