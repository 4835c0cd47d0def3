package file_test

import (
	"context"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/imasign/imasign-build/internal/input"
	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/keystore"
	"github.com/imasign/imasign-build/pkg/keystore/file"
)

const passphrase = "hunter2-is-secret"

// rsaKey is made once, because that takes most of a second.
var rsaKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func ecKey(t testing.TB, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	check(t, err)
	return key
}

func pkcs8DER(t testing.TB, key any) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	check(t, err)
	return der
}

func sec1DER(t testing.TB, key *ecdsa.PrivateKey) []byte {
	t.Helper()
	der, err := x509.MarshalECPrivateKey(key)
	check(t, err)
	return der
}

func armor(label string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: label, Bytes: der})
}

// encrypted returns a file of testdata. "openssl pkcs8 -topk8" encrypted it with the passphrase.
func encrypted(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name+".key"))
	check(t, err)
	return data
}

// frozenKey returns the key in the encrypted files except p224.
func frozenKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	block, _ := pem.Decode(encrypted(t, "p256"))
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	check(t, err)
	return key.(*ecdsa.PrivateKey)
}

func legacy(t testing.TB, der []byte, cipher x509.PEMCipher) []byte {
	t.Helper()
	block, err := x509.EncryptPEMBlock(rand.Reader, "RSA PRIVATE KEY", der, []byte(passphrase), cipher) //nolint:staticcheck // the old format is what is tested
	check(t, err)
	return pem.EncodeToMemory(block)
}

func certificate(t testing.TB, key crypto.Signer, id byte) *x509.Certificate {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, SubjectKeyId: []byte{0, id, id, id, id}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	check(t, err)
	cert, err := x509.ParseCertificate(der)
	check(t, err)
	return cert
}

func keyFile(t testing.TB, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "test.key")
	check(t, os.WriteFile(path, data, 0o600))
	return path
}

func knows(context.Context, string) ([]byte, error) { return []byte(passphrase), nil }

func join(parts ...[]byte) (all []byte) {
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}

// signs checks that the key makes a signature that the public key verifies.
func signs(t *testing.T, key *keystore.Key, public crypto.PublicKey) {
	t.Helper()
	digest := sha256.Sum256([]byte("content"))
	sigs, err := key.Sign(context.Background(), ima.ContentSignature(), ima.SHA256, [][]byte{digest[:]})
	check(t, err)
	bare, err := ima.BareKey(public)
	check(t, err)
	check(t, bare.Verify(ima.Statement{Form: ima.ContentSignature(), Hash: ima.SHA256, Digest: digest[:]}, sigs[0]))
	check(t, key.Close())
}

