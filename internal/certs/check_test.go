package certs_test

import (
	"crypto"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/imasign/imasign-build/internal/certs"
	"github.com/imasign/imasign-build/internal/finding"
	"github.com/imasign/imasign-build/internal/kernel"
	"github.com/imasign/imasign-build/tests/harness"
)

// good returns the template of a certificate that every kernel accepts.
func good(t testing.TB, public crypto.PublicKey) func(*x509.Certificate) {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(public)
	check(t, err)
	var info struct {
		Algorithm pkix.AlgorithmIdentifier
		Bits      asn1.BitString
	}
	_, err = asn1.Unmarshal(der, &info)
	check(t, err)
	sum := sha1.Sum(info.Bits.Bytes)
	return func(c *x509.Certificate) {
		c.Subject = pkix.Name{CommonName: "leaf"}
		c.SubjectKeyId = sum[:]
		c.KeyUsage = x509.KeyUsageDigitalSignature
		c.BasicConstraintsValid = true
		c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().AddDate(1, 0, 0)
	}
}

// has checks that the findings are exactly these "rule severity" pairs, in any order.
func has(t *testing.T, findings []finding.Finding, want ...string) {
	t.Helper()
	var got []string
	for _, f := range findings {
		got = append(got, f.Rule+" "+string(f.Severity))
		if f.Detail == "" || strings.Contains(f.Detail, "%!") {
			t.Errorf("%s: detail %q", f.Rule, f.Detail)
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q\n%v", got, want, findings)
	}
	refused := slices.ContainsFunc(want, func(w string) bool { return strings.HasSuffix(w, " refuse") })
	if finding.Refused(findings) != refused {
		t.Errorf("Refused is %v", !refused)
	}
}

func TestCheck(t *testing.T) {
	caKey, key := rsaKey(), ecKey(t, elliptic.P256())
	ca, err := certs.NewCA(caKey, certs.Request{Subject: pkix.Name{CommonName: "CA"}})
	check(t, err)
	cas := []*x509.Certificate{ca}
	leafRSA, err := rsa.GenerateKey(rand.Reader, 2048)
	check(t, err)
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	check(t, err)
	big := &rsa.PublicKey{N: weakModulus(8192), E: 65537}
	small := &rsa.PublicKey{N: weakModulus(1024), E: 65537}
	p521 := ecKey(t, elliptic.P521())
	v := func(major, minor int) kernel.Version { return kernel.Version{Major: major, Minor: minor} }
	newest := kernel.Version{}
	for _, c := range []struct {
		name   string
		public crypto.PublicKey
		shape  func(*x509.Certificate)
		kernel kernel.Version
		want   []string
	}{
		{"good RSA", leafRSA.Public(), nil, newest, nil},
		{"good ECDSA", key.Public(), nil, v(6, 12), []string{"ecdsa note"}},
		{"good ECDSA, old kernel", key.Public(), nil, v(5, 10), []string{"ecdsa refuse"}},
		{"no SKID", leafRSA.Public(), func(c *x509.Certificate) { c.SubjectKeyId = nil }, newest, []string{"subject-key-id refuse"}},
		{"short SKID", leafRSA.Public(), func(c *x509.Certificate) { c.SubjectKeyId = []byte{1, 2, 3} }, newest, []string{"subject-key-id refuse"}},
		{"other SKID", leafRSA.Public(), func(c *x509.Certificate) { c.SubjectKeyId = []byte{1, 2, 3, 4} }, newest, []string{"key-id note"}},
		{"no usage, 6.12", leafRSA.Public(), func(c *x509.Certificate) { c.KeyUsage = 0 }, v(6, 12), []string{"key-usage refuse"}},
		{"no usage, 6.6", leafRSA.Public(), func(c *x509.Certificate) { c.KeyUsage = 0 }, v(6, 6), []string{"key-usage refuse"}},
		{"no usage, 6.1", leafRSA.Public(), func(c *x509.Certificate) { c.KeyUsage = 0 }, v(6, 1), []string{"key-usage warn"}},
		{"other usage", leafRSA.Public(), func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyEncipherment }, newest, []string{"key-usage refuse"}},
		{"CA", leafRSA.Public(), func(c *x509.Certificate) { c.IsCA = true }, newest, []string{"ca refuse"}},
		{"CA, 6.1", leafRSA.Public(), func(c *x509.Certificate) { c.IsCA = true }, v(6, 1), []string{"ca warn"}},
		{"CA that signs both", leafRSA.Public(), func(c *x509.Certificate) { c.IsCA = true; c.KeyUsage |= x509.KeyUsageCertSign }, newest, []string{"ca refuse", "key-usage refuse"}},
		{"expired", leafRSA.Public(), func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }, newest, []string{"validity warn"}},
		{"expires soon", leafRSA.Public(), func(c *x509.Certificate) { c.NotAfter = time.Now().AddDate(0, 0, 30) }, newest, []string{"validity warn"}},
		{"not yet valid", leafRSA.Public(), func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Minute) }, newest, []string{"validity warn"}},
		{"P-521, 6.1", p521.Public(), nil, v(6, 1), []string{"key-algorithm refuse"}},
		{"P-521, 6.10", p521.Public(), nil, v(6, 10), []string{"key-algorithm warn", "ecdsa note"}},
		{"P-521, 6.12", p521.Public(), nil, v(6, 12), []string{"ecdsa note"}},
		{"Ed25519", ed.Public(), nil, newest, []string{"key-algorithm refuse"}},
		{"RSA-8192", big, nil, newest, []string{"key-algorithm refuse"}},
		{"RSA-1024", small, nil, newest, []string{"key-algorithm warn"}},
		{"SHA-512", leafRSA.Public(), func(c *x509.Certificate) { c.SignatureAlgorithm = x509.SHA512WithRSA }, newest, []string{"signature-algorithm note"}},
		{"PSS", leafRSA.Public(), func(c *x509.Certificate) { c.SignatureAlgorithm = x509.SHA256WithRSAPSS }, newest, []string{"signature-algorithm refuse"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			cert := signed(t, c.public, caKey, ca, func(x *x509.Certificate) {
				good(t, c.public)(x)
				if c.shape != nil {
					c.shape(x)
				}
			})
			has(t, certs.Check(cert, cas, c.kernel), c.want...)
		})
	}
}

