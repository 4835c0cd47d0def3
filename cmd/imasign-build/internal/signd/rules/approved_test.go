package rules_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"fmt"
	"iter"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/approval"
	"github.com/imasign/imasign-build/cmd/imasign-build/internal/signd/rules"
	"github.com/imasign/imasign-build/internal/protocol"
	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/manifest"
	"github.com/imasign/imasign-build/pkg/signing"
)

// person is somebody, or a service, with a key.
type person struct {
	public *ima.PublicKey
	signer ima.Signer
}

var privateKeys sync.Map

func who(t testing.TB, name string) *person {
	t.Helper()
	made, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	stored, _ := privateKeys.LoadOrStore(name, made)
	key := stored.(crypto.Signer)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, SubjectKeyId: []byte(name + "1234"), NotBefore: noon, NotAfter: noon}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	check(t, err)
	cert, err := x509.ParseCertificate(der)
	check(t, err)
	public, err := ima.CertificateKey(cert)
	check(t, err)
	return &person{public, ima.FromRaw(ima.CryptoSigner(key), public)}
}

// release is a directory in which alice and bob approve manifests.
type release struct {
	testing.TB
	dir   string
	store *approval.Store
}

func newRelease(t testing.TB) *release {
	t.Helper()
	r := &release{TB: t, dir: t.TempDir()}
	r.open()
	return r
}

func (r *release) open() {
	r.Helper()
	o := approval.Options{Warn: func(text string) { r.Log(text) }}
	for _, name := range []string{"alice", "bob", "carol"} {
		o.Approvers = append(o.Approvers, approval.Approver{Name: name, Key: who(r, name).public})
	}
	var err error
	r.store, err = approval.Open(context.Background(), r.dir, o)
	check(r, err)
	r.Cleanup(r.store.Close)
}

// rule lets the requester release sign what two of alice, bob and carol have approved.
func (r *release) rule(change func(*rules.Rule)) rules.Rule {
	r.Helper()
	return image(func(rule *rules.Rule) {
		rule.Name, rule.Requesters = "release", []string{"release"}
		rule.Keys = []string{"image", "evm"}
		rule.Forms = []ima.Form{ima.ContentSignature(), ima.PortableSignature()}
		rule.Approved = &rules.Approved{Store: r.store, By: []string{"alice", "bob", "carol"}, AtLeast: 2, Origin: "release", Keys: ima.NewKeyring(who(r, "image").public)}
		if change != nil {
			change(rule)
		}
	})
}

// approve stores a manifest, and approvals of it for a key of the service.
func (r *release) approve(text []byte, f ima.Form, key string, names ...string) {
	r.Helper()
	sum := sha256.Sum256(text)
	check(r, os.WriteFile(filepath.Join(r.dir, hex.EncodeToString(sum[:])+".manifest"), text, 0o644))
	spki, err := approval.SPKI(who(r, key).public)
	check(r, err)
	for _, name := range names {
		p := who(r, name)
		content, err := approval.Sign(context.Background(), p.signer, p.public, &protocol.Approval{
			Version: protocol.Version, SPKI: spki[:], Type: uint8(f.Type), Signature: f.Version, Hash: uint8(ima.SHA256),
			Manifest: sum[:], Origin: "release", Made: noon.Unix() - 60, NotAfter: noon.Unix() + 60*60*24*365,
		})
		check(r, err)
		check(r, os.WriteFile(filepath.Join(r.dir, fmt.Sprintf("%x.%s.%s.approval", sum, name, key)), content, 0o644))
	}
	r.open()
}

// manifestOf returns a manifest of a tree.
func manifestOf(t testing.TB, lines ...manifest.Line) []byte {
	t.Helper()
	var out bytes.Buffer
	w := manifest.NewWriter(&out)
	check(t, w.Header(manifest.Header{Container: manifest.Tree, Entries: int64(len(lines))}))
	for _, l := range lines {
		check(t, w.Line(l))
	}
	check(t, w.Flush())
	return out.Bytes()
}