func TestForms(t *testing.T) {
	p256 := ecKey(t, elliptic.P256())
	pkcs1 := x509.MarshalPKCS1PrivateKey(rsaKey())
	params, err := asn1.Marshal(asn1.ObjectIdentifier{1, 2, 840, 10045, 3, 1, 7})
	check(t, err)
	frozen := frozenKey(t)
	block, _ := pem.Decode(encrypted(t, "aes256"))
	for name, c := range map[string]struct {
		data []byte
		key  crypto.Signer
	}{
		"PKCS #1 PEM":            {armor("RSA PRIVATE KEY", pkcs1), rsaKey()},
		"PKCS #1 DER":            {pkcs1, rsaKey()},
		"PKCS #8 PEM":            {armor("PRIVATE KEY", pkcs8DER(t, rsaKey())), rsaKey()},
		"PKCS #8 DER":            {pkcs8DER(t, p256), p256},
		"SEC 1 PEM":              {armor("EC PRIVATE KEY", sec1DER(t, p256)), p256},
		"SEC 1 DER":              {sec1DER(t, p256), p256},
		"EC PARAMETERS first":    {join(armor("EC PARAMETERS", params), armor("EC PRIVATE KEY", sec1DER(t, p256))), p256},
		"wrong label":            {armor("PRIVATE KEY", pkcs1), rsaKey()},
		"text, BOM and CRLF":     {[]byte("\xef\xbb\xbfBag Attributes\r\n" + strings.ReplaceAll(string(armor("PRIVATE KEY", pkcs8DER(t, p256))), "\n", "\r\n")), p256},
		"PBES2 AES-128 SHA-1":    {encrypted(t, "aes128-sha1"), frozen},
		"PBES2 AES-192 SHA-384":  {encrypted(t, "aes192-sha384"), frozen},
		"PBES2 AES-256":          {encrypted(t, "aes256"), frozen},
		"PBES2 AES-256 DER":      {block.Bytes, frozen},
		"PBES2 SHA-512":          {encrypted(t, "sha512"), frozen},
		"PBES2 3DES SHA-224":     {encrypted(t, "des3-sha224"), frozen},
		"PBES2 scrypt":           {encrypted(t, "scrypt"), frozen},
		"legacy AES-256":         {legacy(t, pkcs1, x509.PEMCipherAES256), rsaKey()},
		"legacy 3DES":            {legacy(t, pkcs1, x509.PEMCipher3DES), rsaKey()},
		"P-384":                  {pkcs8DER(t, ecKey(t, elliptic.P384())), nil},
		"P-521":                  {pkcs8DER(t, ecKey(t, elliptic.P521())), nil},
		"newline behind the DER": {append(pkcs8DER(t, p256), '\n'), p256},
	} {
		t.Run(name, func(t *testing.T) {
			key, err := file.New().Open(context.Background(), keyFile(t, c.data), keystore.Options{
				Secret: knows, Warn: func(w string) { t.Errorf("warned: %s", w) },
			})
			check(t, err)
			public := key.Public.Public()
			if c.key != nil && !c.key.Public().(interface{ Equal(crypto.PublicKey) bool }).Equal(public) {
				t.Error("another key came out")
			}
			signs(t, key, public)
		})
	}
}

func TestProviderIsNamed(t *testing.T) {
	for _, c := range []struct {
		private     crypto.Signer
		want, alone string // alone: in a build without cgo
	}{
		{rsaKey(), "libcrypto OpenSSL 3", "crypto/rsa"},
		{ecKey(t, elliptic.P256()), "crypto/ecdsa, libcrypto OpenSSL 3", "crypto/ecdsa"},
		{ecKey(t, elliptic.P384()), "crypto/ecdsa, libcrypto OpenSSL 3", "crypto/ecdsa"},
	} {
		key, err := file.New().Open(context.Background(), keyFile(t, pkcs8DER(t, c.private)), keystore.Options{})
		check(t, err)
		got := key.Provider
		if got != c.alone && !strings.HasPrefix(got, c.want) {
			t.Errorf("provider %q", got)
		}
		if got != c.alone && !key.VerifiesWith(c.private.Public()) {
			t.Errorf("%s: its own verification is not used", got)
		}
		check(t, key.Close())
		if _, err := key.Sign(context.Background(), ima.ContentSignature(), ima.SHA256, [][]byte{make([]byte, 32)}); err == nil {
			t.Errorf("%s still has the key after Close", got)
		}
	}
}

// TestUnverified checks that only ECDSA signatures are not verified if the caller allows that:
// RSA signatures are also verified so that a miscomputed one does not disclose the key.
func TestUnverified(t *testing.T) {
	for _, private := range []crypto.Signer{rsaKey(), ecKey(t, elliptic.P256())} {
		_, is := private.(*ecdsa.PrivateKey)
		key, err := file.New().Open(context.Background(), keyFile(t, pkcs8DER(t, private)), keystore.Options{Unverified: true})
		check(t, err)
		if key.Unverified != is || is && key.VerifiesWith(private.Public()) {
			t.Errorf("%s: unverified %t", key.Provider, key.Unverified)
		}
		check(t, key.Close())
	}
}

