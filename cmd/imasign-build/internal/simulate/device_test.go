package simulate

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/imasign/imasign-build/internal/finding"
	"github.com/imasign/imasign-build/internal/kernel"
	"github.com/imasign/imasign-build/internal/policy"
	"github.com/imasign/imasign-build/internal/tree"
	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/signing"
	"github.com/imasign/imasign-build/tests/harness"
)

// device is a tree with files in every state that counts.
type device struct {
	t       *testing.T
	dir     string
	key     *ecdsa.PrivateKey
	public  *ima.PublicKey
	trusted *ima.Keyring
}

func newDevice(t *testing.T) *device {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	public, err := ima.BareKey(&key.PublicKey)
	if err == nil {
		public, err = public.For(ima.ForAny)
	}
	if err != nil {
		t.Fatal(err)
	}
	return &device{t: t, dir: t.TempDir(), key: key, public: public, trusted: ima.NewKeyring(public)}
}

// file makes a file with a value in security.ima: "signed", "sha512", "digest",
// "other" (content), or none.
func (d *device) file(path, content string, mode os.FileMode, state string) {
	d.t.Helper()
	full := filepath.Join(d.dir, path)
	if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
		d.t.Fatal(err)
	}
	if err := os.WriteFile(full, []byte(content), mode); err != nil {
		d.t.Fatal(err)
	}
	sum, long := sha256.Sum256([]byte(content)), sha512.Sum512([]byte(content))
	var value []byte
	switch state {
	case "signed":
		value = d.sign(ima.SHA256, sum[:])
	case "sha512":
		value = d.sign(ima.SHA512, long[:])
	case "other":
		sum[0] ^= 1
		value = d.sign(ima.SHA256, sum[:])
	case "digest":
		value = ima.DigestValue(ima.SHA256, sum[:])
	default:
		return
	}
	harness.Root(d.t)
	if err := unix.Setxattr(full, ima.XattrIMA, value, 0); err != nil {
		d.t.Fatalf("%s: %v", full, err)
	}
}

func (d *device) sign(h ima.HashID, digest []byte) []byte {
	d.t.Helper()
	values, err := ima.Sign(context.Background(), ima.FromRaw(ima.CryptoSigner(d.key), d.public), d.public, ima.ContentSignature(), h, [][]byte{digest})
	if err != nil {
		d.t.Fatal(err)
	}
	return values[0]
}

func (d *device) open() *tree.Tree {
	d.t.Helper()
	tr, err := tree.Open(d.dir, tree.Options{})
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { tr.Close() })
	return tr
}

func engine(t *testing.T, stages ...signing.Stage) *signing.Engine {
	t.Helper()
	e, err := signing.New(signing.Options{Stages: stages})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func parse(t *testing.T, text string) *policy.Policy {
	t.Helper()
	p, err := policy.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (d *device) run(s Device, text string) *Result {
	d.t.Helper()
	rules, findings := policy.Target{Profile: s.Kernel}.Rules(parse(d.t, text))
	if finding.Refused(findings) {
		d.t.Fatal(findings)
	}
	if s.Trusted == nil {
		s.Trusted = d.trusted
	}
	e := engine(d.t)
	if s.EVM != nil {
		e = engine(d.t, signing.ContentStage(nil, 0), signing.PortableStage(nil, 0, func() ima.EVMTarget { return ima.EVMTarget{} }))
	}
	result, err := s.Run(d.t.Context(), e, OfDirectory(d.open()), rules)
	if err != nil {
		d.t.Fatal(err)
	}
	return result
}

// built returns a device whose kernel has SHA-256, SHA-512 as a module, and what a
// configuration adds.
func built(t *testing.T, config string) Device {
	t.Helper()
	c, err := kernel.ReadConfig(strings.NewReader("CONFIG_CRYPTO_SHA256=y\nCONFIG_CRYPTO_SHA512=m\n" + config))
	if err != nil {
		t.Fatal(err)
	}
	return Device{Kernel: kernel.Profile{Config: c}}
}

func release(major, minor int) Device {
	return Device{Kernel: kernel.Profile{Version: kernel.Version{Major: major, Minor: minor}}}
}

const imasig = " appraise_type=imasig\n"
