package signing_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/manifest"
	"github.com/imasign/imasign-build/pkg/signing"
)

// verityVectors is testdata/verity.json.
type verityVectors struct {
	About   string `json:"about"`
	Key     string `json:"key_pem"`
	Cert    string `json:"cert_pem"`
	Vectors []struct {
		Size   int    `json:"size"`
		Hash   string `json:"hash"`
		Block  int    `json:"block"`
		Salt   string `json:"salt_hex"`
		Digest string `json:"verity_digest_hex"`
		Value  string `json:"security_ima_hex"`
	} `json:"vectors"`
}

func readVerityVectors(t *testing.T) (v verityVectors, k key) {
	t.Helper()
	text, err := os.ReadFile("testdata/verity.json")
	check(t, err)
	check(t, json.Unmarshal(text, &v))
	block, _ := pem.Decode([]byte(v.Key))
	private, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	check(t, err)
	block, _ = pem.Decode([]byte(v.Cert))
	cert, err := x509.ParseCertificate(block.Bytes)
	check(t, err)
	public, err := ima.CertificateKey(cert)
	check(t, err)
	public, err = public.For(ima.ForV3)
	check(t, err)
	return v, key{private.(crypto.Signer), public}
}

// verityContent is the content of a vector.
func verityContent(size int) string {
	var all []byte
	for i := uint32(0); len(all) < size; i++ {
		block := sha256.Sum256(binary.BigEndian.AppendUint32([]byte("v"), i))
		all = append(all, block[:]...)
	}
	return string(all[:size])
}

// TestVeritySignaturesAreThoseOfEvmctl signs and verifies the contents that evmctl and
// fsverity-utils signed.
func TestVeritySignaturesAreThoseOfEvmctl(t *testing.T) {
	vectors, k := readVerityVectors(t)
	for _, c := range vectors.Vectors {
		name := fmt.Sprintf("%d bytes, %s, blocks of %d, salt %q", c.Size, c.Hash, c.Block, c.Salt)
		h, err := ima.ParseHash(c.Hash)
		check(t, err)
		salt, err := hex.DecodeString(c.Salt)
		check(t, err)
		params := manifest.Verity{BlockSize: c.Block, Salt: salt}
		e := file("f", verityContent(c.Size))
		e.Verity = &params
		r := one(t, k.engine(t, signing.Options{Stages: []signing.Stage{signing.ContentStage(&signing.Key{}, h).V3()}}), e)
		if got := hex.EncodeToString(r.Digests[0].Sum); len(r.Digests) != 1 || got != c.Digest {
			t.Errorf("%s: digest %s, want %s", name, got, c.Digest)
		}
		if got := hex.EncodeToString(r.Values[0].Bytes); got != c.Value {
			t.Errorf("%s: value %s, want %s", name, got, c.Value)
		}
		value, err := hex.DecodeString(c.Value)
		check(t, err)
		for verity, want := range map[*manifest.Verity]signing.Outcome{
			&params: signing.OK, {BlockSize: 2048, Salt: salt}: signing.Bad, {BlockSize: c.Block, Salt: []byte{1}}: signing.Bad,
		} {
			trust := signing.Trust{Ring: ring(k), Verity: verity}
			check(t, engine(t, signing.Options{}).Verify(context.Background(), source(file("f", verityContent(c.Size), value)), trust, func(v signing.Verdict) error {
				if v.Outcome != want {
					t.Errorf("%s, verified with %s: %s, %v", name, verity, v.Outcome, v.Err)
				}
				if want == signing.Bad && !strings.Contains(v.Err.Error(), verity.String()) {
					t.Errorf("%s: %v does not state the parameters", name, v.Err)
				}
				return nil
			}))
		}
	}
}

// TestVerityJourney plans fs-verity signatures without a key, signs them from the manifest,
// applies that, and verifies the result.
func TestVerityJourney(t *testing.T) {
	k := newKey(t)
	var err error
	k.public, err = k.public.For(ima.ForV3)
	check(t, err)
	params := manifest.Verity{BlockSize: 1024, Salt: []byte("s")}
	list := func(values map[string][]byte) (all []signing.Entry) {
		for _, name := range []string{"digest", "plain", "verity"} {
			e := file(name, "content of "+name, values[name])
			e.HashOnly = name == "digest"
			if name != "plain" {
				e.Verity = &params
			}
			all = append(all, e)
		}
		return all
	}
	stages := func() []signing.Stage { return []signing.Stage{signing.ContentStage(&signing.Key{}, 0).V3()} }
	dry := indexOf(t, plan(t, engine(t, signing.Options{}), list(nil)...), manifest.Tree)
	p, err := k.engine(t, signing.Options{Stages: stages()}).Plan(context.Background(), signing.Stated(lines(t, dry)))
	check(t, err)
	defer p.Close()
	signed := indexOf(t, p, manifest.Tree)
	direct := text(t, plan(t, engine(t, signing.Options{}), list(nil)...), manifest.Tree)
	if !bytes.Contains(direct, []byte(`"verity":{"block_size":1024,"salt":"73"}`)) {
		t.Errorf("the manifest does not state the parameters:\n%s", direct)
	}
	applied, err := engine(t, signing.Options{}).Apply(context.Background(), source(list(nil)...), signing.Trust{Ring: ring(k), Index: signed})
	check(t, err)
	defer applied.Close()
	values := map[string][]byte{}
	for _, r := range records(t, applied) {
		values[r.Path] = r.Values[0].Bytes
		if want := (map[string]byte{"digest": 4, "plain": 3, "verity": 6}); values[r.Path][0] != want[r.Path] {
			t.Errorf("%s: %x", r.Path, values[r.Path])
		}
	}
	for _, v := range verdicts(t, engine(t, signing.Options{}), source(list(values)...), ring(k), signed) {
		if v.Outcome.Wrong() {
			t.Errorf("%s: %v", v.Path, v.Err)
		}
	}
	again := records(t, plan(t, k.engine(t, signing.Options{Stages: stages()}), list(values)...))
	for _, r := range again {
		if r.Status() != signing.Unchanged {
			t.Errorf("%s: signed again: %s", r.Path, r.Status())
		}
	}
}