// TestSameBytes checks that signatures do not depend on the library that makes them.
func TestSameBytes(t *testing.T) {
	digest := sha256.Sum256([]byte("content"))
	for _, private := range []crypto.Signer{rsaKey(), ecKey(t, elliptic.P256()), ecKey(t, elliptic.P384())} {
		want, err := ima.CryptoSigner(private).SignRaw(context.Background(), crypto.SHA256, [][]byte{digest[:]})
		check(t, err)
		key, err := file.New().Open(context.Background(), keyFile(t, pkcs8DER(t, private)), keystore.Options{})
		check(t, err)
		got, err := key.Sign(context.Background(), ima.ContentSignature(), ima.SHA256, [][]byte{digest[:]})
		check(t, err)
		if string(got[0]) != string(want[0]) {
			t.Errorf("%s signs other bytes", key.Provider)
		}
		check(t, key.Close())
	}
}

func TestCertificates(t *testing.T) {
	key, other := ecKey(t, elliptic.P256()), ecKey(t, elliptic.P256())
	mine, ca := certificate(t, key, 0x11), certificate(t, other, 0x22)
	keyPEM := armor("PRIVATE KEY", pkcs8DER(t, key))
	chain := join(armor("CERTIFICATE", ca.Raw), keyPEM, armor("CERTIFICATE", mine.Raw))
	again := certificate(t, key, 0x33)
	for name, c := range map[string]struct {
		data []byte
		cert *x509.Certificate
		want string
		err  error
	}{
		"none":                    {keyPEM, nil, "", nil},
		"in the file":             {join(keyPEM, armor("CERTIFICATE", mine.Raw)), nil, "11111111", nil},
		"a chain in the file":     {chain, nil, "11111111", nil},
		"given":                   {keyPEM, again, "33333333", nil},
		"given beats the file's":  {chain, again, "33333333", nil},
		"given, of another":       {chain, ca, "", keystore.ErrCertificateMismatch},
		"in the file, of another": {join(keyPEM, armor("CERTIFICATE", ca.Raw)), nil, "", keystore.ErrCertificateMismatch},
	} {
		t.Run(name, func(t *testing.T) {
			opened, err := file.New().Open(context.Background(), keyFile(t, c.data), keystore.Options{Certificate: c.cert})
			if !errors.Is(err, c.err) {
				t.Fatalf("got %v, want %v", err, c.err)
			}
			if err != nil {
				if !strings.Contains(err.Error(), "22222222") {
					t.Errorf("%v does not name the certificate's key id", err)
				}
				return
			}
			if got := opened.Public.ID().String(); c.want != "" && got != c.want {
				t.Errorf("key id %s, want %s", got, c.want)
			}
			if c.want == "" && opened.Public.Certificate() != nil {
				t.Error("a certificate from nowhere")
			}
		})
	}
}

func TestPassphrases(t *testing.T) {
	p256 := ecKey(t, elliptic.P256())
	pbes2 := keyFile(t, encrypted(t, "aes256"))
	old := keyFile(t, legacy(t, x509.MarshalPKCS1PrivateKey(rsaKey()), x509.PEMCipherAES256))
	broken := errors.New("terminal is gone")
	for _, path := range []string{pbes2, old} {
		if _, err := file.New().Open(context.Background(), path, keystore.Options{}); !errors.Is(err, keystore.ErrPassphraseNeeded) || !strings.Contains(err.Error(), path) {
			t.Errorf("without: %v", err)
		}
		// For one wrong passphrase in 256, the padding is right by chance.
		for i := range 600 {
			asked := 0
			wrong := func(_ context.Context, prompt string) ([]byte, error) {
				asked++
				if prompt != "passphrase of "+path {
					t.Errorf("prompt %q", prompt)
				}
				return []byte("wrong-" + string(rune('a'+i%26)) + string(rune('a'+i/26))), nil
			}
			_, err := file.New().Open(context.Background(), path, keystore.Options{Secret: wrong})
			if !errors.Is(err, keystore.ErrWrongPassphrase) || asked != 1 || strings.Contains(err.Error(), "wrong-") {
				t.Fatalf("wrong: asked %d times, %v", asked, err)
			}
		}
		_, err := file.New().Open(context.Background(), path, keystore.Options{Secret: func(context.Context, string) ([]byte, error) { return nil, broken }})
		if !errors.Is(err, broken) {
			t.Errorf("got %v", err)
		}
		given := []byte(passphrase)
		key, err := file.New().Open(context.Background(), path, keystore.Options{Secret: func(context.Context, string) ([]byte, error) { return given, nil }})
		check(t, err)
		check(t, key.Close())
		if string(given) != strings.Repeat("\x00", len(passphrase)) {
			t.Error("the passphrase is not overwritten")
		}
	}
	never := func(context.Context, string) ([]byte, error) {
		t.Error("asked for the passphrase of a key in clear")
		return nil, nil
	}
	_, err := file.New().Open(context.Background(), keyFile(t, pkcs8DER(t, p256)), keystore.Options{Secret: never})
	check(t, err)
}

