package pkgheader_test

import (
	"bytes"
	"crypto"
	"os"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/signd/pkgheader"
	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/rpmsign"
	"github.com/imasign/imasign-build/tests/harness"
	"github.com/imasign/imasign-build/tests/rpm/packages"
)

func TestMain(m *testing.M) { harness.Main(m, packages.Remove) }

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// vectors are packages that rpmsign signed, and the keys.
const vectors = "../../../../../pkg/rpmsign/testdata/rpmsign-ima/"

// The tests sign at made, with keys that are a day older, and check at now. The packages of the
// vectors were built in 2023 and signed in 2026.
var (
	now  = time.Date(2027, 1, 1, 12, 0, 0, 0, time.UTC)
	made = now.Add(-time.Hour)
	born = made.Add(-24 * time.Hour)
)

// origin returns the header of a package, and the signatures that travel with it.
func origin(t testing.TB, path string) *ima.Origin {
	t.Helper()
	p, err := rpmsign.Open(path, rpmsign.Options{})
	check(t, err)
	defer p.Close()
	for e, err := range p.Entries(t.Context()) {
		check(t, err)
		if e.Origin != nil {
			return e.Origin
		}
	}
	t.Fatalf("%s has no files", path)
	return nil
}

// digestOf returns the digest of a regular file of a package.
func digestOf(t testing.TB, path string) (ima.HashID, []byte) {
	t.Helper()
	p, err := rpmsign.Open(path, rpmsign.Options{})
	check(t, err)
	defer p.Close()
	for e, err := range p.Entries(t.Context()) {
		check(t, err)
		if len(e.Digests) > 0 {
			return e.Digests[0].Hash, e.Digests[0].Sum
		}
	}
	t.Fatalf("%s has no digests", path)
	return 0, nil
}

func content(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	check(t, err)
	return b
}

// at is a configuration for what is made at a time.
func at(when time.Time, change func(*packet.Config)) *packet.Config {
	c := &packet.Config{Time: func() time.Time { return when }, Algorithm: packet.PubKeyAlgoEdDSA, DefaultHash: crypto.SHA256}
	if change != nil {
		change(c)
	}
	return c
}

func entity(t testing.TB, c *packet.Config) *openpgp.Entity {
	t.Helper()
	e, err := openpgp.NewEntity("a", "", "a@example.invalid", c)
	check(t, err)
	return e
}

// public returns the armored public key of an entity.
func public(t testing.TB, e *openpgp.Entity) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := armor.Encode(&out, openpgp.PublicKeyType, nil)
	check(t, err)
	check(t, e.Serialize(w))
	check(t, w.Close())
	return out.Bytes()
}

func sign(t testing.TB, e *openpgp.Entity, content []byte, c *packet.Config) []byte {
	t.Helper()
	var out bytes.Buffer
	check(t, openpgp.DetachSign(&out, e, bytes.NewReader(content), c))
	return out.Bytes()
}

func newChecker(t testing.TB, keyring []byte, after time.Time) *pkgheader.Checker {
	t.Helper()
	c, err := pkgheader.New(keyring, after)
	check(t, err)
	return c
}

// signBy makes a signature that gpg and go-crypto would not make.
func signBy(t testing.TB, e *openpgp.Entity, content []byte, h crypto.Hash, when time.Time) []byte {
	t.Helper()
	s := &packet.Signature{
		Version: 4, SigType: packet.SigTypeBinary, PubKeyAlgo: e.PrimaryKey.PubKeyAlgo, Hash: h, CreationTime: when, IssuerKeyId: &e.PrimaryKey.KeyId,
	}
	sum := h.New()
	sum.Write(content)
	check(t, s.Sign(sum, e.PrivateKey, at(when, nil)))
	var out bytes.Buffer
	check(t, s.Serialize(&out))
	return out.Bytes()
}
