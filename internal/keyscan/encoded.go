package keyscan

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"regexp"
	"strings"
)

// encodedKey is the beginning of a key in DER, which is also found in base64 and hexadecimal.
type encodedKey struct {
	text  string // in DER
	at    int    // offset in text of the version or algorithm that judge takes
	kind  string
	judge func(data []byte, at int) (start, size int)
}

// encodedKeys returns beginnings of at least six bytes. Shorter ones would match by chance.
func encodedKeys() []encodedKey {
	var list []encodedKey
	for _, version := range []string{"\x02\x01\x00\x30", "\x02\x01\x01\x30"} {
		// Lengths of algorithms: X25519 and similar, RSA-PSS and ML-DSA, RSA, EC by curve, EC and DSA
		// with their parameters.
		for _, length := range []string{"\x05\x06", "\x0b\x06", "\x0d\x06", "\x10\x06", "\x13\x06", "\x14\x06", "\x41\x06", "\x82\x01\x03", "\x81", "\x82\x01", "\x82\x02"} {
			if length == "\x81" {
				for _, size := range []string{"\xa4", "\xa8", "\xe8", "\xea", "\xeb"} {
					list = append(list, encodedKey{version + length + size, 0, "PKCS #8", derKey(isPKCS8)})
				}
				continue
			}
			list = append(list, encodedKey{version + length, 0, "PKCS #8", derKey(isPKCS8)})
		}
	}
	for _, oid := range []string{"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x05", "\x06\x0a\x2a\x86\x48\x86\xf7\x0d\x01\x0c\x01"} {
		list = append(list, encodedKey{oid, 0, "encrypted PKCS #8", encryptedPKCS8})
	}
	// SEC 1: P-256, secp256k1, Brainpool and P-384, P-521; then without curve and point.
	for _, head := range []string{"\x30\x77", "\x30\x74", "\x30\x78", "\x30\x31", "\x30\x81\xa4", "\x30\x81\xa8", "\x30\x3e", "\x30\x81\xdc", "\x30\x81\xda", "\x30\x50"} {
		list = append(list, encodedKey{head + "\x02\x01\x01\x04", len(head), "SEC 1", derKey(isSEC1)})
	}
	// PKCS #1 of 1024 bits and more, by the head of the modulus.
	for _, modulus := range []string{"\x81\x81", "\x82\x01", "\x82\x02"} {
		list = append(list, encodedKey{"\x02\x01\x00\x02" + modulus, 0, "PKCS #1", derKey(isNumbers)})
	}
	for high := range byte(16) { // of the length: up to 4 KiB
		list = append(list, encodedKey{"\x02\x01\x03\x30\x82" + string(rune(high)), 0, "PKCS #12", isPKCS12})
	}
	return list
}

// encoded returns the patterns of keys in DER that are written as base64 or hexadecimal.
func encoded() []pattern {
	var list []pattern
	for _, key := range encodedKeys() {
		for phase := range 3 {
			text, skipped := base64Of(key.text, phase)
			if len(text) < window {
				continue
			}
			list = append(list, pattern{text: text, kind: key.kind + " in base64", judge: func(data []byte, at int) (int, int) {
				return judgeBase64(data, at, skipped, phase+key.at, key.judge)
			}})
		}
		lower := hex.EncodeToString([]byte(key.text))
		list = append(list, pattern{text: lower, kind: key.kind + " in hexadecimal", judge: judgeHex(key)})
		if upper := strings.ToUpper(lower); upper != lower {
			list = append(list, pattern{text: upper, kind: key.kind + " in hexadecimal", judge: judgeHex(key)})
		}
	}
	for phase := range 3 {
		for _, label := range []string{"-----BEGIN ", "PRIVATE KEY-----"} {
			text, skipped := base64Of(label, phase)
			list = append(list, pattern{text: text, kind: "PEM in base64", judge: func(data []byte, at int) (int, int) {
				return judgeBase64(data, at, skipped, phase, privateLabel)
			}})
		}
	}
	return list
}

// base64Of returns the characters of text in base64 that do not depend on its neighbours, if
// phase bytes precede text in its group of three. skipped is how many characters of that
// group are left out.
func base64Of(text string, phase int) (chars string, skipped int) {
	all := base64.RawStdEncoding.EncodeToString([]byte(strings.Repeat("\x00", phase) + text))
	skipped = (8*phase + 5) / 6
	return all[skipped : 8*(phase+len(text))/6], skipped
}

// maxEncoded bounds how many characters are decoded for one judgement.
const maxEncoded = 32 << 10

// judgeBase64 decodes the base64 around at and judges the result. at is skipped characters
// after the beginning of a group. judge gets the place offset bytes after that group's
// beginning.
func judgeBase64(data []byte, at, skipped, offset int, judge func([]byte, int) (int, int)) (int, int) {
	from := at - skipped
	if from < 0 {
		return 0, 0
	}
	for from >= 4 && at-from+4 < behind && allIn(data[from-4:from], isBase64) {
		from -= 4
	}
	decoded, length := decodeBase64(data[from:])
	if start, size := judged(decoded, (at-skipped-from)/4*3+offset, judge); size > 0 {
		start = min(at, from+start/3*4)
		return start, max(1, length-(start-from))
	}
	return 0, 0
}