func TestCheckIssuer(t *testing.T) {
	caKey, otherKey := rsaKey(), ecKey(t, elliptic.P256())
	newCA := func(key crypto.Signer, name string) *x509.Certificate {
		ca, err := certs.NewCA(key, certs.Request{Subject: pkix.Name{CommonName: name}})
		check(t, err)
		return ca
	}
	ca, stranger := newCA(caKey, "CA"), newCA(otherKey, "stranger")
	leafKey, err := rsa.GenerateKey(rand.Reader, 2048)
	check(t, err)
	leaf := func(parent *x509.Certificate, key crypto.Signer) *x509.Certificate {
		return signed(t, leafKey.Public(), key, parent, good(t, leafKey.Public()))
	}
	copyOf := func(change func(*x509.Certificate)) *x509.Certificate {
		other := *ca
		change(&other)
		return &other
	}
	withoutSKID := copyOf(func(c *x509.Certificate) { c.SubjectKeyId = nil })
	otherName := copyOf(func(c *x509.Certificate) { c.SubjectKeyId = nil; c.RawSubject = stranger.RawSubject })
	otherID := copyOf(func(c *x509.Certificate) { c.SubjectKeyId = []byte("other id of the same") })
	for _, c := range []struct {
		name string
		cert *x509.Certificate
		cas  []*x509.Certificate
		want []string
	}{
		{"no CA given", leaf(ca, caKey), nil, []string{"issuer note"}},
		{"its CA", leaf(ca, caKey), []*x509.Certificate{stranger, ca}, nil},
		{"its CA renewed", leaf(ca, caKey), []*x509.Certificate{otherID, ca, otherID}, nil},
		{"ECDSA CA", leaf(stranger, otherKey), []*x509.Certificate{stranger}, []string{"ecdsa note"}},
		{"another CA", leaf(ca, caKey), []*x509.Certificate{stranger}, []string{"issuer refuse"}},
		{"CA of that key, other id", leaf(ca, caKey), []*x509.Certificate{otherID}, []string{"authority-key-id refuse"}},
		{"no AKID", leaf(withoutSKID, caKey), []*x509.Certificate{ca}, []string{"authority-key-id note"}},
		{"no AKID, other name", leaf(otherName, caKey), []*x509.Certificate{ca}, []string{"authority-key-id note", "issuer refuse"}},
		{"self-signed", selfSigned(t, leafKey, good(t, leafKey.Public())), []*x509.Certificate{ca}, []string{"authority-key-id note", "issuer refuse"}},
	} {
		t.Run(c.name, func(t *testing.T) { has(t, certs.Check(c.cert, c.cas, kernel.Version{}), c.want...) })
	}
	selfMade := selfSigned(t, leafKey, good(t, leafKey.Public()))
	if all := certs.Check(selfMade, []*x509.Certificate{ca}, kernel.Version{}); !strings.HasPrefix(all[len(all)-1].Detail, "self-signed") {
		t.Errorf("the likeliest mistake is not named: %v", all)
	}
	has(t, certs.Check(selfMade, []*x509.Certificate{selfMade}, kernel.Version{}), "authority-key-id note")
}

