package rpmsign

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/signing"
)

const vectors = "testdata/rpmsign-ima/"

// vector is what an rpmsign with IMA support made from a package.
type vector struct {
	File, From, Key, Command string
	Signatures               []string
	Lengths                  []uint32
}

func readVectors(t *testing.T) (list []vector) {
	t.Helper()
	var all struct{ Packages []vector }
	check(t, json.Unmarshal(content(t, vectors+"vectors.json"), &all))
	if len(all.Packages) < 20 {
		t.Fatalf("%d vectors", len(all.Packages))
	}
	return all.Packages
}

// frozenKey returns a key of the vectors and the public key in its certificate.
func frozenKey(t *testing.T, name string) (crypto.Signer, *ima.PublicKey) {
	t.Helper()
	block, _ := pem.Decode(content(t, vectors+"keys/"+name+".key"))
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	check(t, err)
	block, _ = pem.Decode(content(t, vectors+"keys/"+name+".crt"))
	cert, err := x509.ParseCertificate(block.Bytes)
	check(t, err)
	public, err := ima.CertificateKey(cert)
	check(t, err)
	return key.(crypto.Signer), public
}

// frozen signs with a key of the vectors.
func frozen(t *testing.T, name string) *loop {
	t.Helper()
	key, public := frozenKey(t, name)
	e, err := signing.New(signing.Options{Stages: []signing.Stage{signing.ContentStage(&signing.Key{Signer: ima.FromRaw(ima.CryptoSigner(key), public), Public: public}, 0)}, Force: true})
	check(t, err)
	return &loop{Plan: func(ctx context.Context, p *Package) (*signing.Plan, error) { return e.Plan(ctx, p) }}
}

// TestVectorsWritten checks that the tags equal those that rpmsign wrote, RSA signatures byte
// for byte.
func TestVectorsWritten(t *testing.T) {
	met := 0
	for _, v := range readVectors(t) {
		if v.Key != "rsa2048" || v.From == "" || !strings.Contains(v.Command, "--addsign --signfiles") || strings.Contains(v.File, "defect") {
			continue
		}
		theirs, before := mustParse(t, content(t, vectors+v.File)), mustParse(t, content(t, vectors+v.From))
		if before.values.present || theirs.Source() || before.hash() == ima.MD5 || before.hash() == ima.SHA1 {
			continue // it was signed before, or is never signed here
		}
		t.Run(v.File, func(t *testing.T) {
			path := put(t, content(t, vectors+v.From))
			run(t, frozen(t, v.Key), path)
			ours := mustParse(t, content(t, path))
			a, b := ours.sig.having(fileSignatureTags()...), theirs.sig.having(fileSignatureTags()...)
			if !slices.EqualFunc(a, b, value.equal) || len(ours.files) > 0 && len(a) != 2 {
				t.Errorf("tags %s\nrpmsign wrote %s", tagsText(a), tagsText(b))
			}
			if !slices.Equal(ours.sig.strings(tagFileSignatures), v.Signatures) {
				t.Error("signatures differ from the vector's")
			}
			check(t, rpmReads(t, path, ours))
		})
		met++
	}
	if met < 8 {
		t.Errorf("%d vectors compared", met)
	}
}

func tagsText(list []value) string {
	var b strings.Builder
	for _, v := range list {
		fmt.Fprintf(&b, "[%d type %d count %d %.60q]", v.tag, v.typ, v.count, v.data)
	}
	return b.String()
}

// rpmReads checks a package with the rpm of this machine if that knows its format.
func rpmReads(t *testing.T, path string, p *Package) error {
	t.Helper()
	if p.format() > 4 {
		return nil
	}
	return rpmChecksig(t, path)
}