// decodeBase64 decodes the base64 at the beginning of data. length is its size in bytes.
func decodeBase64(data []byte) (decoded []byte, length int) {
	text, length := encodedRun(data, isBase64)
	for i, c := range text {
		switch c { // RFC 4648, 5
		case '-':
			text[i] = '+'
		case '_':
			text[i] = '/'
		}
	}
	if len(text)%4 == 1 {
		text = text[:len(text)-1]
	}
	n, _ := base64.RawStdEncoding.Decode(text, text)
	return text[:n], length
}

func decodeHex(data []byte) (decoded []byte, length int) {
	text, length := encodedRun(data, isHex)
	n, _ := hex.Decode(text, text[:len(text)&^1])
	return text[:n], length
}

// decodings returns the keys in DER that text may encode.
func decodings(text []byte) [][]byte {
	var list [][]byte
	inHex, _ := decodeHex(text)
	inBase64, _ := decodeBase64(text)
	for _, decoded := range [][]byte{inHex, inBase64} {
		for skip := range min(3, len(decoded)) { // the first group of base64 may begin before the key
			if e, ok := readElement(decoded[skip:]); ok && e.tag == tagSequence && len(e.content) == e.length {
				list = append(list, decoded[skip:skip+e.size()])
			}
		}
	}
	return list
}

func judgeHex(key encodedKey) func([]byte, int) (int, int) {
	return func(data []byte, at int) (int, int) {
		from := at
		for from >= 2 && at-from+2 < behind && allIn(data[from-2:from], isHex) {
			from -= 2
		}
		decoded, length := decodeHex(data[from:])
		if start, size := judged(decoded, (at-from)/2+key.at, key.judge); size > 0 {
			start = min(at, from+2*start)
			return start, max(1, length-(start-from))
		}
		return 0, 0
	}
}

func judged(data []byte, at int, judge func([]byte, int) (int, int)) (start, size int) {
	if at >= len(data) {
		return 0, 0
	}
	return judge(data, at)
}

// encodedRun returns the characters of an encoding at the beginning of data, without line
// breaks. length is their size in data, in bytes.
func encodedRun(data []byte, is func(byte) bool) (text []byte, length int) {
	data = data[:min(len(data), maxEncoded)]
	for length < len(data) {
		if c := data[length]; is(c) {
			text, length = append(text, c), length+1
			continue
		}
		if gap := lineBreak.FindIndex(data[length:min(len(data), length+64)]); gap != nil && gap[1] > 0 {
			length += gap[1]
			continue
		}
		break
	}
	return text, length
}

func allIn(text []byte, is func(byte) bool) bool {
	return bytes.IndexFunc(text, func(r rune) bool { return r >= 0x80 || !is(byte(r)) }) < 0
}

func isBase64(c byte) bool {
	return c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '+' || c == '/' || c == '-' || c == '_'
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

// privateLabel looks for the label of a private key in PEM that was decoded from base64.
func privateLabel(data []byte, at int) (int, int) {
	if found := labelled.FindIndex(data[at:min(len(data), at+textReach)]); found != nil {
		return at, found[1]
	}
	return 0, 0
}

// jwkKey judges a JSON Web Key (RFC 7517) by the numbers that only a private key has. They may
// precede or follow its type.
func jwkKey(data []byte, at int) (int, int) {
	object := data[at:min(len(data), at+textReach)]
	if end := bytes.IndexByte(object, '}'); end >= 0 {
		object = object[:end]
	}
	before := data[max(0, at-behind):at]
	if start := bytes.LastIndexByte(before, '{'); start >= 0 {
		before = before[start:]
	}
	if jwkNumber.Match(object) || jwkNumber.Match(before) {
		return at, len(object)
	}
	return 0, 0
}

// wireGuardKey judges a WireGuard key in a configuration of WireGuard, systemd-networkd,
// NetworkManager or OpenWrt. The examples in the manuals of the first two are not secret.
func wireGuardKey(data []byte, at int) (int, int) {
	found := wireGuard.FindSubmatchIndex(data[at:min(len(data), at+128)])
	if found == nil {
		return 0, 0
	}
	switch string(data[at+found[2] : at+found[3]]) {
	case "yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk=", "EEGlnEPYJV//kbvvIqxKkQwOiS+UENyPncC4bF46ong=":
		return 0, 0
	}
	return at, found[1]
}

// pemInUTF16 judges PEM in UTF-16, as some editors and shells save it.
func pemInUTF16(data []byte, at int) (int, int) {
	text := data[at:min(len(data), at+2*textReach)]
	if pemKey.Match(bytes.ReplaceAll(text, []byte{0}, nil)) {
		return at, len(text)
	}
	return 0, 0
}

var (
	// A plus is a character of base64, unless it joins two strings.
	lineBreak = regexp.MustCompile(`^(?:["'][ \t\r\n]*\+[ \t\r\n]*["']|[ \t\r\n"',#>;*|]|` + escapes + `)*`)
	labelled  = regexp.MustCompile(`^(?:-----BEGIN (?:[A-Z0-9-]+ )*)?PRIVATE KEY(?: BLOCK)?-----` + breaks + headers + body)
	jwkNumber = regexp.MustCompile(`\\?"(?:d|p|q|dp|dq|priv)\\?"\s*:\s*\\?"[A-Za-z0-9_-]{40}`)
	wireGuard = regexp.MustCompile(`^[pP]rivate[-_]?[kK]ey(?:\s*=\s*['"]?|\s+['"])([A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=)`)
)
