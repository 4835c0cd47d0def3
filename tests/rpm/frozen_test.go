package rpm

import (
	"context"
	"crypto"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/tests/rpm/packages"
)

const frozenDir = "../../pkg/rpmsign/testdata/rpmsign-ima"

// frozen is vectors.json, which says what rpmsign did to each package beside it.
type frozen struct {
	Origin   string          `json:"origin"`
	Packages []frozenPackage `json:"packages"`
}

type frozenPackage struct {
	File            string       `json:"file"`
	From            string       `json:"from"`          // the package before Command
	Key             string       `json:"key,omitempty"` // argument of --fskpath, in keys/
	Command         string       `json:"command"`
	Exit            int          `json:"exit"`              // of Command
	Skipped         bool         `json:"skipped,omitempty"` // rpmsign wrote nothing ("identical signature, skipping")
	DigestAlgorithm int          `json:"digest_algorithm,omitempty"`
	Files           []frozenFile `json:"files"`
	// The content of the signature header. A sound package has one signature for each file
	// and one length, or neither.
	Signatures []string `json:"signatures,omitempty"`  // tag 274, in order
	Lengths    []uint32 `json:"lengths,omitempty"`     // each tag 275
	HeaderSize int      `json:"signature_header_size"` // bytes from its magic at 96 to its padding
}

type frozenFile struct {
	Path   string `json:"path"`
	Mode   string `json:"mode"` // octal, with the file type
	Flags  uint32 `json:"flags,omitempty"`
	Digest string `json:"digest,omitempty"`
}

// TestFrozen compares the frozen packages with vectors.json, and both with rpm. freeze.sh makes
// them.
func TestFrozen(t *testing.T) {
	if os.Getenv("FREEZE") != "" {
		freeze(t)
	}
	var f frozen
	text, err := os.ReadFile(filepath.Join(frozenDir, "vectors.json"))
	check(t, err)
	check(t, json.Unmarshal(text, &f))
	keys := map[string]*frozenKey{"rsa2048": loadKey(t, "rsa2048"), "p256": loadKey(t, "p256")}
	signatures := 0
	for _, p := range f.Packages {
		t.Run(p.File, func(t *testing.T) {
			p.wantAsWritten(t)
			if strings.Contains(p.File, "defect-") {
				return
			}
			p.wantSound(t)
			for i, s := range p.Signatures {
				if s != "" {
					keys[p.Key].want(t, p, i)
					signatures++
				}
			}
		})
	}
	if len(f.Packages) < 40 || signatures < 180 {
		t.Errorf("%d packages with %d signatures", len(f.Packages), signatures)
	}
}

// wantAsWritten checks that the package matches the vector.
func (p frozenPackage) wantAsWritten(t *testing.T) {
	t.Helper()
	if got := describe(t, p); got.HeaderSize != p.HeaderSize || !slices.Equal(got.Signatures, p.Signatures) || !slices.Equal(got.Lengths, p.Lengths) || !slices.Equal(got.Files, p.Files) {
		t.Errorf("package and vector differ:\n%+v\n%+v", got, p)
	}
}

// wantSound checks that rpm accepts the package and reads the same signatures from it.
func (p frozenPackage) wantSound(t *testing.T) {
	t.Helper()
	path := filepath.Join(frozenDir, p.File)
	if r := packages.Checksig(t, path); strings.Contains(r.Out, "BAD") || !strings.Contains(r.Out, "digest: OK") {
		t.Errorf("rpmkeys --checksig: exit %d\n%s%s", r.Code, r.Out, r.Err)
	}
	entries := packages.Entries(t, path)
	if len(entries) != len(p.Files) || len(p.Signatures) != 0 && len(p.Signatures) != len(entries) {
		t.Fatalf("%d entries by rpm, %d files, %d signatures", len(entries), len(p.Files), len(p.Signatures))
	}
	longest := 0
	for i, s := range p.Signatures {
		if entries[i].Signature != s {
			t.Errorf("%s: rpm says %s, the vector %s", entries[i].Path, entries[i].Signature, s)
		}
		longest = max(longest, len(s)/2)
	}
	if longest > 0 && !slices.Equal(p.Lengths, []uint32{uint32(longest)}) {
		t.Errorf("lengths %v, the longest signature has %d bytes", p.Lengths, longest)
	}
}

// frozenKey is a key in keys/.
type frozenKey struct {
	signer ima.Signer // nil for ECDSA, because libimaevm's ECDSA signatures are random
	public *ima.PublicKey
	ring   *ima.Keyring
}