// TestVectorsRead reads what rpmsign wrote. Its signatures are valid, or have a named flaw.
func TestVectorsRead(t *testing.T) {
	for _, v := range readVectors(t) {
		p := mustParse(t, content(t, vectors+v.File))
		for _, l := range []Level{CheckPayload, CheckFiles} {
			if err := p.Check(t.Context(), l); err != nil {
				t.Errorf("%s: %s: %v", v.File, l, err)
			}
		}
		if p.format() != 4 && p.format() != 6 || strings.HasPrefix(v.File, "v6/") != (p.format() == 6) && !strings.Contains(v.File, "v4-by") {
			t.Errorf("%s: format %d", v.File, p.format())
		}
		switch repeated := len(v.Lengths) > 1; {
		case repeated:
			if d := p.Defects(); !slices.ContainsFunc(d, func(d Defect) bool { return d.Flaw == flawRepeated || d.Flaw == flawCount }) {
				t.Errorf("%s: defects %v", v.File, d)
			}
		case v.Key != "" && p.values.values != nil && !strings.Contains(v.File, "other-key"):
			if d := p.Defects(); len(d) > 0 {
				t.Errorf("%s: defects %v", v.File, d)
			}
			wantValid(t, v, p)
		}
		if v.Lengths == nil && p.sig.has(tagFileSignatureLength) {
			t.Errorf("%s: vector without 275", v.File)
		}
	}
}

func wantValid(t *testing.T, v vector, p *Package) {
	t.Helper()
	_, public := frozenKey(t, v.Key)
	for i, f := range p.files {
		if f.Digest == nil {
			continue
		}
		if _, err := ima.NewKeyring(public).Verify(p.values.values[i], ima.Statement{Form: ima.ContentSignature(), Hash: p.hash(), Digest: f.Digest}); err != nil {
			t.Errorf("%s: %s: %v", v.File, f.Path, err)
		}
	}
}

// TestVectorsRepaired signs every package by rpmsign, including those with flaws. Stripping
// those without flaws gives back the original package.
func TestVectorsRepaired(t *testing.T) {
	files, err := filepath.Glob(vectors + "v?/*.rpm")
	check(t, err)
	for _, file := range files {
		b := content(t, file)
		p := mustParse(t, b)
		if h := p.hash(); p.Source() || h == ima.MD5 || h == ima.SHA1 {
			continue
		}
		path := put(t, b)
		run(t, frozen(t, "p256"), path)
		now := mustParse(t, content(t, path))
		if d := now.Defects(); len(d) > 0 || now.values.values == nil && len(now.files) > 0 {
			t.Errorf("%s: defects %v", file, d)
		}
		if !bytes.Equal(b[p.mainAt:], content(t, path)[now.mainAt:]) {
			t.Errorf("%s: main header or payload changed", file)
		}
		strictOrder(t, file, now)
		if err := rpmReads(t, path, now); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
}

// strictOrder checks what v6 packages demand: tags in order, each once, the reserve last.
func strictOrder(t *testing.T, file string, p *Package) {
	t.Helper()
	for i := 1; i < len(p.sig.entries); i++ {
		if i > 1 && p.sig.entries[i-1].tag >= p.sig.entries[i].tag {
			t.Errorf("%s: %d after %d", file, p.sig.entries[i].tag, p.sig.entries[i-1].tag)
		}
	}
	if last := p.sig.entries[len(p.sig.entries)-1].tag; p.format() == 6 && last != tagReserved {
		t.Errorf("%s: tag %d comes last", file, last)
	}
}

// TestVectorsStrip signs and strips what rpmbuild wrote, also packages by rpm 6.
func TestVectorsStrip(t *testing.T) {
	for _, name := range []string{"v6/rich", "v6/sha256", "v6/sha512", "v6/no-reserve", "v6/empty", "v6/v4-by-rpm6", "v4/rich", "v4/no-reserve"} {
		b := content(t, vectors+name+".rpm")
		path := put(t, b)
		for _, key := range []string{"p256", "rsa2048"} {
			run(t, frozen(t, key), path)
		}
		if p := mustParse(t, content(t, path)); len(p.files) > 0 && bytes.Equal(content(t, path), b) {
			t.Errorf("%s: not signed", name)
		}
		run(t, stripper(t), path)
		if !bytes.Equal(content(t, path), b) {
			t.Errorf("%s: stripped package differs from rpmbuild's", name)
		}
	}
}