func lineOf(path string, i int) manifest.Line {
	sum := sha256.Sum256(fmt.Append(nil, i))
	return manifest.Line{Path: path, Kind: "file", Size: 1, Mode: 0o4755, UID: 5, GID: 6, Hash: ima.SHA256, Digest: sum[:], Covered: map[string][]byte{"security.capability": {1, 2}, "security.selinux": []byte("label\x00")}}
}

func TestApprovedDigests(t *testing.T) {
	r := newRelease(t)
	image := who(t, "image").public
	judge := func(request *protocol.Request) (rules.Grant, error) {
		return newSet(t, new(rules.Usage), r.rule(nil)).Judge(t.Context(), request, "release", image, noon)
	}
	_, err := judge(request(2))
	refused(t, err, protocol.NotApproved, `rule release: nobody has approved a manifest of "release" for this key, form and hash`)
	one := manifestOf(t, lineOf("a", 0), lineOf("b", 1))
	r.approve(one, ima.ContentSignature(), "image", "alice")
	_, err = judge(request(2))
	refused(t, err, protocol.NotApproved, `has 1 of 2 approvals`)
	r.approve(one, ima.ContentSignature(), "image", "bob")
	grant, err := judge(request(2))
	sum := sha256.Sum256(one)
	if err != nil || grant.Rule != "release" || len(grant.Manifests) != 1 || !bytes.Equal(grant.Manifests[0], sum[:]) {
		t.Errorf("got %+v, %v", grant, err)
	}
	_, err = judge(request(3))
	refused(t, err, protocol.NotApproved, `rule release: the sha256 digest d4735e`)
	claimed := request(3)
	claimed.Origins = []protocol.Origin{{Container: "tree"}}
	for _, path := range []string{"a", "b", "c\n"} {
		claimed.Claims = append(claimed.Claims, protocol.Claim{Path: []byte(path)})
	}
	_, err = judge(claimed)
	refused(t, err, protocol.NotApproved, `rule release: "c\n": the sha256 digest d4735e`)
	two := manifestOf(t, lineOf("c", 2))
	r.approve(two, ima.ContentSignature(), "image", "carol", "bob")
	if grant, err = judge(request(3)); err != nil || len(grant.Manifests) != 2 {
		t.Errorf("digests of two manifests: %x, %v", grant.Manifests, err)
	}
	_, err = newSet(t, new(rules.Usage), r.rule(nil)).Judge(t.Context(), request(2), "release", who(t, "other").public, noon)
	refused(t, err, protocol.NotApproved, "nobody has approved")
	r.approve(manifestOf(t, lineOf("d", 3)), ima.ContentSignature(), "image", "carol", "stranger")
	_, err = judge(request(4))
	refused(t, err, protocol.NotApproved, `the sha256 digest 4e0740`)
	_, err = newSet(t, new(rules.Usage), r.rule(nil)).Judge(t.Context(), request(2), "release", image, noon.AddDate(1, 0, 1))
	refused(t, err, protocol.NotApproved, "another one expired at 2027-11-29T")
}

