package signing_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/signing"
)

// mapCache is a Cache in memory. The program's cache, a database, is above this package.
type mapCache struct {
	mu             sync.Mutex
	has            map[string][]byte
	asked, refused int // numbers of digests, and of signatures that were given back
	// get and put, unless nil, are called before an answer, and change it.
	get func(ctx context.Context, b signing.Batch, found [][]byte) [][]byte
	put func(ctx context.Context, b signing.Batch, kept [][]byte) [][]byte
}

func newCache() *mapCache { return &mapCache{has: map[string][]byte{}} }

func cacheKey(b signing.Batch, i int) string {
	return fmt.Sprintf("%s %v %s %x", b.Key.ID(), b.Form, b.Hash, b.Digests[i])
}

func (c *mapCache) Get(ctx context.Context, b signing.Batch) [][]byte {
	c.mu.Lock()
	found := make([][]byte, len(b.Digests))
	for i := range found {
		found[i] = c.has[cacheKey(b, i)]
	}
	c.asked += len(found)
	c.mu.Unlock()
	if c.get != nil {
		return c.get(ctx, b, found)
	}
	return found
}

func (c *mapCache) Put(ctx context.Context, b signing.Batch, signatures, refused [][]byte) [][]byte {
	c.mu.Lock()
	kept := make([][]byte, len(signatures))
	for i, signature := range signatures {
		at := cacheKey(b, i)
		if refused[i] != nil {
			c.refused++
		}
		if has := c.has[at]; has == nil || bytes.Equal(has, refused[i]) {
			c.has[at] = signature
		}
		kept[i] = c.has[at]
	}
	c.mu.Unlock()
	if c.put != nil {
		return c.put(ctx, b, kept)
	}
	return kept
}

func (c *mapCache) size() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.has)
}

// random makes ECDSA signatures that differ from run to run, as tokens do.
func (k key) random() ima.Signer {
	return signerFunc(func(_ context.Context, _ ima.Form, _ ima.HashID, digests [][]byte) (sigs [][]byte, err error) {
		for _, digest := range digests {
			sig, err := ecdsa.SignASN1(rand.Reader, k.private.(*ecdsa.PrivateKey), digest)
			if err != nil {
				return nil, err
			}
			sigs = append(sigs, sig)
		}
		return sigs, nil
	})
}

// cachedEngine returns an engine that signs with random signatures, and its signer.
func (k key) cachedEngine(t *testing.T, caches ...signing.Cache) (*signing.Engine, *countingSigner) {
	t.Helper()
	s := &countingSigner{Signer: k.random()}
	return k.engine(t, signing.Options{Stages: []signing.Stage{signing.ContentStage(&signing.Key{Signer: s, Caches: caches}, 0)}}), s
}

// valid returns the values of a plan's records by path, and checks each.
func (k key) valid(t *testing.T, p *signing.Plan) map[string]string {
	t.Helper()
	values := map[string]string{}
	for _, r := range records(t, p) {
		value := r.Final(ima.XattrIMA)
		if err := k.verify(value, r.Digests[0].Hash, r.Digests[0].Sum); err != nil {
			t.Fatalf("%s: %v", r.Path, err)
		}
		values[r.Path] = string(value)
	}
	return values
}

func linked(n int) (list []signing.Entry) {
	for i := range n {
		a, b := file(fmt.Sprintf("link%03d", i), fmt.Sprint("linked ", i)), file(fmt.Sprintf("link%03d-b", i), "")
		a.Group, b.Group = a.Path, a.Path
		list = append(list, a, b)
	}
	return list
}

// TestSecondRunAsksTheCacheAlone checks that the second run gives the same values, although
// the key's signatures are random, and how it counts them.
func TestSecondRunAsksTheCacheAlone(t *testing.T) {
	noGoroutinesLeft(t)
	k, c := newKey(t), newCache()
	list := append(many(1000, 700), linked(30)...)
	first, s := k.cachedEngine(t, c)
	p := plan(t, first, list...)
	want := k.valid(t, p)
	if n := p.Counts(); n.Signed != 1030 || n.Cached != 0 || n.Links != 30 || s.digests.Load() != 730 || c.size() != 730 {
		t.Errorf("first: %+v, %d made, %d kept", n, s.digests.Load(), c.size())
	}
	second, s := k.cachedEngine(t, c)
	p = plan(t, second, list...)
	if got := k.valid(t, p); !maps.Equal(got, want) {
		t.Error("the values of the second run differ")
	}
	if n := p.Counts(); n.Signed != 1030 || n.Cached != 1030 || n.Links != 30 || s.digests.Load() != 0 {
		t.Errorf("second: %+v, %d made", n, s.digests.Load())
	}
	list = append(list, file("new", "new"), file("old", "content 1"))
	p = plan(t, second, list...) // the memo has the old signatures
	if n := p.Counts(); n.Signed != 1032 || n.Cached != 1031 || s.digests.Load() != 1 {
		t.Errorf("third: %+v, %d made", n, s.digests.Load())
	}
	k.valid(t, p)
}