func TestCheckCA(t *testing.T) {
	key := rsaKey()
	ca, err := certs.NewCA(key, certs.Request{Subject: pkix.Name{CommonName: "CA"}})
	check(t, err)
	has(t, certs.CheckCA(ca, nil, kernel.Version{}))
	has(t, certs.CheckCA(selfSigned(t, key, good(t, key.Public())), nil, kernel.Version{}), "ca warn", "key-usage warn")
	has(t, certs.Check(ca, []*x509.Certificate{ca}, kernel.Version{}), "authority-key-id note", "key-usage refuse", "key-usage refuse", "ca refuse")
	second, err := certs.Issuer{Certificate: ca, Key: key}.SecondaryCA(ecKey(t, elliptic.P256()).Public(), certs.Request{Subject: pkix.Name{CommonName: "second"}})
	check(t, err)
	has(t, certs.CheckCA(second, []*x509.Certificate{ca}, kernel.Version{}), "ecdsa note")
	has(t, certs.CheckCA(second, nil, kernel.Version{}), "ecdsa note", "issuer note")
	has(t, certs.CheckCA(second, []*x509.Certificate{second}, kernel.Version{}), "ecdsa note", "issuer refuse")
}

func TestCheckShared(t *testing.T) {
	a, b := ecKey(t, elliptic.P256()), ecKey(t, elliptic.P256())
	id := func(skid ...byte) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.SubjectKeyId = skid }
	}
	one := selfSigned(t, a, id(1, 9, 9, 9, 9))
	same := selfSigned(t, b, id(2, 9, 9, 9, 9))
	has(t, certs.CheckShared([]*x509.Certificate{one, selfSigned(t, a, id(3, 9, 9, 9, 9)), selfSigned(t, b, nil), selfSigned(t, b, id(1, 9, 9, 9, 8))}))
	has(t, certs.CheckShared([]*x509.Certificate{one, same}), "shared-key-id warn")
}

// TestCheckSecondaryCA checks that a running kernel accepts no self-signed CA.
func TestCheckSecondaryCA(t *testing.T) {
	other, err := certs.NewCA(ecKey(t, elliptic.P256()), certs.Request{Subject: pkix.Name{CommonName: "other"}})
	check(t, err)
	ca, err := certs.NewCA(rsaKey(), certs.Request{Subject: pkix.Name{CommonName: "CA"}})
	check(t, err)
	second, err := certs.Issuer{Certificate: ca, Key: rsaKey()}.SecondaryCA(ecKey(t, elliptic.P256()).Public(), certs.Request{Subject: pkix.Name{CommonName: "second"}})
	check(t, err)
	cas := []*x509.Certificate{ca}
	has(t, certs.CheckSecondaryCA(ca, cas, kernel.Version{}), "authority-key-id note")
	has(t, certs.CheckSecondaryCA(second, cas, kernel.Version{}), "ecdsa note")
	has(t, certs.CheckSecondaryCA(other, cas, kernel.Version{}), "authority-key-id note", "ecdsa note", "issuer refuse")
	has(t, certs.CheckSecondaryCA(other, nil, kernel.Version{}), "ecdsa note", "issuer note")
}