func TestOpenPermissionsAreWarnedOf(t *testing.T) {
	path := keyFile(t, pkcs8DER(t, ecKey(t, elliptic.P256())))
	for mode, warned := range map[fs.FileMode]bool{0o600: false, 0o400: false, 0o640: true, 0o604: true, 0o620: true} {
		check(t, os.Chmod(path, mode))
		var warning string
		_, err := file.New().Open(context.Background(), path, keystore.Options{Warn: func(w string) { warning += w }})
		check(t, err)
		if got := warning != ""; got != warned || warned && (!strings.Contains(warning, path) || !strings.Contains(warning, "chmod 600")) {
			t.Errorf("%v: %q", mode, warning)
		}
	}
	_, err := file.New().Open(context.Background(), path, keystore.Options{})
	check(t, err)
}

// algorithm is an AlgorithmIdentifier.
type algorithm struct {
	OID    asn1.ObjectIdentifier
	Params asn1.RawValue `asn1:"optional"`
}

func algorithmOf(params any, oid ...int) algorithm {
	if params == nil {
		return algorithm{OID: oid}
	}
	der, err := asn1.Marshal(params)
	if err != nil {
		panic(err)
	}
	return algorithm{oid, asn1.RawValue{FullBytes: der}}
}

func info(t testing.TB, oid asn1.ObjectIdentifier, params any) []byte {
	t.Helper()
	der, err := asn1.Marshal(struct {
		Version   int
		Algorithm algorithm
		Key       []byte
	}{0, algorithmOf(params, oid...), []byte("whatever")})
	check(t, err)
	return der
}

func sec1Of(t testing.TB, curve asn1.ObjectIdentifier) []byte {
	t.Helper()
	der, err := asn1.Marshal(struct {
		Version int
		Key     []byte
		Curve   asn1.ObjectIdentifier `asn1:"explicit,tag:0"`
	}{1, make([]byte, 32), curve})
	check(t, err)
	return der
}

func weak(bits int) []byte {
	n := new(big.Int).SetBit(big.NewInt(1), bits-1, 1)
	der, _ := asn1.Marshal(struct{ V, N, E, D, P, Q, Dp, Dq, Qi *big.Int }{new(big.Int), n, big.NewInt(65537), n, n, n, n, n, n})
	return der
}

