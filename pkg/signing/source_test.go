package signing_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"iter"
	"sync/atomic"
	"testing"

	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/manifest"
	"github.com/imasign/imasign-build/pkg/signing"
)

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// key is a signer with its public key.
type key struct {
	private crypto.Signer
	public  *ima.PublicKey
}

func newKey(t testing.TB) key {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	public, err := ima.BareKey(private.Public())
	check(t, err)
	return key{private, public}
}

func (k key) signer() ima.Signer {
	if raw, is := k.private.(ima.RawSigner); is { // ML-DSA
		return ima.FromRaw(raw, k.public)
	}
	return ima.FromRaw(ima.CryptoSigner(k.private), k.public)
}

func (k key) value(t testing.TB, h ima.HashID, content string) []byte {
	t.Helper()
	values, err := ima.Sign(context.Background(), k.signer(), k.public, ima.ContentSignature(), h, [][]byte{sum(h, content)})
	check(t, err)
	return values[0]
}

// verify checks a signature of the content's digest with this key.
func (k key) verify(value []byte, h ima.HashID, digest []byte) error {
	_, err := ima.NewKeyring(k.public).Verify(value, ima.Statement{Form: ima.ContentSignature(), Hash: h, Digest: digest})
	return err
}

func sum(h ima.HashID, content string) []byte {
	std, _ := h.CryptoHash()
	d := std.New()
	io.WriteString(d, content)
	return d.Sum(nil)
}

// countingSigner counts calls and digests.
type countingSigner struct {
	ima.Signer
	calls, digests atomic.Int64
}

func (c *countingSigner) Sign(ctx context.Context, f ima.Form, h ima.HashID, digests [][]byte) ([][]byte, error) {
	c.calls.Add(1)
	c.digests.Add(int64(len(digests)))
	return c.Signer.Sign(ctx, f, h, digests)
}

type signerFunc func(ctx context.Context, f ima.Form, h ima.HashID, digests [][]byte) ([][]byte, error)

func (sign signerFunc) Sign(ctx context.Context, f ima.Form, h ima.HashID, digests [][]byte) ([][]byte, error) {
	return sign(ctx, f, h, digests)
}

// entries is a Source in memory. Entry i comes with the error errs[i].
type entries struct {
	list []signing.Entry
	errs map[int]error
}

func (s entries) Entries(context.Context) iter.Seq2[signing.Entry, error] {
	return func(yield func(signing.Entry, error) bool) {
		for i, e := range s.list {
			if !yield(e, s.errs[i]) {
				return
			}
		}
	}
}

func source(list ...signing.Entry) entries { return entries{list: list} }

// file returns an entry with content. ima is its security.ima, or absent.
func file(path, content string, ima ...[]byte) signing.Entry {
	e := signing.Entry{Path: path, Mode: 0o755, Size: int64(len(content)), Xattrs: xattrs(ima...)}
	e.Open = func(context.Context) (*signing.File, error) {
		return &signing.File{ReadCloser: io.NopCloser(bytes.NewReader([]byte(content)))}, nil
	}
	return e
}

// stated returns an entry whose digest the container states.
func stated(path string, h ima.HashID, content string, ima ...[]byte) signing.Entry {
	return signing.Entry{Path: path, Mode: 0o755, Digests: []signing.Digest{{Hash: h, Sum: sum(h, content)}}, Xattrs: xattrs(ima...)}
}

func xattrs(value ...[]byte) map[string][]byte {
	if len(value) == 0 || value[0] == nil {
		return nil
	}
	return map[string][]byte{ima.XattrIMA: value[0]}
}

func many(n, distinct int) (list []signing.Entry) {
	for i := range n {
		list = append(list, file(fmt.Sprintf("f%06d", i), fmt.Sprint("content ", i%distinct)))
	}
	return list
}

func engine(t testing.TB, o signing.Options) *signing.Engine {
	t.Helper()
	e, err := signing.New(o)
	check(t, err)
	return e
}

// engine returns an Engine that signs with k, unless the options name another signer.
func (k key) engine(t testing.TB, o signing.Options) *signing.Engine {
	t.Helper()
	if len(o.Stages) == 0 {
		o.Stages = []signing.Stage{signing.ContentStage(&signing.Key{}, 0)}
	}
	key := o.Stages[0].Key
	if key.Public = k.public; key.Signer == nil {
		key.Signer = k.signer()
	}
	return engine(t, o)
}

func plan(t testing.TB, e *signing.Engine, list ...signing.Entry) *signing.Plan {
	t.Helper()
	p, err := e.Plan(context.Background(), source(list...))
	check(t, err)
	t.Cleanup(func() { p.Close() })
	return p
}

func records(t testing.TB, p *signing.Plan) (all []signing.Record) {
	t.Helper()
	for r, err := range p.Records() {
		check(t, err)
		all = append(all, r)
	}
	return all
}

// one plans a single entry and returns its record.
func one(t testing.TB, e *signing.Engine, entry signing.Entry) signing.Record {
	t.Helper()
	return records(t, plan(t, e, entry))[0]
}

func text(t testing.TB, p *signing.Plan, container manifest.Container) []byte {
	t.Helper()
	var buf bytes.Buffer
	check(t, p.WriteManifest(&buf, signing.Description{Tool: "t", Container: container}))
	return buf.Bytes()
}

func indexOf(t testing.TB, p *signing.Plan, container manifest.Container) *manifest.Index {
	t.Helper()
	m := text(t, p, container)
	x, err := manifest.NewIndex(bytes.NewReader(m), int64(len(m)))
	check(t, err)
	return x
}

func ring(keys ...key) *ima.Keyring {
	var public []*ima.PublicKey
	for _, k := range keys {
		public = append(public, k.public)
	}
	return ima.NewKeyring(public...)
}

func verdicts(t testing.TB, e *signing.Engine, src signing.Source, r *ima.Keyring, x *manifest.Index) (all []signing.Verdict) {
	t.Helper()
	check(t, e.Verify(context.Background(), src, signing.Trust{Ring: r, Index: x}, func(v signing.Verdict) error {
		all = append(all, v)
		return nil
	}))
	return all
}

var errBroken = errors.New("broken")
