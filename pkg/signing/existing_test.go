package signing_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/signing"
)

// sharing returns a key with the id 66778899, which all its keys share.
func sharing(t *testing.T, private crypto.Signer) key {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "c"}, SubjectKeyId: []byte{1, 0x66, 0x77, 0x88, 0x99}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	check(t, err)
	cert, err := x509.ParseCertificate(der)
	check(t, err)
	public, err := ima.CertificateKey(cert)
	check(t, err)
	return key{private, public}
}

func newRSA(t *testing.T) *rsa.PrivateKey {
	t.Helper()
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	check(t, err)
	return private
}

// with returns a copy of the value with one byte changed.
func with(value []byte, at int, b byte) []byte {
	value = slices.Clone(value)
	value[at] = b
	return value
}

func version1() []byte {
	return ima.Value{Type: ima.TypeSignature, Version: 1, Hash: ima.SHA1, Legacy: ima.LegacyHeader{KeyID: 7, Bits: 2048}, Signature: make([]byte, 256)}.Append(nil)
}

// TestReplacingTakesForce checks that without Force only digests and signatures of the
// signing key are replaced, in plans made in each way.
func TestReplacingTakesForce(t *testing.T) {
	k, other := newKey(t), newKey(t)
	r, otherR := sharing(t, newRSA(t)), sharing(t, newRSA(t))
	mine, theirs := k.value(t, ima.SHA256, "x"), other.value(t, ima.SHA256, "x")
	stale := r.value(t, ima.SHA256, "old")
	whatever, err := k.public.For(ima.ForAny)
	check(t, err)
	oddVerity, err := ima.Sign(context.Background(), k.signer(), whatever, ima.VeritySignature(), ima.SHA256, [][]byte{sum(ima.SHA256, "v")})
	check(t, err)
	littleEndian := slices.Clone(mine)
	littleEndian[7], littleEndian[8] = mine[8], mine[7]
	for _, c := range []struct {
		name  string
		key   key
		value []byte
		want  error // nil if the value is replaced
	}{
		{"none", k, nil, nil},
		{"empty", k, []byte{}, nil},
		{"digest", k, ima.DigestValue(ima.SHA256, sum(ima.SHA256, "x")), nil},
		{"cut digest", k, []byte{4, 4, 1}, nil},
		{"digest of an unknown hash", k, []byte{4, 200, 1}, nil},
		{"bare SHA-1", k, append([]byte{1}, sum(ima.SHA1, "x")...), nil},
		{"own", k, k.value(t, ima.SHA256, "old"), nil},
		{"own over another hash", k, k.value(t, ima.SHA512, "x"), nil},
		{"own of RSA", r, stale, nil},
		{"own of RSA over another hash", r, r.value(t, ima.SHA512, "old"), nil},

		{"another key's", k, theirs, signing.ErrOtherKey},
		{"version 1", k, version1(), signing.ErrOtherKey},
		{"fs-verity of another key", k, with(with(theirs, 0, 6), 1, 3), signing.ErrOtherKey},
		{"RSA key of the same id", r, otherR.value(t, ima.SHA256, "x"), signing.ErrOtherKey},
		{"RSA key of the same id, other content", r, otherR.value(t, ima.SHA256, "old"), signing.ErrOtherKey},
		{"RSA key of the same id, other hash", r, otherR.value(t, ima.SHA512, "x"), signing.ErrOtherKey},
		{"own of RSA, a bit flipped", r, with(stale, 100, stale[100]^1), signing.ErrOtherKey},
		{"ECDSA under the id of an RSA key", r, ima.Value{Type: 3, Version: 2, Hash: ima.SHA256, KeyID: r.public.ID(), Signature: mine[9:]}.Append(nil), signing.ErrOtherKey},
		{"RSA under the id of an ECDSA key", k, ima.Value{Type: 3, Version: 2, Hash: ima.SHA256, KeyID: k.public.ID(), Signature: stale[9:]}.Append(nil), signing.ErrOtherKey},
		{"ECDSA of a larger curve under the id", k, ima.Value{Type: 3, Version: 2, Hash: ima.SHA256, KeyID: k.public.ID(), Signature: largerCurve()}.Append(nil), signing.ErrOtherKey},

		{"own fs-verity", k, oddVerity[0], signing.ErrNotOurs},
		{"own version 3", k, with(mine, 1, 3), signing.ErrNotOurs},
		{"own EVM", k, with(mine, 0, 5), signing.ErrNotOurs},
		{"HMAC", k, append([]byte{2}, make([]byte, 20)...), signing.ErrNotOurs},
		{"cut", k, mine[:20], signing.ErrNotOurs},
		{"cut in its header", k, mine[:5], signing.ErrNotOurs},
		{"one byte", k, []byte{3}, signing.ErrNotOurs},
		{"version 4", k, with(mine, 1, 4), signing.ErrNotOurs},
		{"unknown hash", k, with(mine, 2, 200), signing.ErrNotOurs},
		{"trailing byte", k, append(slices.Clone(mine), 0), signing.ErrNotOurs},
		{"little-endian length", k, littleEndian, signing.ErrNotOurs},
		{"unknown type", k, with(mine, 0, 7), signing.ErrNotOurs},
		{"zeros", k, make([]byte, 73), signing.ErrNotOurs},
		{"text", k, []byte("signed"), signing.ErrNotOurs},
	} {
		whole, fresh := c.key.engine(t, signing.Options{}), c.key.value(t, ima.SHA256, "x")
		forced := c.key.engine(t, signing.Options{Force: true})
		hashOnly := file("f", "x", c.value)
		hashOnly.HashOnly = true
		for way, entry := range map[string]signing.Entry{"content": file("f", "x", c.value), "stated": stated("f", ima.SHA256, "x", c.value), "hash only": hashOnly} {
			_, err := whole.Plan(context.Background(), source(entry))
			refuses(t, c.name+", "+way, err, c.want)
			if n := plan(t, forced, entry).Counts(); c.want != nil && (n.Forced != 1 || n.Pending() != 1) {
				t.Errorf("%s, %s: forced: %+v", c.name, way, n)
			}
			if way == "hash only" {
				continue
			}
			_, err = apply(t, c.key, listing(t, lineOf("f", "x", fresh)), false, entry)
			refuses(t, c.name+", applied, "+way, err, c.want)
			_, err = apply(t, c.key, listing(t, lineOf("f", "x", fresh)), true, entry)
			refuses(t, c.name+", applied by force, "+way, err, nil)
		}
		rotation := c.key.engine(t, signing.Options{Stages: []signing.Stage{signing.ContentStage(&signing.Key{From: 1}, 0)}})
		if _, err := rotation.Plan(context.Background(), source(file("f", "x", c.value))); c.want != nil {
			refuses(t, c.name+", rotation", err, c.want)
		}
	}
}