func lines(t *testing.T, x *manifest.Index) func(func(manifest.Line, error) bool) {
	return func(yield func(manifest.Line, error) bool) {
		for _, path := range x.Paths() {
			l, _, err := x.Find(path, 0)
			check(t, err)
			if !yield(l, nil) {
				return
			}
		}
	}
}

// TestVerityRefusals has values that must not pass for fs-verity signatures, or the reverse.
func TestVerityRefusals(t *testing.T) {
	k := newKey(t)
	var err error
	k.public, err = k.public.For(ima.ForAny)
	check(t, err)
	params := manifest.DefaultVerity()
	e := file("f", "x")
	e.Verity = &params
	value := one(t, k.engine(t, signing.Options{}), e).Values[0].Bytes
	if v := verdict(t, file("f", "x", value), k); v.Outcome != signing.OK || v.Form != ima.VeritySignature() {
		t.Errorf("valid: %s, %v", v.Outcome, v.Err)
	}
	changed := func(i int, b byte) []byte {
		c := bytes.Clone(value)
		c[i] = b
		return c
	}
	for name, entry := range map[string]signing.Entry{
		"other content":   file("f", "y", value),
		"as 0x03":         file("f", "x", changed(0, 3)),
		"version 2":       file("f", "x", changed(1, 2)),
		"another hash":    file("f", "x", changed(2, byte(ima.SHA512))),
		"sha384":          file("f", "x", changed(2, byte(ima.SHA384))),
		"0x03 as 0x06":    file("f", "x", append([]byte{6}, k.value(t, ima.SHA256, "x")[1:]...)),
		"a stated digest": stated("f", ima.SHA256, "x", value),
	} {
		if v := verdict(t, entry, k); v.Outcome != signing.Bad {
			t.Errorf("%s: %s", name, v.Outcome)
		}
	}
	for name, c := range map[string]struct {
		entry signing.Entry
		hash  ima.HashID
		err   error
	}{
		"sha384":          {file("f", "x"), ima.SHA384, ima.ErrUnsupportedHash},
		"only the digest": {stated("f", ima.SHA256, "x"), 0, nil},
	} {
		c.entry.Verity = &params
		_, err := k.engine(t, signing.Options{Stages: []signing.Stage{signing.ContentStage(&signing.Key{}, c.hash)}}).Plan(context.Background(), source(c.entry))
		if err == nil || c.err != nil && !errors.Is(err, c.err) || !strings.HasPrefix(err.Error(), "f: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestVerityReplaces signs the fs-verity digest of files whose content the same key signed,
// and the reverse, without force exactly when the old signature is certainly its own.
func TestVerityReplaces(t *testing.T) {
	content, verity := ima.ContentSignature().V3(), ima.VeritySignature()
	params, other := manifest.DefaultVerity(), manifest.Verity{BlockSize: 1024}
	digest := func(content string, params *manifest.Verity) []byte {
		e := file("f", content)
		e.Verity = params
		return one(t, engine(t, signing.Options{}), e).Digests[0].Sum
	}
	for name, k := range map[string]key{"RSA": bare(t, newRSA(t)).purposed(t, ima.ForV3), "ECDSA": newKey(t).purposed(t, ima.ForV3), "ML-DSA": newMLDSA(t, "mldsa44")} {
		var unsure error
		if name != "RSA" { // whose signatures tell what they are over
			unsure = signing.ErrNotOurs
		}
		for _, c := range []struct {
			name   string
			have   []byte
			verity *manifest.Verity // that is asked for
			want   error
		}{
			{"content to verity", k.made(t, content, sum(ima.SHA256, "x")), &params, nil},
			{"old content to verity", k.made(t, content, sum(ima.SHA256, "old")), &params, unsure},
			{"verity to content", k.made(t, verity, digest("x", &params)), nil, nil},
			{"verity of other parameters to content", k.made(t, verity, digest("x", &other)), nil, unsure},
			{"a stranger's", newKey(t).purposed(t, ima.ForV3).made(t, content, sum(ima.SHA256, "x")), &params, signing.ErrOtherKey},
		} {
			e := file("f", "x", c.have)
			e.Verity = c.verity
			p, err := k.versioned(t, 3, 0).Plan(context.Background(), source(e))
			refuses(t, name+", "+c.name, err, c.want)
			if err != nil {
				continue
			}
			r := records(t, p)[0]
			if r.Status() != signing.Signed || (r.Values[0].Form == verity) != (c.verity != nil) || (r.Digests[0].Verity != nil) != (c.verity != nil) {
				t.Errorf("%s, %s: %s, %+v, %+v", name, c.name, r.Status(), r.Values[0].Form, r.Digests)
			}
			x := indexOf(t, p, manifest.Tree)
			check(t, p.Close())
			applied, err := engine(t, signing.Options{}).Apply(context.Background(), source(file("f", "x", c.have)), signing.Trust{Ring: ring(k), Index: x})
			refuses(t, name+", "+c.name+", applied", err, c.want)
			if err == nil {
				check(t, applied.Close())
			}
		}
	}
}