// TestCachesThatAnswerWrongly checks that no wrong answer is attached, and that each is given
// back, to be replaced.
func TestCachesThatAnswerWrongly(t *testing.T) {
	k, other := newKey(t), newKey(t)
	raw := func(value []byte) []byte {
		v, err := ima.Parse(value)
		check(t, err)
		return v.Signature
	}
	each := func(make func(digest []byte) []byte) func(context.Context, signing.Batch, [][]byte) [][]byte {
		return func(_ context.Context, b signing.Batch, found [][]byte) [][]byte {
			for i := range found {
				found[i] = make(b.Digests[i])
			}
			return found
		}
	}
	v2 := ima.ContentSignature()
	answers := map[string]func(context.Context, signing.Batch, [][]byte) [][]byte{
		"nothing": func(context.Context, signing.Batch, [][]byte) [][]byte { return nil },
		"too few": func(_ context.Context, _ signing.Batch, found [][]byte) [][]byte { return found[:len(found)/2] },
		"too many": func(_ context.Context, _ signing.Batch, found [][]byte) [][]byte {
			return append(found, []byte("x"), nil)
		},
		"empty": each(func([]byte) []byte { return []byte{} }),
	}
	poison := map[string]func(context.Context, signing.Batch, [][]byte) [][]byte{
		"garbage":            each(func([]byte) []byte { return []byte("garbage") }),
		"long garbage":       each(func([]byte) []byte { return make([]byte, 1<<17) }),
		"a whole value":      each(func(digest []byte) []byte { return k.made(t, v2, digest) }),
		"with a byte more":   each(func(digest []byte) []byte { return append(raw(k.made(t, v2, digest)), 0) }),
		"another key's":      each(func(digest []byte) []byte { return raw(other.made(t, v2, digest)) }),
		"of another digest":  each(func([]byte) []byte { return raw(k.value(t, ima.SHA256, "other")) }),
		"of another hash":    each(func([]byte) []byte { return raw(k.value(t, ima.SHA512, "content 1")) }),
		"of another version": each(func(digest []byte) []byte { return raw(k.made(t, v2.V3(), digest)) }),
		"too many and garbage": func(_ context.Context, _ signing.Batch, found [][]byte) [][]byte {
			return slices.Repeat([][]byte{{1}}, len(found)+3)
		},
	}
	maps.Copy(answers, poison)
	for name, get := range answers {
		noGoroutinesLeft(t)
		c := newCache()
		c.get = get
		e, s := k.cachedEngine(t, c)
		p := plan(t, e, many(300, 300)...)
		k.valid(t, p)
		if n := p.Counts(); n.Signed != 300 || n.Cached != 0 || s.digests.Load() != 300 {
			t.Errorf("%s: %+v, %d made", name, n, s.digests.Load())
		}
		want := 0
		if poison[name] != nil {
			want = 300
		}
		if c.refused != want || c.size() != 300 {
			t.Errorf("%s: %d signatures refused, %d kept", name, c.refused, c.size())
		}
	}
}

// TestPoisonIsReplaced changes entries of a cache. The next run repairs them, and the one
// after it makes nothing.
func TestPoisonIsReplaced(t *testing.T) {
	k, c := newKey(t), newCache()
	list := many(500, 500)
	e, _ := k.cachedEngine(t, c)
	plan(t, e, list...)
	damaged := 0
	for at, signature := range c.has {
		if damaged++; damaged <= 100 {
			c.has[at] = bytes.Clone(signature)
			c.has[at][len(signature)-1] ^= 1
		}
	}
	for run, made := range []int64{100, 0} {
		e, s := k.cachedEngine(t, c)
		p := plan(t, e, list...)
		k.valid(t, p)
		if n := p.Counts(); s.digests.Load() != made || n.Cached != 500-made || c.refused != 100 {
			t.Errorf("run %d: %d made, %+v, %d refused", run, s.digests.Load(), n, c.refused)
		}
	}
}

