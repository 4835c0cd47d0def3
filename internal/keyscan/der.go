package keyscan

import "bytes"

// element is an ASN.1 element in DER. Its content may be cut off at the end of the data.
type element struct {
	tag     byte
	head    int // bytes of tag and length
	length  int // as stated
	content []byte
}

func (e element) size() int { return e.head + e.length }

// readElement reads the head of an element. ok is false if data does not begin with one.
func readElement(data []byte) (e element, ok bool) {
	if len(data) < 2 || data[0]&0x1f == 0x1f {
		return e, false
	}
	e = element{tag: data[0], head: 2, length: int(data[1])}
	if more := e.length & 0x7f; e.length >= 0x80 {
		if more == 0 || more > 3 || len(data) < 2+more || data[2] == 0 {
			return e, false // indefinite, huge, or not the shortest form
		}
		e.length = 0
		for _, b := range data[2 : 2+more] {
			e.length = e.length<<8 | int(b)
		}
		e.head += more
		if e.length < 0x80 {
			return e, false
		}
	}
	e.content = data[e.head:min(len(data), e.size())]
	return e, true
}

// next reads an element with the given tag. All of it must be in data.
func next(data []byte, tag byte) (e element, rest []byte, ok bool) {
	e, ok = readElement(data)
	if !ok || e.tag != tag || e.size() > len(data) {
		return e, nil, false
	}
	return e, data[e.size():], true
}

const (
	tagInteger  = 0x02
	tagOctets   = 0x04
	tagOID      = 0x06
	tagSequence = 0x30
)

// sequenceBefore finds the SEQUENCE whose content begins at offset at. Its head has 2 to 5
// bytes.
func sequenceBefore(data []byte, at int) (start int, e element, ok bool) {
	for head := 2; head <= 5 && head <= at; head++ {
		start = at - head
		if data[start] != tagSequence {
			continue
		}
		if e, ok = readElement(data[start:]); ok && e.head == head && len(e.content) == e.length {
			return start, e, true
		}
	}
	return 0, element{}, false
}

// derKey returns a judge for keys that begin with a version: PKCS #1, DSA, SEC 1 and PKCS #8.
// judge gets the content after the version.
func derKey(judge func(content []byte) bool) func([]byte, int) (int, int) {
	return func(data []byte, at int) (int, int) {
		start, e, ok := sequenceBefore(data, at)
		if !ok || e.length < 3 || !judge(e.content[3:]) { // 02 01 version
			return 0, 0
		}
		return start, e.size()
	}
}

// isPKCS8 checks the algorithm, the key in an OCTET STRING, then attributes and public key.
func isPKCS8(content []byte) bool {
	algorithm, rest, ok := next(content, tagSequence)
	if !ok {
		return false
	}
	if oid, _, ok := next(algorithm.content, tagOID); !ok || oid.length < 3 || oid.length > 20 {
		return false
	}
	key, rest, ok := next(rest, tagOctets)
	return ok && key.length >= 16 && looksRandom(key.content) && onlyContext(rest)
}

// looksRandom tells a key from the bytes that follow the head of a key in a program that
// writes keys. In a key, at least 22 of 32 bytes, or 44 of 64, differ from each other.
func looksRandom(content []byte) bool {
	var seen [256]bool
	different := 0
	content = content[max(0, len(content)-64):]
	for _, b := range content {
		if !seen[b] {
			seen[b] = true
			different++
		}
	}
	return different >= len(content)*11/16
}

// isSEC1 checks the scalar in an OCTET STRING, then curve and point.
func isSEC1(content []byte) bool {
	scalar, rest, ok := next(content, tagOctets)
	return ok && scalar.length >= 14 && scalar.length <= 66 && looksRandom(scalar.content) && onlyContext(rest)
}

func onlyContext(rest []byte) bool {
	for len(rest) > 0 {
		e, ok := readElement(rest)
		if !ok || e.tag&0xc0 != 0x80 || e.size() > len(rest) {
			return false
		}
		rest = rest[e.size():]
	}
	return true
}