// TestCheckRevoked checks that the issuer matters for .ima_blacklist, and the usage does not.
func TestCheckRevoked(t *testing.T) {
	key := ecKey(t, elliptic.P256())
	ca, err := certs.NewCA(key, certs.Request{Subject: pkix.Name{CommonName: "CA"}})
	check(t, err)
	issuer := certs.Issuer{Certificate: ca, Key: key}
	second, err := issuer.SecondaryCA(rsaKey().Public(), certs.Request{Subject: pkix.Name{CommonName: "second"}})
	check(t, err)
	leaf, err := certs.Issuer{Certificate: second, Key: rsaKey()}.Signer(ecKey(t, elliptic.P256()).Public(), certs.Request{Subject: pkix.Name{CommonName: "leaf"}})
	check(t, err)
	cas := []*x509.Certificate{ca}
	has(t, certs.CheckRevoked(second, cas, kernel.Version{}), "ecdsa note") // of its CA
	has(t, certs.CheckRevoked(leaf, cas, kernel.Version{}), "ecdsa note", "issuer refuse")
	has(t, certs.CheckRevoked(leaf, nil, kernel.Version{}), "ecdsa note", "issuer note")
}

// TestCheckEVM checks that a CA in the secondary keyring is not enough for .evm.
func TestCheckEVM(t *testing.T) {
	key := rsaKey()
	ca, err := certs.NewCA(key, certs.Request{Subject: pkix.Name{CommonName: "CA"}})
	check(t, err)
	issuer := certs.Issuer{Certificate: ca, Key: key}
	second, err := issuer.SecondaryCA(key.Public(), certs.Request{Subject: pkix.Name{CommonName: "second"}})
	check(t, err)
	leafKey, err := rsa.GenerateKey(rand.Reader, 2048)
	check(t, err)
	leaf, err := issuer.Signer(leafKey.Public(), certs.Request{Subject: pkix.Name{CommonName: "leaf"}})
	check(t, err)
	below, err := certs.Issuer{Certificate: second, Key: key}.Signer(leafKey.Public(), certs.Request{Subject: pkix.Name{CommonName: "below"}})
	check(t, err)
	cas, newest := []*x509.Certificate{ca}, kernel.Version{}
	has(t, certs.CheckEVM(leaf, cas, newest))
	has(t, certs.CheckEVM(leaf, nil, newest), "issuer note")
	has(t, certs.CheckEVM(below, []*x509.Certificate{second}, newest), "issuer warn")
	has(t, certs.Check(below, []*x509.Certificate{second}, newest))
	has(t, certs.CheckEVM(ca, cas, newest), "authority-key-id note", "key-usage refuse", "key-usage refuse", "ca refuse")
	has(t, certs.CheckEVM(leaf, []*x509.Certificate{selfSigned(t, leafKey, good(t, leafKey.Public()))}, newest), "issuer refuse")
}

// TestCheckPSSOfOpenSSL checks RSA-PSS with openssl's default salt, which crypto/x509 does not
// recognise.
func TestCheckPSSOfOpenSSL(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pss.crt")
	harness.Tool(t, "openssl")
	cmd := exec.Command("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", os.DevNull, "-sigopt", "rsa_padding_mode:pss",
		"-subj", "/CN=pss", "-days", "1000", "-addext", "keyUsage=digitalSignature", "-addext", "basicConstraints=CA:FALSE", "-out", file)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	list, err := certs.Read(t.Context(), file)
	check(t, err)
	if list[0].SignatureAlgorithm != x509.UnknownSignatureAlgorithm {
		t.Fatalf("it is recognised as %s", list[0].SignatureAlgorithm)
	}
	has(t, certs.Check(list[0], nil, kernel.Version{}), "signature-algorithm refuse", "issuer note")
}