func loadKey(t *testing.T, name string) *frozenKey {
	t.Helper()
	cert, err := x509.ParseCertificate(pemBlock(t, name+".crt"))
	check(t, err)
	key, err := x509.ParsePKCS8PrivateKey(pemBlock(t, name+".key"))
	check(t, err)
	k := &frozenKey{}
	k.public, err = ima.CertificateKey(cert)
	check(t, err)
	k.ring = ima.NewKeyring(k.public)
	if cert.PublicKeyAlgorithm == x509.RSA {
		k.signer = ima.FromRaw(ima.CryptoSigner(key.(crypto.Signer)), k.public)
	}
	return k
}

func pemBlock(t *testing.T, file string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(frozenDir, "keys", file))
	check(t, err)
	block, _ := pem.Decode(text)
	if block == nil {
		t.Fatalf("%s: no PEM", file)
	}
	return block.Bytes
}

// want verifies the i-th signature of p over the digest of the file. Signing again with RSA must
// give the same bytes.
func (k *frozenKey) want(t *testing.T, p frozenPackage, i int) {
	t.Helper()
	value, err := hex.DecodeString(p.Signatures[i])
	check(t, err)
	digest, err := hex.DecodeString(p.Files[i].Digest)
	check(t, err)
	v, err := ima.Parse(value)
	check(t, err)
	if v.Hash == ima.MD5 {
		return // this program does not compute or sign MD5
	}
	_, err = k.ring.Verify(value, ima.Statement{Form: ima.ContentSignature(), Hash: v.Hash, Digest: digest})
	check(t, err)
	if k.signer == nil || v.Hash == ima.SHA1 {
		return
	}
	again, err := ima.Sign(context.Background(), k.signer, k.public, ima.ContentSignature(), v.Hash, [][]byte{digest})
	check(t, err)
	if hex.EncodeToString(again[0]) != p.Signatures[i] {
		t.Errorf("%s: signed again gives %x, rpmsign wrote %s", p.Files[i].Path, again[0], p.Signatures[i])
	}
}

// freeze writes vectors.json from the packages that freeze.sh made and the commands that it
// recorded.
func freeze(t *testing.T) {
	t.Helper()
	f := frozen{Origin: "v4: rpm 4.18.0+dfsg-1+deb12u1, libimaevm2 1.4-1.2+b2; v6: rpm 6.1.0-1, libimaevm4 1.5-2+b2; made by tests/rpm/freeze.sh"}
	for _, format := range []string{"v4", "v6"} {
		text, err := os.ReadFile(filepath.Join(frozenDir, format, "commands"))
		check(t, err)
		for line := range strings.Lines(string(text)) {
			c := strings.Split(strings.TrimSpace(line), "\t")
			p := frozenPackage{File: format + "/" + c[0] + ".rpm", From: format + "/" + c[1] + ".rpm", Key: strings.Trim(c[2], "-"), Command: c[4], Skipped: c[5] != "0"}
			p.Exit, err = strconv.Atoi(c[3])
			check(t, err)
			f.Packages = append(f.Packages, describe(t, p))
		}
	}
	out, err := json.MarshalIndent(f, "", " ")
	check(t, err)
	check(t, os.WriteFile(filepath.Join(frozenDir, "vectors.json"), append(out, '\n'), 0o644))
}

// describe adds what the package itself states.
func describe(t *testing.T, p frozenPackage) frozenPackage {
	t.Helper()
	path := filepath.Join(frozenDir, p.File)
	header, err := packages.SignatureHeader(path)
	check(t, err)
	p.HeaderSize, p.Files, p.Signatures, p.Lengths = len(header), []frozenFile{}, nil, nil
	f := read(t, path)
	for _, tag := range f.Signature {
		switch tag.Tag {
		case packages.TagFileSignatures:
			p.Signatures = tag.Strings()
		case packages.TagFileSignatureLength:
			p.Lengths = append(p.Lengths, tag.Int32())
		}
	}
	for _, e := range packages.Files(t, path) {
		p.Files = append(p.Files, frozenFile{e.Path, strconv.FormatUint(uint64(e.Mode), 8), e.Flags, e.Digest})
	}
	p.DigestAlgorithm = 1
	if tag, found := packages.Find(f.Header, 5011); found {
		p.DigestAlgorithm = int(tag.Int32())
	}
	return p
}
