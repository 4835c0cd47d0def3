package ima_test

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/pkg/ima"
)

// evmctlVectors is testdata/evmctl.json: values that evmctl made, and their keys.
// tests/evmctl/freeze_test.go writes the file.
type evmctlVectors struct {
	Content string
	Keys    map[string]string
	Vectors []evmctlVector
}

type evmctlVector struct{ Key, Command, Value, IMA string }

// flag returns the argument of an option in the vector's command.
func (v evmctlVector) flag(name string) string {
	args := strings.Fields(v.Command)
	return args[slices.Index(args, name)+1]
}

func loadVectors(t testing.TB) (evmctlVectors, map[string]*ima.PublicKey) {
	t.Helper()
	b, err := os.ReadFile("testdata/evmctl.json")
	check(t, err)
	var f evmctlVectors
	check(t, json.Unmarshal(b, &f))
	keys := map[string]*ima.PublicKey{}
	for name, text := range f.Keys {
		block, _ := pem.Decode([]byte(text))
		cert, err := x509.ParseCertificate(block.Bytes)
		check(t, err)
		keys[name], err = ima.CertificateKey(cert)
		check(t, err)
		if bare, err := ima.BareKey(cert.PublicKey); err != nil || bare.ID() != keys[name].ID() {
			t.Errorf("%s: key id by certificate %s, by key %s, %v", name, keys[name].ID(), bare.ID(), err)
		}
	}
	return f, keys
}

func TestVectors(t *testing.T) {
	f, keys := loadVectors(t)
	checks := map[string]func(*testing.T, evmctlVectors, evmctlVector, *ima.PublicKey){
		"ima_sign -a":    checkSignature,
		"ima_sign --rsa": checkLegacy,
		"ima_hash -a":    checkDigest,
		"sign --imahash": checkPortable,
	}
	ran := map[string]int{}
	for _, v := range f.Vectors {
		words := strings.Fields(v.Command)
		kind := strings.Join(words[:2], " ")
		t.Run(v.Key+" "+v.Command, func(t *testing.T) {
			parsed, err := ima.Parse(unhex(t, v.Value))
			check(t, err)
			if !bytes.Equal(parsed.Append(nil), unhex(t, v.Value)) {
				t.Error("Append gives other bytes")
			}
			checks[kind](t, f, v, keys[v.Key])
		})
		ran[kind]++
	}
	for kind := range checks {
		if ran[kind] < 6 {
			t.Errorf("only %d vectors of %q", ran[kind], kind)
		}
	}
}

func checkSignature(t *testing.T, f evmctlVectors, vector evmctlVector, key *ima.PublicKey) {
	value := unhex(t, vector.Value)
	h, err := ima.ParseHash(vector.flag("-a"))
	check(t, err)
	if v, _ := ima.Parse(value); v.Hash != h || v.KeyID != key.ID() || v.Version != 2 || v.Type != ima.TypeSignature {
		t.Errorf("parsed as %v", v)
	}
	ring, digest := ima.NewKeyring(key), sum(h, f.Content)
	check(t, verify(ring, value, digest))

	mismatch := ima.ErrBadSignature
	if strings.HasPrefix(key.Algorithm(), "rsa") {
		mismatch = ima.ErrDigestMismatch
	}
	refused(t, verify(ring, value, sum(h, "tampered")), mismatch)
	value[len(value)-1] ^= 1
	refused(t, verify(ring, value, digest), ima.ErrBadSignature)
	value[len(value)-1] ^= 1
	value[7], value[8] = value[8], value[7]
	if value[7] != value[8] {
		refused(t, verify(ring, value, digest), ima.ErrByteOrder)
	}
}

func checkLegacy(t *testing.T, _ evmctlVectors, vector evmctlVector, key *ima.PublicKey) {
	v, err := ima.Parse(unhex(t, vector.Value))
	check(t, err)
	if v.Version != 1 || v.Hash.String() != vector.flag("-a") || 8*len(v.Signature) != int(v.Legacy.Bits) {
		t.Errorf("parsed as %v", v)
	}
	refused(t, verify(ima.NewKeyring(key), unhex(t, vector.Value), make([]byte, v.Hash.Size())), ima.ErrUnsupportedVersion)
}

func checkDigest(t *testing.T, f evmctlVectors, vector evmctlVector, _ *ima.PublicKey) {
	h, err := ima.ParseHash(vector.flag("-a"))
	check(t, err)
	refused(t, verify(ima.NewKeyring(), unhex(t, vector.Value), sum(h, f.Content)), ima.ErrHashOnly)
	refused(t, verify(ima.NewKeyring(), unhex(t, vector.Value), sum(h, "tampered")), ima.ErrDigestMismatch)
}

func checkPortable(t *testing.T, _ evmctlVectors, vector evmctlVector, key *ima.PublicKey) {
	m := ima.EVMMetadata{Portable: true, UID: 1000, GID: 2000, Mode: 33261, EVMTarget: ima.EVMTarget{Bits32: strings.Contains(vector.Command, "--m32")}}
	xattrs := map[string][]byte{ima.XattrIMA: unhex(t, vector.IMA)}
	digest, err := ima.EVMDigest(ima.SHA256, m, xattrs)
	check(t, err)
	ring := ima.NewKeyring(key)
	check(t, verifyAs(ring, ima.PortableSignature(), unhex(t, vector.Value), digest))
	m.UID++
	digest, err = ima.EVMDigest(ima.SHA256, m, xattrs)
	check(t, err)
	if verifyAs(ring, ima.PortableSignature(), unhex(t, vector.Value), digest) == nil {
		t.Error("another owner was accepted")
	}
}