// TestApprovalsWhileTheServiceRuns checks that new files count without a reload, and for one
// request that waits for them.
func TestApprovalsWhileTheServiceRuns(t *testing.T) {
	r := newRelease(t)
	s := newSet(t, new(rules.Usage), r.rule(nil))
	later := newRelease(t)
	later.approve(manifestOf(t, lineOf("a", 0)), ima.ContentSignature(), "image", "alice", "bob")
	files, err := filepath.Glob(later.dir + "/*")
	check(t, err)
	for _, file := range files {
		content, err := os.ReadFile(file)
		check(t, err)
		check(t, os.WriteFile(filepath.Join(r.dir, filepath.Base(file)), content, 0o644))
	}
	for range 500 { // the store looks twice a second
		if _, err = s.Judge(t.Context(), request(1), "release", who(t, "image").public, noon); err == nil {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Error(err)
}

// asker is a signer that asks for a grant before it signs, as a service does.
type asker struct {
	ima.Signer

	set  *rules.Set
	name string
	key  *ima.PublicKey
	mu   sync.Mutex
	got  []*protocol.Request
}

func (a *asker) SignClaims(ctx context.Context, f ima.Form, h ima.HashID, digests [][]byte, claims []ima.Claim) ([][]byte, error) {
	r := request(0)
	r.Key, r.Type, r.Signature, r.Hash = a.name, uint8(f.Type), f.Version, uint8(h)
	r.Origins = []protocol.Origin{{Container: "tree"}}
	for i, digest := range digests {
		r.Digests = append(r.Digests, digest...)
		r.Claims = append(r.Claims, protocol.Claim{Path: []byte(claims[i].Path), IMA: claims[i].IMA})
	}
	a.mu.Lock()
	a.got = append(a.got, r)
	a.mu.Unlock()
	if _, err := a.set.Judge(ctx, r, "release", a.key, noon); err != nil {
		return nil, err
	}
	return a.Sign(ctx, f, h, digests)
}

// each yields lines as a manifest's reader does.
func each(lines []manifest.Line) iter.Seq2[manifest.Line, error] {
	return func(yield func(manifest.Line, error) bool) {
		for _, l := range lines {
			if !yield(l, nil) {
				return
			}
		}
	}
}

// signTree signs the contents and the metadata of lines, and returns the requests for the
// metadata.
func signTree(t *testing.T, s *rules.Set, target ima.EVMTarget, lines ...manifest.Line) ([]*protocol.Request, error) {
	t.Helper()
	key := func(name string) (*asker, *signing.Key) {
		p := who(t, name)
		a := &asker{Signer: p.signer, set: s, name: name, key: p.public}
		return a, &signing.Key{Signer: a, Public: p.public}
	}
	_, content := key("image")
	asked, metadata := key("evm")
	e, err := signing.New(signing.Options{Stages: []signing.Stage{
		signing.ContentStage(content, ima.SHA256), signing.PortableStage(metadata, ima.SHA256, func() ima.EVMTarget { return target }),
	}, SpoolDir: t.TempDir()})
	check(t, err)
	plan, err := e.Plan(t.Context(), signing.Stated(each(lines)))
	if err == nil {
		check(t, plan.Close())
	}
	return asked.got, err
}

// TestMetadataOfApprovedManifests signs a tree with both kinds of signatures. Then it asks for
// signatures of other metadata.
func TestMetadataOfApprovedManifests(t *testing.T) {
	r := newRelease(t)
	hashed := lineOf("c", 2)
	hashed.Unsigned = "hash only"
	lines := []manifest.Line{lineOf("a", 0), lineOf("b", 1), hashed}
	text := manifestOf(t, lines...)
	r.approve(text, ima.ContentSignature(), "image", "alice", "bob")
	_, err := signTree(t, newSet(t, new(rules.Usage), r.rule(nil)), ima.EVMTarget{}, lines...)
	refused(t, err, protocol.NotApproved, "nobody has approved")
	r.approve(text, ima.PortableSignature(), "evm", "alice", "bob")
	s := newSet(t, new(rules.Usage), r.rule(nil))
	var asked []*protocol.Request
	for _, target := range []ima.EVMTarget{{}, {Bits32: true}, {BigEndian: true}, {Bits32: true, BigEndian: true}} {
		if asked, err = signTree(t, s, target, lines...); err != nil {
			t.Fatalf("%s: %v", target, err)
		}
	}
	all := &protocol.Request{}
	*all = *asked[0]
	for _, more := range asked[1:] {
		all.Digests, all.Claims = slices.Concat(all.Digests, more.Digests), slices.Concat(all.Claims, more.Claims)
	}
	of := slices.IndexFunc(all.Claims, func(c protocol.Claim) bool { return string(c.Path) == "a" })
	at := slices.IndexFunc(all.Claims, func(c protocol.Claim) bool { return string(c.Path) == "c" })
	if len(all.Claims) != 3 || of < 0 || at < 0 {
		t.Fatalf("%d claims", len(all.Claims))
	}
	evm, sign := who(t, "evm").public, who(t, "image")
	sum := func(p *person, digest []byte) []byte {
		values, err := ima.Sign(t.Context(), p.signer, p.public, ima.ContentSignature(), ima.SHA256, [][]byte{digest})
		check(t, err)
		return values[0]
	}
	for words, change := range map[string]func(r *protocol.Request){
		"does not say which file each digest is of":    func(r *protocol.Request) { r.Claims = nil },
		`no approved manifest of "release" has a file`: func(r *protocol.Request) { r.Claims[of].Path = []byte("d") },
		"another digest":                      func(r *protocol.Request) { r.Digests[32*of] ^= 1 },
		`"b": security.ima: `:                 func(r *protocol.Request) { r.Claims[of].Path = []byte("b") }, // another file's value
		`"a": security.ima is another digest`: func(r *protocol.Request) { r.Claims[of].IMA = ima.DigestValue(ima.SHA256, lines[1].Digest) },
		`"a": security.ima: `:                 func(r *protocol.Request) { r.Claims[of].IMA = sum(who(t, "stranger"), lines[0].Digest) },
		"security.ima is over the metadata": func(r *protocol.Request) {
			v := bytes.Clone(r.Claims[of].IMA)
			v[0] = byte(ima.TypeEVMPortable)
			r.Claims[of].IMA = v
		},
		"security.ima is over the fs-verity digest": func(r *protocol.Request) {
			v := bytes.Clone(r.Claims[of].IMA)
			v[0], v[1] = byte(ima.TypeVerity), 3
			r.Claims[of].IMA = v
		},
		"its approved metadata and this security.ima have another digest": func(r *protocol.Request) {
			r.Claims[of].IMA = ima.DigestValue(ima.SHA256, lines[0].Digest) // which may be, but the digest is over the signature
		},
		"the manifest gives the file only a digest": func(r *protocol.Request) { r.Claims[at].IMA = sum(sign, lines[2].Digest) },
	} {
		bad := *all
		bad.Digests, bad.Claims = bytes.Clone(all.Digests), slices.Clone(all.Claims)
		change(&bad)
		_, err := s.Judge(t.Context(), &bad, "release", evm, noon)
		refused(t, err, protocol.NotApproved, words)
	}
	if grant, err := s.Judge(t.Context(), all, "release", evm, noon); err != nil || len(grant.Manifests) != 1 {
		t.Errorf("%x, %v", grant.Manifests, err)
	}
	other := lineOf("a", 0)
	other.Mode = 0o755
	_, err = signTree(t, s, ima.EVMTarget{}, other)
	refused(t, err, protocol.NotApproved, `"a": its approved metadata and this security.ima have another digest`)
}

func TestApprovedRulesThatAreRefused(t *testing.T) {
	r := newRelease(t)
	for words, change := range map[string]func(*rules.Rule){
		"it wants package headers and approvals":  func(rule *rules.Rule) { rule.Header, rule.Forms = bound(t).Header, rule.Forms[:1] },
		"there is no directory of approvals":      func(rule *rules.Rule) { rule.Approved.Store = nil },
		"the origin must be one line":             func(rule *rules.Rule) { rule.Approved.Origin = "" },
		"0 of 3 approvers cannot approve":         func(rule *rules.Rule) { rule.Approved.AtLeast = 0 },
		"4 of 3 approvers cannot approve":         func(rule *rules.Rule) { rule.Approved.AtLeast = 4 },
		`approver "alice" is empty or repeated`:   func(rule *rules.Rule) { rule.Approved.By = []string{"alice", "alice"} },
		`there is no approver "mallory"`:          func(rule *rules.Rule) { rule.Approved.By = []string{"alice", "mallory"} },
		`"bob" is an approver and a requester`:    func(rule *rules.Rule) { rule.Requesters = []string{"bob"} },
		"no keys are known whose signatures in s": func(rule *rules.Rule) { rule.Approved.Keys = nil },
	} {
		_, err := rules.New([]rules.Rule{r.rule(change)}, new(rules.Usage))
		if err == nil || !strings.Contains(err.Error(), `rule "release": `) || !strings.Contains(err.Error(), words) {
			t.Errorf("got %v, want %q", err, words)
		}
	}
}
