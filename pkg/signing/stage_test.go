package signing_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/signing"
)

// toyStage shows everything that a new form needs. It is a signature in another xattr,
// over the mode and over the security.ima of the stage before.
func toyStage(k *signing.Key) signing.Stage {
	toy := ima.Form{Xattr: "security.toy", Type: ima.TypeSignature, Version: 2, Over: ima.Metadata}
	return signing.Stage{
		Xattr: toy.Xattr, Key: k,
		Form: func(e *signing.Entry, _ []signing.Value) (ima.Form, bool) { return toy, !e.HashOnly },
		Digest: func(h ima.HashID, e *signing.Entry, before []signing.Value) ([]byte, error) {
			if len(before) == 0 || before[0].Bytes == nil {
				return nil, errors.New("nothing is signed yet")
			}
			return sum(h, fmt.Sprintf("%o %x", e.Mode, before[0].Bytes)), nil
		},
	}
}

// TestAnotherForm uses a toy form in a second stage, with the same key and with another
// key. It signs, verifies, replaces both values, and strips them.
func TestAnotherForm(t *testing.T) {
	first, second := newKey(t), newKey(t)
	counting := &countingSigner{Signer: first.signer()}
	one := &signing.Key{Signer: counting, Public: first.public}
	for name, two := range map[string]*signing.Key{"same key": one, "two keys": {Signer: second.signer(), Public: second.public}} {
		e := engine(t, signing.Options{Stages: []signing.Stage{signing.ContentStage(one, 0), toyStage(two)}})
		list := append(many(2000, 1500), file("hashed", "h"), signing.Entry{Path: "z", Reason: "directory"})
		list[2000].HashOnly = true
		for i, r := range records(t, plan(t, e, list...)) {
			if want := map[bool]int{true: 2, false: 0}[i < 2000]; i != 2000 && len(r.Values) != want {
				t.Fatalf("%s: %s: %d values", name, r.Path, len(r.Values))
			}
			if i == 2000 && (r.Status() != signing.Hashed || len(r.Values) != 1) {
				t.Errorf("%s: %s: %+v", name, r.Path, r.Values)
			}
			list[i].Xattrs = r.ByXattr()
		}
		for _, v := range verdicts(t, e, source(list...), ring(first, second), nil) {
			if v.Outcome.Wrong() {
				t.Fatalf("%s: %s: %v", name, v.Path, v.Err)
			}
		}
		if p := plan(t, e, list...); p.Counts().Pending() != 0 || p.Counts().Unchanged != 2001 {
			t.Errorf("%s: signed again: %+v", name, p.Counts())
		}
		changeBoth(t, name, e, list[0], ring(first, second))
	}
}

// changeBoth changes the mode, which the second value covers, and later strips both values.
func changeBoth(t *testing.T, name string, e *signing.Engine, entry signing.Entry, trusted *ima.Keyring) {
	t.Helper()
	entry.Mode = 0o700
	v := verdicts(t, e, source(entry), trusted, nil)[0]
	if v.Outcome != signing.Bad || len(v.Values) != 2 || v.Values[0].Outcome != signing.OK || v.Form.Xattr != "security.toy" {
		t.Errorf("%s: after a chmod: %+v", name, v.Judged)
	}
	r := one(t, e, entry)
	if r.Values[0].Status != signing.Unchanged || r.Values[1].Status != signing.Signed || r.Status() != signing.Signed {
		t.Errorf("%s: after a chmod: %+v", name, r.Values)
	}
	stripped, err := e.Strip(context.Background(), source(entry))
	check(t, err)
	defer stripped.Close()
	if r := records(t, stripped)[0]; len(r.Changes()) != 2 || r.Final("security.toy") != nil || r.Final(ima.XattrIMA) != nil {
		t.Errorf("%s: stripped: %+v", name, r.Values)
	}
	m, want := indexOf(t, plan(t, e, entry), "tree"), one(t, e, entry)
	if line, _, err := m.Find(entry.Path, 0); err != nil || len(line.Xattrs) != 2 {
		t.Errorf("%s: manifest: %+v, %v", name, line, err)
	}
	bare := entry
	bare.Xattrs = nil
	applied, err := e.Apply(context.Background(), source(bare), signing.Trust{Index: m, Ring: trusted})
	check(t, err)
	defer applied.Close()
	if r := records(t, applied)[0]; len(r.Changes()) != 2 || !bytes.Equal(r.Final("security.toy"), want.Final("security.toy")) {
		t.Errorf("%s: applied: %+v", name, r.Values)
	}
}

// TestBatchesAreSharedByPlans checks that many small plans at the same time need only few
// calls of a slow key.
func TestBatchesAreSharedByPlans(t *testing.T) {
	k := newKey(t)
	var calls, most atomic.Int64
	var opened sync.WaitGroup
	opened.Add(40)
	s := signerFunc(func(ctx context.Context, f ima.Form, h ima.HashID, digests [][]byte) ([][]byte, error) {
		if calls.Add(1) == 1 {
			opened.Wait()
		}
		most.Store(max(most.Load(), int64(len(digests))))
		return k.signer().Sign(ctx, f, h, digests)
	})
	e := k.engine(t, signing.Options{Stages: []signing.Stage{signing.ContentStage(&signing.Key{Signer: s, Workers: 1}, 0)}, Jobs: 1})
	done := make(chan error)
	for i := range 40 {
		entry := file("f", fmt.Sprint(i))
		open := entry.Open
		entry.Open = func(ctx context.Context) (*signing.File, error) {
			opened.Done()
			return open(ctx)
		}
		go func() {
			p, err := e.Plan(context.Background(), source(entry))
			if err == nil {
				err = p.Close()
			}
			done <- err
		}()
	}
	for range 40 {
		check(t, <-done)
	}
	if most.Load() < 2 {
		t.Errorf("%d calls for 40 digests, of at most %d", calls.Load(), most.Load())
	}
}