// isNumbers checks the numbers of PKCS #1 or DSA. PKCS #1 has eight after the version: modulus
// and exponents, then primes of half the size. DSA has five.
func isNumbers(content []byte) bool {
	var sizes []int
	rest := content
	for len(rest) > 0 && rest[0] == tagInteger {
		number, after, ok := next(rest, tagInteger)
		if !ok || number.length == 0 {
			return false
		}
		sizes, rest = append(sizes, len(bytes.TrimLeft(number.content, "\x00"))), after
	}
	switch len(sizes) {
	case 8: // n, e, d, p, q, …; further primes follow in a SEQUENCE
		modulus := sizes[0]
		return modulus >= 32 && sizes[1] <= modulus && sizes[2] <= modulus && sizes[3] < modulus && sizes[4] < modulus && sizes[5] <= sizes[3] && sizes[6] <= sizes[4]
	case 5: // p, q, g, y, x
		return len(rest) == 0 && sizes[0] >= 64 && sizes[1] >= 20 && sizes[1] <= 64 && sizes[2] <= sizes[0] && sizes[3] <= sizes[0] && sizes[4] <= sizes[1]
	}
	return false
}

// encryptedPKCS8 judges the OBJECT IDENTIFIER of an encryption. It must be part of an
// algorithm in an EncryptedPrivateKeyInfo.
func encryptedPKCS8(data []byte, at int) (int, int) {
	inner, algorithm, ok := sequenceBefore(data, at)
	if !ok {
		return 0, 0
	}
	start, all, ok := sequenceBefore(data, inner)
	if !ok || len(all.content) <= algorithm.size() {
		return 0, 0
	}
	encrypted, rest, ok := next(all.content[algorithm.size():], tagOctets)
	if !ok || encrypted.length < 16 || len(rest) > 0 {
		return 0, 0
	}
	return start, all.size()
}

// OBJECT IDENTIFIERs in PKCS #12 (RFC 7292) and PKCS #7, tag and length included.
const (
	oidData          = "\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01"
	oidSignedData    = "\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02"
	oidEncryptedData = "\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x06"
	oidEnvelopedData = "\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x03"
	oidKeyBag        = "\x06\x0b\x2a\x86\x48\x86\xf7\x0d\x01\x0c\x0a\x01\x01"
	oidShroudedBag   = "\x06\x0b\x2a\x86\x48\x86\xf7\x0d\x01\x0c\x0a\x01\x02"
)

// isPKCS12 judges version 3 of PKCS #12, in DER, or in BER of indefinite length as NSS and
// Windows write it. A store that has only certificates, in clear, is not reported. Encrypted
// content may be a key.
func isPKCS12(data []byte, at int) (int, int) {
	start, size := at-2, min(len(data)-at+2, reach)
	if s, e, ok := sequenceHead(data, at); ok {
		start, size = s, e.size()
	} else if at < 2 || data[at-2] != tagSequence || data[at-1] != 0x80 {
		return 0, 0
	}
	safe := data[at+3:]
	if len(safe) < 4 {
		return 0, 0
	}
	head := 2 // 30 80
	if e, ok := readElement(safe); ok {
		head = e.head
	} else if safe[1] != 0x80 {
		return 0, 0
	}
	body := safe[min(len(safe), head):]
	if !bytes.HasPrefix(body, []byte(oidData)) && !bytes.HasPrefix(body, []byte(oidSignedData)) {
		return 0, 0
	}
	all := data[start:min(len(data), start+size)]
	for _, oid := range []string{oidKeyBag, oidShroudedBag, oidEncryptedData, oidEnvelopedData} {
		if bytes.Contains(all, []byte(oid)) {
			return start, size
		}
	}
	return 0, 0
}

// sequenceHead is sequenceBefore for a SEQUENCE that may extend beyond the data.
func sequenceHead(data []byte, at int) (start int, e element, ok bool) {
	for head := 2; head <= 5 && head <= at; head++ {
		start = at - head
		if e, ok = readElement(data[start:]); ok && e.tag == tagSequence && e.head == head && e.length > 40 {
			return start, e, true
		}
	}
	return 0, element{}, false
}