// largerCurve returns a signature in DER whose numbers are too large for a P-256 key.
func largerCurve() []byte {
	number := append([]byte{2, 48}, bytes.Repeat([]byte{0x7f}, 48)...)
	return append(append([]byte{0x30, 100}, number...), number...)
}

func refuses(t *testing.T, name string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) || want != nil && !strings.HasPrefix(err.Error(), "f: ") {
		t.Errorf("%s: %v, not %v", name, err, want)
	}
}

// TestApplyKnowsTheOtherKeyOfAnID checks that with both certificates even an ECDSA
// signature is recognised as the other key's.
func TestApplyKnowsTheOtherKeyOfAnID(t *testing.T) {
	a, b := sharing(t, newKey(t).private), sharing(t, newKey(t).private)
	both := ring(a, b)
	index := listing(t, lineOf("f", "x", b.value(t, ima.SHA256, "x")))
	_, err := engine(t, signing.Options{}).Apply(context.Background(), source(file("f", "x", a.value(t, ima.SHA256, "x"))), signing.Trust{Ring: both, Index: index})
	refuses(t, "the other key's", err, signing.ErrOtherKey)
	p, err := engine(t, signing.Options{}).Apply(context.Background(), source(file("f", "x", b.value(t, ima.SHA256, "old"))), signing.Trust{Ring: both, Index: index})
	check(t, err)
	p.Close()
}

// TestReplacedAreCounted checks the numbers of replaced values, and the warning that
// ECDSA signatures that are not valid may be another key's.
func TestReplacedAreCounted(t *testing.T) {
	k, other := newKey(t), newKey(t)
	var warnings []string
	observe := signing.NewObserver(func(e signing.Event) {
		if e.Kind == signing.Warning {
			warnings = append(warnings, e.Message)
		}
	})
	digest := file("d", "d", ima.DigestValue(ima.SHA512, sum(ima.SHA512, "d")))
	digest.HashOnly = true
	p := plan(t, k.engine(t, signing.Options{Observe: observe, Force: true}),
		file("a", "a", k.value(t, ima.SHA512, "a")), file("b", "b", k.value(t, ima.SHA256, "b")), file("c", "c", k.value(t, ima.SHA256, "old")), digest,
		file("e", "e", other.value(t, ima.SHA256, "e")), file("f", "f"), stated("g", ima.SHA256, "g", k.value(t, ima.SHA384, "g")))
	got := p.Counts()
	got.Bytes = 0
	if want := (signing.Counts{Signed: 5, Hashed: 1, Unchanged: 1, Rehashed: 3, Forced: 1}); got != want {
		t.Errorf("%+v, not %+v", got, want)
	}
	if len(warnings) != 1 || !strings.HasPrefix(warnings[0], "1 files have a signature with this key's id") {
		t.Errorf("warnings: %q", warnings)
	}
}

// TestSecondValuesTakeForceToo checks the second value that an archive can have of a file,
// and the own value of a further name of a hard link.
func TestSecondValuesTakeForceToo(t *testing.T) {
	k, other := newKey(t), newKey(t)
	theirs := other.value(t, ima.SHA256, "x")
	second := file("f", "x", ima.DigestValue(ima.SHA256, sum(ima.SHA256, "x")))
	second.Second = map[string][]byte{ima.XattrIMA: theirs}
	first, link := file("a", "x"), file("f", "x", theirs)
	first.Group, link.Group = "a", "a"
	for name, list := range map[string][]signing.Entry{"second": {second}, "link": {first, link}} {
		_, err := k.engine(t, signing.Options{}).Plan(context.Background(), source(list...))
		refuses(t, name, err, signing.ErrOtherKey)
		_, err = k.engine(t, signing.Options{Force: true}).Plan(context.Background(), source(list...))
		refuses(t, name+", by force", err, nil)
		value := k.value(t, ima.SHA256, "x")
		index := listing(t, lineOf("f", "x", value))
		if len(list) > 1 {
			index = listing(t, lineOf("a", "x", value), lineOf("f", "x", value))
		}
		_, err = apply(t, k, index, false, list...)
		refuses(t, name+", applied", err, signing.ErrOtherKey)
		_, err = apply(t, k, index, true, list...)
		refuses(t, name+", applied by force", err, nil)
	}
}