// TestSeveralCaches checks that a signature that a later cache has is stored in the earlier
// ones, in which it replaces what was refused.
func TestSeveralCaches(t *testing.T) {
	k := newKey(t)
	near, far := newCache(), newCache()
	list := many(300, 300)
	e, _ := k.cachedEngine(t, far)
	want := k.valid(t, plan(t, e, list...))
	for at := range far.has {
		if len(near.has) < 50 {
			near.has[at] = []byte("poison")
		}
	}
	e, s := k.cachedEngine(t, near, far)
	p := plan(t, e, list...)
	if got := k.valid(t, p); !maps.Equal(got, want) || s.calls.Load() != 0 || p.Counts().Cached != 300 {
		t.Errorf("the later cache was not used: %d made, %+v", s.digests.Load(), p.Counts())
	}
	if near.refused != 50 || far.refused != 0 || !maps.EqualFunc(near.has, far.has, bytes.Equal) {
		t.Errorf("%d and %d refused; the caches have %d and %d", near.refused, far.refused, near.size(), far.size())
	}
	far.asked = 0
	for at := range far.has {
		far.has[at] = []byte("poison") // which the run does not look at
	}
	e, s = k.cachedEngine(t, near, far)
	if got := k.valid(t, plan(t, e, append(list, file("new", "new"))...)); got["f000001"] != want["f000001"] || s.digests.Load() != 1 || far.asked != 1 {
		t.Errorf("%d made, the later cache was asked for %d", s.digests.Load(), far.asked)
	}
	if near.size() != 301 || far.size() != 301 {
		t.Errorf("a new signature: the caches have %d and %d", near.size(), far.size())
	}
	empty := newCache()
	e, _ = k.cachedEngine(t, empty, far)
	k.valid(t, plan(t, e, append(list, file("new", "new"))...))
	if empty.refused != 0 || far.refused != 300 || !maps.EqualFunc(empty.has, far.has, bytes.Equal) {
		t.Errorf("poison in the second: %d and %d refused", empty.refused, far.refused)
	}
}

// TestPutDecides checks which signature an entry gets if other processes store others while
// this one signs.
func TestPutDecides(t *testing.T) {
	k, other := newKey(t), newKey(t)
	digest := [][]byte{sum(ima.SHA256, "x")}
	sign := func(k key) []byte {
		sigs, err := k.random().Sign(t.Context(), ima.ContentSignature(), ima.SHA256, digest)
		check(t, err)
		return sigs[0]
	}
	one, two, wrong := sign(k), sign(k), sign(other)
	for name, c := range map[string]struct {
		kept [][][]byte // by each cache
		want []byte     // nil for the run's own
	}{
		"another's":              {[][][]byte{{one}}, one},
		"two caches":             {[][][]byte{{one}, {two}}, one},
		"the second":             {[][][]byte{{nil}, {two}}, two},
		"invalid":                {[][][]byte{{wrong}}, nil},
		"invalid, then valid":    {[][][]byte{{wrong}, {two}}, two},
		"nothing":                {[][][]byte{nil}, nil},
		"garbage":                {[][][]byte{{[]byte("x"), nil, []byte("y")}}, nil},
		"empty":                  {[][][]byte{{{}}}, nil},
		"more than was asked of": {[][][]byte{{one, wrong, two}}, one},
	} {
		var caches []signing.Cache
		for _, kept := range c.kept {
			cache := newCache()
			cache.put = func(context.Context, signing.Batch, [][]byte) [][]byte { return kept }
			caches = append(caches, cache)
		}
		e, _ := k.cachedEngine(t, caches...)
		p := plan(t, e, file("f", "x"))
		v, err := ima.Parse([]byte(k.valid(t, p)["f"]))
		check(t, err)
		if own := !bytes.Equal(v.Signature, one) && !bytes.Equal(v.Signature, two); own != (c.want == nil) || !own && !bytes.Equal(v.Signature, c.want) {
			t.Errorf("%s: signature %x", name, v.Signature)
		}
		if n := p.Counts(); n.Cached != 0 {
			t.Errorf("%s: %+v", name, n)
		}
	}
	// The first cache keeps this run's own signature, so the second one does not decide.
	near, far := newCache(), newCache()
	far.put = func(context.Context, signing.Batch, [][]byte) [][]byte { return [][]byte{two} }
	e, _ := k.cachedEngine(t, near, far)
	value := k.valid(t, plan(t, e, file("f", "x")))["f"]
	for _, kept := range near.has {
		if !strings.HasSuffix(value, string(kept)) {
			t.Error("the value is not that of the first cache")
		}
	}
}