func TestRefusals(t *testing.T) {
	ecOID := asn1.ObjectIdentifier{1, 2, 840, 10045, 2, 1}
	p256 := ecKey(t, elliptic.P256())
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	check(t, err)
	x, err := ecdh.X25519().GenerateKey(rand.Reader)
	check(t, err)
	spki, err := x509.MarshalPKIXPublicKey(p256.Public())
	check(t, err)
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, p256)
	check(t, err)
	cert := certificate(t, p256, 1).Raw
	keyPEM := armor("PRIVATE KEY", pkcs8DER(t, p256))
	der := pkcs8DER(t, p256)
	p12, err := asn1.Marshal(struct {
		Version int
		Content struct{ OID asn1.ObjectIdentifier }
	}{3, struct{ OID asn1.ObjectIdentifier }{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 1}}})
	check(t, err)
	for name, c := range map[string]struct {
		data []byte
		is   error
		says string
	}{
		"empty":                {nil, keystore.ErrNotAKey, "empty"},
		"blank":                {[]byte(" \n\n"), keystore.ErrNotAKey, "empty"},
		"too large":            {make([]byte, 1<<20+1), input.ErrTooLarge, "1048576"},
		"text":                 {[]byte("hello"), keystore.ErrNotAKey, "neither PEM nor DER"},
		"public key":           {armor("PUBLIC KEY", spki), keystore.ErrNotAKey, "public key"},
		"public key DER":       {spki, keystore.ErrNotAKey, "public key"},
		"PKCS #1 public":       {x509.MarshalPKCS1PublicKey(&rsaKey().PublicKey), keystore.ErrNotAKey, "public key"},
		"RSA public PEM":       {armor("RSA PUBLIC KEY", x509.MarshalPKCS1PublicKey(&rsaKey().PublicKey)), keystore.ErrNotAKey, "public key"},
		"certificate":          {armor("CERTIFICATE", cert), keystore.ErrNotAKey, "certificate and no key"},
		"certificate DER":      {cert, keystore.ErrNotAKey, "certificate"},
		"request":              {armor("CERTIFICATE REQUEST", csr), keystore.ErrNotAKey, "certificate request"},
		"request DER":          {csr, keystore.ErrNotAKey, "certificate request"},
		"OpenSSH":              {armor("OPENSSH PRIVATE KEY", []byte("openssh-key-v1\x00")), keystore.ErrNotAKey, "ssh-keygen -p -m PKCS8"},
		"SSH2":                 {[]byte("---- BEGIN SSH2 PUBLIC KEY ----\nAAAA\n"), keystore.ErrNotAKey, "SSH key"},
		"SSH public":           {[]byte("ssh-rsa AAAA me"), keystore.ErrNotAKey, "SSH public key"},
		"SSH ECDSA public":     {[]byte("ecdsa-sha2-nistp256 AAAA"), keystore.ErrNotAKey, "SSH public key"},
		"PuTTY":                {[]byte("PuTTY-User-Key-File-3: ssh-rsa\n"), keystore.ErrNotAKey, "puttygen"},
		"OpenPGP":              {armor("PGP PRIVATE KEY BLOCK", []byte{0x95, 1}), keystore.ErrNotAKey, "OpenPGP"},
		"OpenPGP binary":       {[]byte{0x95, 0x01, 0xff, 4}, keystore.ErrNotAKey, "OpenPGP"},
		"TPM key":              {armor("TSS2 PRIVATE KEY", []byte{0x30, 0}), keystore.ErrNotAKey, "tpm2:"},
		"PKCS #12":             {p12, keystore.ErrNotAKey, "openssl pkcs12 -in"},
		"other PEM":            {armor("X509 CRL", []byte{0x30, 0}), keystore.ErrNotAKey, `"X509 CRL"`},
		"cut PEM":              {keyPEM[:len(keyPEM)/2], keystore.ErrNotAKey, "damaged or cut off"},
		"cut DER":              {der[:len(der)-5], keystore.ErrNotAKey, "damaged or cut off"},
		"cut DER in PEM":       {armor("PRIVATE KEY", der[:len(der)-5]), keystore.ErrNotAKey, "damaged or cut off"},
		"bytes after DER":      {append(pkcs8DER(t, p256), "junk"...), keystore.ErrNotAKey, "bytes follow"},
		"other DER":            {[]byte{0x30, 3, 2, 1, 5}, keystore.ErrNotAKey, "its DER is not a private key"},
		"two keys":             {join(keyPEM, keyPEM), keystore.ErrSeveralKeys, "keep the one"},
		"RSA-1024":             {weak(1024), ima.ErrWeakKey, "rsa1024"},
		"RSA-8192":             {weak(8192), ima.ErrUnsupportedKey, "rsa8192"},
		"RSA-2560":             {weak(2560), ima.ErrUnsupportedKey, "rsa2560"},
		"RSA of nonsense":      {weak(2048), keystore.ErrNotAKey, "not a valid key"},
		"RSA-PSS":              {info(t, asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 10}, nil), ima.ErrUnsupportedKey, "RSASSA-PSS"},
		"P-224":                {pkcs8DER(t, ecKey(t, elliptic.P224())), ima.ErrUnsupportedKey, "P-224"},
		"P-224 SEC 1":          {sec1DER(t, ecKey(t, elliptic.P224())), ima.ErrUnsupportedKey, "P-224"},
		"secp256k1":            {info(t, ecOID, asn1.ObjectIdentifier{1, 3, 132, 0, 10}), ima.ErrUnsupportedKey, "secp256k1"},
		"secp256k1 SEC 1":      {sec1Of(t, asn1.ObjectIdentifier{1, 3, 132, 0, 10}), ima.ErrUnsupportedKey, "secp256k1"},
		"parameters only":      {armor("EC PARAMETERS", []byte{6, 0}), keystore.ErrNotAKey, `"EC PARAMETERS"`},
		"Brainpool":            {info(t, ecOID, asn1.ObjectIdentifier{1, 3, 36, 3, 3, 2, 8, 1, 1, 7}), ima.ErrUnsupportedKey, "Brainpool"},
		"curve written out":    {info(t, ecOID, struct{ A int }{1}), keystore.ErrUnsupportedKey, "-param_enc named_curve"},
		"no curve":             {info(t, ecOID, nil), keystore.ErrNotAKey, "no curve"},
		"Ed25519":              {pkcs8DER(t, ed), ima.ErrUnsupportedKey, "Ed25519"},
		"X25519":               {pkcs8DER(t, x), ima.ErrUnsupportedKey, "X25519"},
		"DSA":                  {armor("DSA PRIVATE KEY", []byte{0x30, 0}), ima.ErrUnsupportedKey, "DSA"},
		"PBES1":                {locked(t, asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 3}, nil), keystore.ErrUnsupportedKey, "PBES1"},
		"PKCS #12 PBE":         {locked(t, asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 12, 1, 3}, nil), keystore.ErrUnsupportedKey, "openssl pkey -in"},
		"P-224 in PBES2":       {encrypted(t, "p224"), ima.ErrUnsupportedKey, "P-224"},
		"hostile iterations":   {locked(t, pbes2OID(), scheme(pbkdf2Of(1<<40), aesIV(16))), keystore.ErrUnsupportedKey, "1099511627776 iterations"},
		"no iterations":        {locked(t, pbes2OID(), scheme(pbkdf2Of(0), aesIV(16))), keystore.ErrUnsupportedKey, "0 iterations"},
		"hostile scrypt":       {locked(t, pbes2OID(), scheme(scryptOf(1<<30, 8, 1), aesIV(16))), keystore.ErrUnsupportedKey, "N=1073741824"},
		"hostile scrypt work":  {locked(t, pbes2OID(), scheme(scryptOf(1<<14, 8, 1<<30), aesIV(16))), keystore.ErrUnsupportedKey, "p=1073741824"},
		"overflowing scrypt":   {locked(t, pbes2OID(), scheme(scryptOf(1<<62, 1<<62, 4), aesIV(16))), keystore.ErrUnsupportedKey, "MiB"},
		"negative scrypt":      {locked(t, pbes2OID(), scheme(scryptOf(-16, 8, 1), aesIV(16))), keystore.ErrUnsupportedKey, "N=-16"},
		"scrypt of no work":    {locked(t, pbes2OID(), scheme(scryptOf(16, 8, -1), aesIV(16))), keystore.ErrUnsupportedKey, "p=-1"},
		"scrypt N of no power": {locked(t, pbes2OID(), scheme(scryptOf(17, 8, 1), aesIV(16))), keystore.ErrUnsupportedKey, "power of two"},
		"scrypt's p in memory": {locked(t, pbes2OID(), scheme(scryptOf(2, 1, 1<<21), aesIV(16))), keystore.ErrUnsupportedKey, "p=2097152"},
		"scrypt's r in memory": {locked(t, pbes2OID(), scheme(scryptOf(2, 1<<20, 1), aesIV(16))), keystore.ErrUnsupportedKey, "r=1048576"},
		"short IV":             {locked(t, pbes2OID(), scheme(pbkdf2Of(10), aesIV(15))), keystore.ErrNotAKey, "IV does not fit"},
		"odd length":           {locked(t, pbes2OID(), scheme(pbkdf2Of(10), aesIV(16)), 15), keystore.ErrNotAKey, "length does not fit"},
		"unknown cipher":       {locked(t, pbes2OID(), scheme(pbkdf2Of(10), algorithmOf(nil, 1, 2, 3))), keystore.ErrUnsupportedKey, "cipher 1.2.3"},
		"unknown KDF":          {locked(t, pbes2OID(), scheme(algorithmOf(nil, 1, 2, 4), aesIV(16))), keystore.ErrUnsupportedKey, "key derivation 1.2.4"},
		"legacy cipher":        {[]byte("-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: CAMELLIA-256-CBC,00112233445566778899AABBCCDDEEFF\n\nAAAA\n-----END RSA PRIVATE KEY-----\n"), keystore.ErrUnsupportedKey, "CAMELLIA-256-CBC"},
	} {
		t.Run(name, func(t *testing.T) {
			path := keyFile(t, c.data)
			key, err := file.New().Open(context.Background(), path, keystore.Options{Secret: knows})
			if key != nil || !errors.Is(err, c.is) {
				t.Fatalf("got %v, want %v", err, c.is)
			}
			text := err.Error()
			if !strings.Contains(text, c.says) || !strings.Contains(text, path) {
				t.Errorf("%q does not say %q and the path", text, c.says)
			}
			if strings.Contains(text, passphrase) || strings.Contains(text, "\n") {
				t.Errorf("%q", text)
			}
		})
	}
}

