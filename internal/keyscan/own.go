package keyscan

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"math/big"
	"slices"
	"strings"

	"github.com/imasign/imasign-build/internal/mldsa"
)

// Own is a key that a Scanner recognises in any encoding.
type Own struct {
	// Public is compared with the public part of private keys in clear; it may be nil.
	Public crypto.PublicKey
	// Private is the key, whose numbers are searched for. It is nil if they are unknown, for
	// example if the key is in a device.
	Private crypto.Signer
	// Encoded is the DER in the key file, which may be encrypted. Copies of it are found. It
	// may be nil.
	Encoded []byte
}

// is reports whether a key that was found is this one.
func (o *Own) is(key []byte) bool {
	candidates := append(decodings(key), key)
	if bytes.HasPrefix(key, []byte("-----BEGIN")) {
		if block, _ := pem.Decode(key); block != nil {
			candidates = append(candidates, block.Bytes)
		}
		candidates = append(candidates, decodeArmor(key))
	}
	return slices.ContainsFunc(candidates, o.isDER)
}

func (o *Own) isDER(der []byte) bool {
	if len(o.Encoded) > 0 && bytes.Equal(der, o.Encoded) {
		return true
	}
	public, comparable := publicOf(der).(interface{ Equal(crypto.PublicKey) bool })
	return o.Public != nil && comparable && public.Equal(o.Public)
}

// publicOf returns the public part of a private key in DER, nil if der is anything else.
func publicOf(der []byte) crypto.PublicKey {
	if key, err := mldsa.ParsePKCS8(der); err == nil {
		return key.Public()
	}
	var key any
	var err error
	if key, err = x509.ParsePKCS8PrivateKey(der); err != nil {
		if key, err = x509.ParsePKCS1PrivateKey(der); err != nil {
			if key, err = x509.ParseECPrivateKey(der); err != nil {
				return nil
			}
		}
	}
	signer, is := key.(crypto.Signer)
	if !is {
		return nil
	}
	return signer.Public()
}

// numbers returns the secret numbers, big-endian. They have no leading zeros, because only
// some encodings have them. The parts of ML-DSA keys are strings of bytes.
func (o *Own) numbers() [][]byte {
	switch key := o.Private.(type) {
	case *ecdsa.PrivateKey:
		scalar, err := key.Bytes()
		if err != nil {
			return nil
		}
		return [][]byte{bytes.TrimLeft(scalar, "\x00")}
	case *rsa.PrivateKey:
		list := [][]byte{key.D.Bytes()}
		for _, prime := range key.Primes {
			list = append(list, prime.Bytes())
		}
		return list
	case *mldsa.PrivateKey:
		return key.Secrets()
	}
	return nil
}

// patterns returns the patterns of the numbers in every encoding.
func (o *Own) patterns() []pattern {
	var list []pattern
	add := func(kind string, text string) {
		if len(text) < 16 {
			return
		}
		list = append(list, pattern{text: text, kind: kind, own: true, judge: func(_ []byte, at int) (int, int) { return at, len(text) }})
	}
	if len(o.Encoded) > 0 {
		add("the key's file", string(o.Encoded[:min(len(o.Encoded), 1<<10)]))
	}
	for _, number := range o.numbers() {
		little := slices.Clone(number)
		slices.Reverse(little)
		add("number of the key", string(number))
		add("number of the key", string(little))
		lower := hex.EncodeToString(number)
		upper := strings.ToUpper(lower)
		texts := []string{lower, upper, grouped(lower, 4, " "), grouped(upper, 4, " ")}
		for _, separator := range []string{":", " ", ", 0x", ",0x", `\x`} {
			texts = append(texts, grouped(lower, 2, separator), grouped(upper, 2, separator))
		}
		for _, text := range texts {
			pieces(text, 30, func(piece string) { add("number of the key in hexadecimal", piece) })
		}
		pieces(new(big.Int).SetBytes(number).String(), 30, func(piece string) { add("number of the key in decimal", piece) })
		for shift := range 3 {
			text := base64.RawStdEncoding.EncodeToString(append(make([]byte, shift), number...))
			text = text[4 : len(text)-4]
			pieces(text, 24, func(piece string) { add("number of the key in base64", piece) })
			safe := strings.NewReplacer("+", "-", "/", "_").Replace(text)
			if safe != text {
				pieces(safe, 24, func(piece string) { add("number of the key in base64", piece) })
			}
		}
	}
	return list
}

// grouped separates hexadecimal digits as in `openssl pkey -text`, xxd or C.
func grouped(text string, digits int, separator string) string {
	var b strings.Builder
	for i := 0; i < len(text); i += digits {
		if i > 0 {
			b.WriteString(separator)
		}
		b.WriteString(text[i:min(len(text), i+digits)])
	}
	return b.String()
}

// pieces cuts text into pieces that overlap by half. Wherever the text is broken into lines
// of twice the size, a line contains a whole piece.
func pieces(text string, size int, take func(string)) {
	for at := 0; at+size <= len(text); at += size / 2 {
		take(text[at : at+size])
	}
}
