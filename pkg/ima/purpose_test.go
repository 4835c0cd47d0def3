package ima_test

import (
	"crypto/elliptic"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"testing"

	"github.com/imasign/imasign-build/pkg/ima"
)

// TestPurposes checks, for each purpose that a certificate states in either way, which forms
// its key signs and verifies.
func TestPurposes(t *testing.T) {
	key := ecdsaKey(t, elliptic.P256())
	v2, evm := ima.ContentSignature(), ima.PortableSignature()
	all := []ima.Form{v2, evm, v2.V3(), evm.V3(), ima.VeritySignature()}
	for purpose, allowed := range map[ima.Purpose][]bool{
		ima.Unstated: {true, true, false, false, false},
		ima.ForV2:    {true, false, false, false, false},
		ima.ForEVM:   {false, true, false, false, false},
		ima.ForV3:    {false, false, true, true, true},
	} {
		for _, cert := range stating(t, purpose) {
			cert.PublicKey, cert.SubjectKeyId = key.Public(), []byte{1, 2, 3, 4}
			pub, err := ima.CertificateKey(cert)
			check(t, err)
			if pub.Purpose() != purpose {
				t.Fatalf("the purpose is %s, want %s", pub.Purpose(), purpose)
			}
			whatever, err := pub.For(ima.ForAny)
			check(t, err)
			s := ima.FromRaw(ima.CryptoSigner(key), pub)
			for i, f := range all {
				digest := sum(ima.SHA256, "content")
				_, err := ima.Sign(t.Context(), s, pub, f, ima.SHA256, [][]byte{digest})
				values, made := ima.Sign(t.Context(), s, whatever, f, ima.SHA256, [][]byte{digest})
				check(t, made)
				got := verifyAs(ima.NewKeyring(pub), f, values[0], digest)
				if allowed[i] {
					check(t, err)
					check(t, got)
				} else {
					refused(t, err, ima.ErrPurpose)
					refused(t, got, ima.ErrPurpose)
				}
			}
		}
	}
}

// stating returns certificates that state a purpose: by extended key usage, and by extension.
func stating(t *testing.T, p ima.Purpose) []*x509.Certificate {
	t.Helper()
	oid := p.ExtKeyUsage()
	if oid == nil {
		return []*x509.Certificate{{}}
	}
	value, err := asn1.Marshal([]asn1.ObjectIdentifier{oid})
	check(t, err)
	return []*x509.Certificate{
		{UnknownExtKeyUsage: []asn1.ObjectIdentifier{{1, 2, 3}, oid}},
		{Extensions: []pkix.Extension{{Id: ima.PurposeExtension(), Value: value}}},
	}
}

func TestOnePurpose(t *testing.T) {
	key := ecdsaKey(t, elliptic.P256())
	for _, cert := range []*x509.Certificate{
		{UnknownExtKeyUsage: []asn1.ObjectIdentifier{ima.ForV2.ExtKeyUsage(), ima.ForV3.ExtKeyUsage()}},
		{UnknownExtKeyUsage: []asn1.ObjectIdentifier{ima.ForV2.ExtKeyUsage()}, Extensions: stating(t, ima.ForEVM)[1].Extensions},
		{Extensions: []pkix.Extension{{Id: ima.PurposeExtension(), Value: []byte{1}}}},
	} {
		cert.PublicKey, cert.SubjectKeyId = key.Public(), []byte{1, 2, 3, 4}
		_, err := ima.CertificateKey(cert)
		refused(t, err, ima.ErrPurpose)
	}
	cert := stating(t, ima.ForV2)[0]
	cert.PublicKey, cert.SubjectKeyId = key.Public(), []byte{1, 2, 3, 4}
	pub, err := ima.CertificateKey(cert)
	check(t, err)
	_, err = pub.For(ima.ForV3)
	refused(t, err, ima.ErrPurpose)
}

func TestMayBeFileID(t *testing.T) {
	digest := string(sum(ima.SHA256, "content"))
	for content, want := range map[string]bool{
		"\x03\x04" + digest: true, "\x05\x04" + digest: true, "\x06\x04" + digest: true,
		"\x03\x06" + digest + digest: true,
		"\x04\x04" + digest:          false, "\x03\x06" + digest: false, "\x03\x04" + digest + "x": false,
		"\x03\xff" + digest: false, "\x03": false, "": false,
	} {
		if got := ima.MayBeFileID([]byte(content)); got != want {
			t.Errorf("%q: %v", content, got)
		}
	}
}

// TestAmbiguousSize compares the sizes with contents that have them.
func TestAmbiguousSize(t *testing.T) {
	const misc = 24
	sizes := map[int64]bool{}
	for h := ima.HashID(0); h.Size() > 0; h++ {
		id := append([]byte{3, byte(h)}, make([]byte, h.Size())...)
		if sizes[int64(len(id))] = true; !ima.MayBeFileID(id) {
			t.Errorf("a file_id with %s", h)
		}
		for _, value := range []int{1 + h.Size(), 2 + h.Size()} {
			for _, capability := range []int{0, 12, 20, 24} {
				sizes[int64(value+capability+misc-4)], sizes[int64(value+capability+misc)] = true, true
			}
		}
	}
	for n := int64(-1); n < 1000; n++ {
		if got := ima.AmbiguousSize(n); got != sizes[n] {
			t.Errorf("%d bytes: %v", n, got)
		}
	}
}

// TestCheckApart puts one key into the rings of both xattrs, with each pair of purposes.
func TestCheckApart(t *testing.T) {
	unstated, other := certificateKey(t, ecdsaKey(t, elliptic.P256()), 1, 2, 3, 4), certificateKey(t, ecdsaKey(t, elliptic.P256()), 5, 6, 7, 8)
	key := func(p ima.Purpose) *ima.PublicKey {
		if p == ima.Unstated {
			return unstated
		}
		pub, err := unstated.For(p)
		check(t, err)
		return pub
	}
	for _, inIMA := range []ima.Purpose{ima.Unstated, ima.ForV2, ima.ForV3, ima.ForEVM, ima.ForAny} {
		for _, inEVM := range []ima.Purpose{ima.Unstated, ima.ForV2, ima.ForV3, ima.ForEVM, ima.ForAny} {
			one, two := inIMA, inEVM
			if one == ima.Unstated {
				one = ima.ForV2
			}
			if two == ima.Unstated {
				two = ima.ForEVM
			}
			var want error
			switch {
			case one == two || one == ima.ForAny || two == ima.ForAny:
			case one == ima.ForV3 || two == ima.ForV3:
				want = ima.ErrPurpose
			default:
				want = ima.ErrBothXattrs
			}
			err := ima.NewKeyring(other, key(inIMA)).CheckApart(ima.NewKeyring(key(inEVM)))
			if !errors.Is(err, want) {
				t.Errorf("%s in security.ima, %s in security.evm: %v, want %v", inIMA, inEVM, err, want)
			}
		}
	}
	check(t, ima.NewKeyring(unstated).CheckApart(nil))
	check(t, ima.NewKeyring(unstated).CheckApart(ima.NewKeyring(other)))
}
