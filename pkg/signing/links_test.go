package signing_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/signing"
)

// TestLinksOfSeveralStages is for -race: the names of a hard link share a decision that
// the stages are still changing.
func TestLinksOfSeveralStages(t *testing.T) {
	first, second := newKey(t), newKey(t)
	e := engine(t, signing.Options{Stages: []signing.Stage{
		signing.ContentStage(&signing.Key{Signer: first.signer(), Public: first.public}, 0),
		brittle(toyStage(&signing.Key{Signer: second.signer(), Public: second.public})),
	}})
	stale := first.value(t, ima.SHA256, "stale")
	pairs := func(n int) (list []signing.Entry) {
		for i := range n {
			group := fmt.Sprintf("f%05d", i)
			a, b := file(group, fmt.Sprint(i)), file(group+"-link", "", stale)
			a.Group, b.Group = group, group
			list = append(list, a, b)
		}
		return list
	}
	p := plan(t, e, pairs(1500)...)
	if n := p.Counts(); n.Signed != 1500 || n.Links != 1500 {
		t.Errorf("%+v", n)
	}
	list := pairs(1500)
	for i := 2; i < len(list); i += 100 {
		list[i].Mode = brittleMode
	}
	_, err := e.Plan(context.Background(), source(list...))
	for _, err := range all(err) {
		if !errors.Is(err, errBroken) {
			t.Errorf("got %v", err)
		}
	}
	if !errors.Is(err, errBroken) || strings.Contains(err.Error(), "link") {
		t.Errorf("got %v", err)
	}
}

func all(err error) []error {
	var errs *signing.Errors
	if errors.As(err, &errs) {
		return errs.List
	}
	return []error{err}
}

// TestDryRunOfSeveralStages checks that a signature over another signature is planned
// although neither is made.
func TestDryRunOfSeveralStages(t *testing.T) {
	e := engine(t, signing.Options{Stages: []signing.Stage{signing.ContentStage(nil, 0), toyStage(nil)}})
	p := plan(t, e, file("a", "x"))
	r := records(t, p)[0]
	if len(r.Values) != 2 || r.Values[1].Status != signing.Signed || !errors.Is(p.Attachable(), signing.ErrUnsignedPlan) {
		t.Errorf("%+v", r.Values)
	}
}

const brittleMode = 0o123

// brittle makes a stage fail for files of brittleMode.
func brittle(s signing.Stage) signing.Stage {
	digest := s.Digest
	s.Digest = func(h ima.HashID, e *signing.Entry, before []signing.Value) ([]byte, error) {
		if e.Mode == brittleMode {
			return nil, errBroken
		}
		return digest(h, e, before)
	}
	return s
}

// TestALinkOfItsOwnPath checks that a path that repeats as a hard link of itself counts as
// a further name.
func TestALinkOfItsOwnPath(t *testing.T) {
	a := file("a", "x")
	a.Group = "a"
	p := plan(t, newKey(t).engine(t, signing.Options{}), a, a)
	if n := p.Counts(); n.Signed != 1 || n.Links != 1 {
		t.Errorf("%+v", n)
	}
	if r := records(t, p)[1]; r.Pending() || r.Same != "a" {
		t.Errorf("%+v", r)
	}
}

// TestPlansWithSeveralKeysFail is for -race: plans fail while both keys have work.
func TestPlansWithSeveralKeysFail(t *testing.T) {
	noGoroutinesLeft(t)
	first, second := newKey(t), newKey(t)
	e := engine(t, signing.Options{Stages: []signing.Stage{
		signing.ContentStage(&signing.Key{Signer: first.signer(), Public: first.public, Workers: 2}, 0),
		toyStage(&signing.Key{Signer: second.signer(), Public: second.public, Workers: 2}),
	}})
	var plans sync.WaitGroup
	for i := range 100 {
		plans.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Duration(i)*time.Millisecond)
			defer cancel()
			if p, err := e.Plan(ctx, source(many(800, 800)...)); err == nil {
				_ = p.Close()
			} else if !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
		})
	}
	plans.Wait()
}

// TestAsManyBatchesAsSigners checks that a key with many signers, such as a service, gets
// a full batch for each of them at the same time.
func TestAsManyBatchesAsSigners(t *testing.T) {
	const signers, batch = 32, 128
	k := newKey(t)
	var busy sync.WaitGroup
	busy.Add(signers)
	met := make(chan int, 1000)
	s := signerFunc(func(ctx context.Context, f ima.Form, h ima.HashID, digests [][]byte) ([][]byte, error) {
		if met <- len(digests); len(digests) == batch {
			wait, all := context.WithTimeout(ctx, 30*time.Second)
			go func() { busy.Done(); busy.Wait(); all() }()
			<-wait.Done()
			if wait.Err() != context.Canceled {
				return nil, errors.New("others wait for this batch")
			}
		}
		return k.signer().Sign(ctx, f, h, digests)
	})
	e := k.engine(t, signing.Options{Stages: []signing.Stage{signing.ContentStage(&signing.Key{Signer: s, Workers: signers}, 0)}})
	p, err := e.Plan(context.Background(), source(many(signers*batch, signers*batch)...))
	check(t, err)
	check(t, p.Close())
	if n := len(met); n != signers {
		t.Errorf("%d batches for %d signers", n, signers)
	}
}

// TestWarningsOfAPlanThatFails checks that there are warnings even if another file fails.
func TestWarningsOfAPlanThatFails(t *testing.T) {
	covered := file("a", "x")
	covered.Xattrs = map[string][]byte{ima.XattrEVM: {5}}
	var warned string
	e := newKey(t).engine(t, signing.Options{Observe: signing.NewObserver(func(e signing.Event) { warned += e.Message })})
	_, err := e.Plan(context.Background(), source(covered, failing("b", errBroken)))
	if !errors.Is(err, errBroken) || !strings.Contains(warned, "security.evm") {
		t.Errorf("%v, warned of %q", err, warned)
	}
}
