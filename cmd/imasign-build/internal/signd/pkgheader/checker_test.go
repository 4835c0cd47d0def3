package pkgheader_test

import (
	"bytes"
	"crypto"
	"errors"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/signd/pkgheader"
	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/tests/harness"
	"github.com/imasign/imasign-build/tests/rpm/packages"
)

// TestPackagesByRPMSign checks packages that rpmsign of rpm 4.18 and 6.1 signed.
func TestPackagesByRPMSign(t *testing.T) {
	both := append(content(t, vectors+"keys/openpgp-rsa2048.asc"), content(t, vectors+"keys/openpgp-ed25519.asc")...)
	c := newChecker(t, both, time.Unix(1700000000, 0))
	for _, name := range []string{"v4/openpgp-ed25519.rpm", "v4/openpgp-rpmv3.rpm", "v6/openpgp.rpm", "v6/openpgp-two.rpm"} {
		o := origin(t, vectors+name)
		h, err := c.Check(o.Header, o.Signature, now)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		hash, digest := digestOf(t, vectors+name)
		other := bytes.Clone(digest)
		other[0] ^= 1
		if !h.Has(hash, digest) || h.Has(hash, other) || h.Has(ima.SHA3_256, digest) || h.Has(hash, nil) {
			t.Errorf("%s: the digests of the header are others", name)
		}
	}
	rsa := newChecker(t, content(t, vectors+"keys/openpgp-rsa2048.asc"), time.Time{})
	two := origin(t, vectors+"v6/openpgp-two.rpm")
	if _, err := rsa.Check(two.Header, two.Signature, now); err != nil {
		t.Errorf("one of two signatures is by a known key: %v", err)
	}
	o := origin(t, vectors+"v4/openpgp-ed25519.rpm")
	_, err := rsa.Check(o.Header, o.Signature, now)
	refused(t, err, pkgheader.ErrSignature, "no signing key in the keyring has its key id")
}

func refused(t *testing.T, err, want error, words string) {
	t.Helper()
	if !errors.Is(err, want) || !strings.Contains(err.Error(), words) {
		t.Errorf("got %v, want %q", err, words)
	}
}

// TestRealPackages checks what rpmbuild, gpg and rpmsign of this machine make. A signature over
// header and payload is in some of the packages; it does not verify over the header.
func TestRealPackages(t *testing.T) {
	keys := slicesOf(t, packages.PublicKey(t, "rsa"), packages.PublicKey(t, "ed25519"))
	c := newChecker(t, keys, time.Time{})
	soon := time.Now().Add(time.Minute)
	for _, name := range []string{"openpgp-rsa", "openpgp-ed25519", "openpgp-rpmv3", "openpgp-rich"} {
		path := packages.Path(t, name)
		o := origin(t, path)
		h, err := c.Check(o.Header, o.Signature, soon)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, e := range packages.Entries(t, path) {
			if want := e.Regular() && e.Digest != ""; want != h.Has(ima.SHA256, unhex(t, e.Digest)) {
				t.Errorf("%s: %s is there: %t", name, e.Path, !want)
			}
		}
	}
	f, err := packages.Read(packages.Path(t, "openpgp-rpmv3"))
	check(t, err)
	const tagPGP = 1002
	old, found := packages.Find(f.Signature, tagPGP)
	if !found {
		t.Fatal("no signature over header and payload")
	}
	o := origin(t, packages.Path(t, "openpgp-rpmv3"))
	if bytes.Contains(o.Signature, old.Data) {
		t.Error("the signature over header and payload travels")
	}
	_, err = c.Check(o.Header, old.Data, soon)
	refused(t, err, pkgheader.ErrSignature, "")
	_, err = c.Check(o.Header, nil, soon)
	refused(t, err, pkgheader.ErrSignature, "there is none over the header alone")
	el5 := origin(t, packages.Path(t, "openpgp-el5"))
	_, err = c.Check(el5.Header, el5.Signature, soon)
	refused(t, err, pkgheader.ErrHeader, "")
}

// TestSHA1 checks a signature by gpg whose hash is too weak.
func TestSHA1(t *testing.T) {
	env, id := packages.GPG(t, "rsa")
	o := origin(t, vectors+"v4/sha256.rpm")
	for hash, want := range map[string]string{"SHA1": "its hash is SHA-1", "SHA256": ""} {
		cmd := exec.Command("gpg", "--batch", "--quiet", "--local-user", id, "--digest-algo", hash, "--detach-sign")
		cmd.Env, cmd.Stdin = env, bytes.NewReader(o.Header)
		r := harness.RunCommand(t, cmd)
		_, err := newChecker(t, content(t, packages.PublicKey(t, "rsa")), time.Time{}).Check(o.Header, []byte(r.Out), time.Now().Add(time.Minute))
		if want == "" {
			check(t, err)
		} else {
			refused(t, err, pkgheader.ErrSignature, want)
		}
	}
}