func TestPathsThatAreNoFile(t *testing.T) {
	dir := t.TempDir()
	if _, err := file.New().Open(context.Background(), dir, keystore.Options{}); err == nil || !strings.Contains(err.Error(), dir+" is a directory") {
		t.Errorf("got %v", err)
	}
	missing := filepath.Join(dir, "missing")
	if _, err := file.New().Open(context.Background(), missing, keystore.Options{}); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), missing) {
		t.Errorf("got %v", err)
	}
}

func pbes2OID() asn1.ObjectIdentifier { return asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 5, 13} }

func scheme(kdf, cipher algorithm) any { return struct{ KDF, Cipher algorithm }{kdf, cipher} }

func aesIV(size int) algorithm {
	return algorithmOf(make([]byte, size), 2, 16, 840, 1, 101, 3, 4, 1, 42)
}

func pbkdf2Of(iterations int) algorithm {
	return algorithmOf(struct {
		Salt       []byte
		Iterations int
	}{[]byte("saltsalt"), iterations}, 1, 2, 840, 113549, 1, 5, 12)
}

func scryptOf(n, r, p int) algorithm {
	return algorithmOf(struct {
		Salt    []byte
		N, R, P int
	}{[]byte("saltsalt"), n, r, p}, 1, 3, 6, 1, 4, 1, 11591, 4, 11)
}

// locked returns encrypted PKCS #8 with the given parameters.
func locked(t testing.TB, oid asn1.ObjectIdentifier, params any, size ...int) []byte {
	t.Helper()
	der, err := asn1.Marshal(struct {
		Algorithm algorithm
		Data      []byte
	}{algorithmOf(params, oid...), make([]byte, append(size, 32)[0])})
	check(t, err)
	return der
}