// TestCachesMakeNoExceptions checks that caches with valid signatures change no refusal: of
// versions that the key is not for, and of weak hashes.
func TestCachesMakeNoExceptions(t *testing.T) {
	k := newKey(t).purposed(t, ima.ForV2)
	for name, c := range map[string]struct {
		stage signing.Stage
		entry signing.Entry
		want  error
	}{
		"purpose": {signing.ContentStage(&signing.Key{}, 0).V3(), file("f", "x"), ima.ErrPurpose},
		"SHA-1":   {signing.ContentStage(&signing.Key{}, 0), stated("f", ima.SHA1, "x"), ima.ErrSHA1},
	} {
		v, err := ima.Parse(k.made(t, ima.ContentSignature().V3(), sum(ima.SHA256, "x")))
		check(t, err)
		var texts []string
		for _, caches := range [][]signing.Cache{nil, {newCache()}} {
			if caches != nil {
				caches[0].(*mapCache).get = func(context.Context, signing.Batch, [][]byte) [][]byte { return [][]byte{v.Signature} }
			}
			c.stage.Key.Caches = caches
			_, err := k.engine(t, signing.Options{Stages: []signing.Stage{c.stage}}).Plan(t.Context(), source(c.entry))
			if !errors.Is(err, c.want) {
				t.Errorf("%s: got %v", name, err)
			}
			texts = append(texts, fmt.Sprint(err))
		}
		if texts[0] != texts[1] {
			t.Errorf("%s: with a cache %q, without %q", name, texts[1], texts[0])
		}
	}
}

// TestCachedOfTwoStages checks that an entry counts as cached only if all of its signatures
// are, and that each key asks its own caches.
func TestCachedOfTwoStages(t *testing.T) {
	first, second := newKey(t), newKey(t)
	one, two := newCache(), newCache()
	list := append(many(200, 200), linked(5)...)
	run := func(caches ...signing.Cache) (*signing.Plan, *countingSigner) {
		s := &countingSigner{Signer: second.random()}
		return plan(t, engine(t, signing.Options{Stages: []signing.Stage{
			signing.ContentStage(&signing.Key{Signer: first.random(), Public: first.public, Caches: []signing.Cache{one}}, 0),
			toyStage(&signing.Key{Signer: s, Public: second.public, Caches: caches}),
		}}), list...), s
	}
	for i, c := range []struct {
		caches       []signing.Cache
		cached, made int64
	}{{nil, 0, 205}, {nil, 0, 205}, {[]signing.Cache{two}, 0, 205}, {[]signing.Cache{two}, 205, 0}} {
		p, s := run(c.caches...)
		if n := p.Counts(); n.Signed != 205 || n.Cached != c.cached || s.digests.Load() != c.made {
			t.Errorf("run %d: %+v, %d made", i, n, s.digests.Load())
		}
	}
	if one.size() != 205 || two.size() != 205 {
		t.Errorf("the caches have %d and %d signatures", one.size(), two.size())
	}
}

// TestInterruptedRunKeepsItsSignatures cancels a run while its key signs.
func TestInterruptedRunKeepsItsSignatures(t *testing.T) {
	noGoroutinesLeft(t)
	k, c := newKey(t), newCache()
	ctx, cancel := context.WithCancel(t.Context())
	c.put = func(ctx context.Context, _ signing.Batch, kept [][]byte) [][]byte {
		if ctx.Err() != nil {
			t.Error("signatures are stored with a context that has ended")
		}
		return kept
	}
	made := 0
	s := signerFunc(func(ctx context.Context, f ima.Form, h ima.HashID, digests [][]byte) ([][]byte, error) {
		if made += len(digests); made >= 40 {
			cancel()
		}
		return k.random().Sign(ctx, f, h, digests)
	})
	stage := signing.ContentStage(&signing.Key{Signer: s, Workers: 1, Batch: 8, Caches: []signing.Cache{c}}, 0)
	if _, err := k.engine(t, signing.Options{Stages: []signing.Stage{stage}}).Plan(ctx, source(many(500, 500)...)); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	if made < 40 || made >= 500 || c.size() != made {
		t.Errorf("%d signatures were made, %d kept", made, c.size())
	}
	e, counting := k.cachedEngine(t, c)
	p := plan(t, e, many(500, 500)...)
	k.valid(t, p)
	if n := counting.digests.Load(); n != int64(500-made) {
		t.Errorf("the next run made %d signatures, after %d", n, made)
	}
}

// TestEndedPlansAreNotLookedFor cancels a plan before its signatures were looked for. The next
// plan must not look for them.
func TestEndedPlansAreNotLookedFor(t *testing.T) {
	k, c := newKey(t), newCache()
	e, s := k.cachedEngine(t, c)
	ctx, cancel := context.WithCancel(t.Context())
	list := many(50, 50)
	list[49].Open = func(ctx context.Context) (*signing.File, error) {
		cancel()
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if _, err := e.Plan(ctx, source(list...)); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if c.asked != 0 { // the plan did not wait for anything
		t.Fatalf("%d digests were looked for", c.asked)
	}
	k.valid(t, plan(t, e, file("f", "x")))
	if c.asked != 1 || s.digests.Load() != 1 {
		t.Errorf("%d digests were looked for, %d signed", c.asked, s.digests.Load())
	}
}