// signer makes signatures over the header of a package.
type signer struct {
	t      *testing.T
	header []byte
	key    *openpgp.Entity
}

func newSigner(t *testing.T, change func(*packet.Config)) *signer {
	t.Helper()
	return &signer{t, origin(t, vectors+"v4/sha256.rpm").Header, entity(t, at(born, change))}
}

// check checks a signature that the signer made with a changed configuration.
func (s *signer) check(when time.Time, change func(*packet.Config)) error {
	s.t.Helper()
	_, err := newChecker(s.t, public(s.t, s.key), time.Time{}).Check(s.header, sign(s.t, s.key, s.header, at(made, change)), when)
	return err
}

func TestSignatures(t *testing.T) {
	s := newSigner(t, nil)
	check(t, s.check(now, nil))
	check(t, s.check(made, nil))
	check(t, s.check(made.Add(-time.Minute), nil)) // the other clock is ahead
	refused(t, s.check(made.Add(-6*time.Minute), nil), pkgheader.ErrSignature, "the signature is from the future")
	short := func(c *packet.Config) { c.SigLifetimeSecs = 1800 }
	check(t, s.check(made.Add(29*time.Minute), short))
	refused(t, s.check(now, short), pkgheader.ErrSignature, "expired")
	for _, h := range []crypto.Hash{crypto.SHA384, crypto.SHA512} {
		check(t, s.check(now, func(c *packet.Config) { c.DefaultHash = h }))
	}
	_, err := newChecker(t, public(t, s.key), time.Time{}).Check(s.header, signBy(t, s.key, s.header, crypto.SHA224, made), now)
	refused(t, err, pkgheader.ErrSignature, "its hash is SHA-224")
}

func TestSignatureOverOtherBytes(t *testing.T) {
	s := newSigner(t, nil)
	c := newChecker(t, public(t, s.key), time.Time{})
	for name, other := range map[string][]byte{
		"header and payload": append(bytes.Clone(s.header), "payload"...),
		"another header":     origin(t, vectors+"v4/sha512.rpm").Header,
		"a shorter header":   s.header[:len(s.header)-1],
		"nothing":            nil,
	} {
		_, err := c.Check(s.header, sign(t, s.key, other, at(made, nil)), now)
		refused(t, err, pkgheader.ErrSignature, "signature")
		if err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	var text bytes.Buffer
	check(t, openpgp.DetachSignText(&text, s.key, bytes.NewReader(s.header), at(made, nil)))
	_, err := c.Check(s.header, text.Bytes(), now)
	refused(t, err, pkgheader.ErrSignature, "it is of type 0x01, not over binary data")
}

func TestKeysThatAreNotValid(t *testing.T) {
	expired := newSigner(t, func(c *packet.Config) { c.KeyLifetimeSecs = 24*60*60 + 1800 })
	check(t, expired.check(made.Add(29*time.Minute), nil))
	refused(t, expired.check(now, nil), pkgheader.ErrSignature, "expired")

	later := newSigner(t, nil)
	later.key = entity(t, at(made.Add(time.Minute), nil))
	_, err := newChecker(t, public(t, later.key), time.Time{}).Check(later.header, sign(t, later.key, later.header, at(made.Add(2*time.Minute), nil)), now)
	check(t, err)

	revoked := newSigner(t, nil)
	signature := sign(t, revoked.key, revoked.header, at(made, nil))
	check(t, revoked.key.RevokeKey(packet.KeyRetired, "", at(made.Add(time.Minute), nil)))
	_, err = newChecker(t, public(t, revoked.key), time.Time{}).Check(revoked.header, signature, now)
	refused(t, err, pkgheader.ErrSignature, "revoked")

	weak := newSigner(t, func(c *packet.Config) { c.Algorithm, c.RSABits = packet.PubKeyAlgoRSA, 1024 })
	refused(t, weak.check(now, nil), pkgheader.ErrSignature, "RSA of 1024 bits")
	strong := newSigner(t, func(c *packet.Config) { c.Algorithm, c.RSABits = packet.PubKeyAlgoRSA, 2048 })
	check(t, strong.check(now, nil))

	subkey := newSigner(t, nil)
	check(t, subkey.key.AddSigningSubkey(at(born, nil)))
	check(t, subkey.check(now, nil))
	sub := &subkey.key.Subkeys[len(subkey.key.Subkeys)-1]
	signature = sign(t, subkey.key, subkey.header, at(made, nil))
	check(t, subkey.key.RevokeSubkey(sub, packet.KeyRetired, "", at(made.Add(time.Minute), nil)))
	_, err = newChecker(t, public(t, subkey.key), time.Time{}).Check(subkey.header, signature, now)
	refused(t, err, pkgheader.ErrSignature, "revoked")
}

// TestKeyThatWasMadeLater checks a signature that claims to be older than its key.
func TestKeyThatWasMadeLater(t *testing.T) {
	s := newSigner(t, nil)
	signature := signBy(t, s.key, s.header, crypto.SHA256, born.Add(-time.Hour))
	_, err := newChecker(t, public(t, s.key), time.Time{}).Check(s.header, signature, now)
	refused(t, err, pkgheader.ErrSignature, "it was made after the signature")
}

func TestHeadersThatAreRefused(t *testing.T) {
	s := newSigner(t, nil)
	c := newChecker(t, public(t, s.key), time.Unix(1700000001, 0))
	_, err := c.Check(s.header, sign(t, s.key, s.header, at(made, nil)), now)
	refused(t, err, pkgheader.ErrHeader, "the package was built at 2023-11-14T22:13:20Z, but only packages since 2023-11-14T22:13:21Z are signed")
	c = newChecker(t, public(t, s.key), time.Time{})
	for name, words := range map[string]string{"v4/md5.rpm": "md5", "v4/sha1.rpm": "sha1", "v4/source.rpm": "source package"} {
		header := origin(t, vectors+name).Header
		_, err := c.Check(header, sign(t, s.key, header, at(made, nil)), now)
		refused(t, err, pkgheader.ErrHeader, words)
	}
	_, err = c.Check([]byte("header"), nil, now)
	refused(t, err, pkgheader.ErrHeader, "malformed")
}

func TestSignaturesThatAreNone(t *testing.T) {
	s := newSigner(t, nil)
	good, c := sign(t, s.key, s.header, at(made, nil)), newChecker(t, public(t, s.key), time.Time{})
	for words, signature := range map[string][]byte{
		"not an OpenPGP packet":                      []byte("no packet"),
		"an OpenPGP packet that is not a signature":  {0xcd, 1, 'a'}, // a user id
		"not an OpenPGP signature":                   {0xc2, 1, 4},
		"it has 65537 bytes, at most 65536 are read": make([]byte, 65537),
	} {
		_, err := c.Check(s.header, signature, now)
		refused(t, err, pkgheader.ErrSignature, words)
	}
	other := sign(t, entity(t, at(born, nil)), s.header, at(made, nil))
	for n, want := range map[int]bool{0: true, 1: true, 7: true, 8: false} {
		_, err := c.Check(s.header, append(bytes.Repeat(other, n), good...), now)
		if (err == nil) != want {
			t.Errorf("after %d signatures by an unknown key: %v", n, err)
		}
	}
	wrong := sign(t, s.key, nil, at(made, nil))
	_, err := c.Check(s.header, append(bytes.Clone(other), wrong...), now)
	refused(t, err, pkgheader.ErrSignature, "invalid signature") // of the known key
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 1
		if _, err := c.Check(s.header, bad, now); err == nil && !unhashed(good, bad) {
			t.Errorf("accepted with byte %d changed", i)
		}
	}
}

// unhashed reports whether two signatures differ only in what is not signed.
func unhashed(a, b []byte) bool {
	one, err := packet.Read(bytes.NewReader(a))
	two, err2 := packet.Read(bytes.NewReader(b))
	return err == nil && err2 == nil && bytes.Equal(one.(*packet.Signature).HashSuffix, two.(*packet.Signature).HashSuffix)
}

func TestKeyringsThatAreRefused(t *testing.T) {
	for words, keyring := range map[string][]byte{
		"it has no keys": nil,
		"OpenPGP keyring: it has the secret part of key": content(t, vectors+"keys/openpgp-ed25519.secret.asc"),
		"has more than 1048576 bytes":                    make([]byte, 1<<20+1),
		"OpenPGP keyring: ":                              []byte("x"),
	} {
		if _, err := pkgheader.New(keyring, time.Time{}); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("got %v, want %q", err, words)
		}
	}
}
