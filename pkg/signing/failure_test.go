package signing_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"

	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/signing"
)

// noGoroutinesLeft checks that all goroutines that the test started end.
func noGoroutinesLeft(t *testing.T) {
	t.Helper()
	before := runtime.NumGoroutine()
	t.Cleanup(func() {
		for range 100000 {
			if runtime.NumGoroutine() <= before {
				return
			}
			runtime.Gosched()
		}
		buf := make([]byte, 1<<16)
		t.Errorf("%d goroutines, %d before:\n%s", runtime.NumGoroutine(), before, buf[:runtime.Stack(buf, true)])
	})
}

func failing(path string, err error) signing.Entry {
	e := file(path, "")
	e.Open = func(context.Context) (*signing.File, error) {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return e
}

func TestAllErrorsOfARunAreCollected(t *testing.T) {
	noGoroutinesLeft(t)
	k := newKey(t)
	s := &countingSigner{Signer: k.signer()}
	src := entries{list: many(3000, 3000), errs: map[int]error{}}
	src.errs[3] = fmt.Errorf("%s: %w", src.list[3].Path, errBroken)
	for i := 10; i < 3000; i += 2 {
		src.list[i] = failing(src.list[i].Path, errBroken)
	}
	linked := failing("link", errBroken)
	linked.Group = "link"
	src.list = append(src.list, linked, signing.Entry{Path: "name", Group: "link"})
	for _, run := range []func() error{
		func() error {
			_, err := k.engine(t, signing.Options{Stages: []signing.Stage{signing.ContentStage(&signing.Key{Signer: s}, 0)}}).Plan(context.Background(), src)
			return err
		},
		func() error {
			return k.engine(t, signing.Options{}).Verify(context.Background(), src, signing.Trust{Ring: ring(k)}, func(v signing.Verdict) error {
				if v.Path == "name" {
					t.Errorf("a verdict about a link of an unreadable file: %+v", v)
				}
				return nil
			})
		},
	} {
		var errs *signing.Errors
		if err := run(); !errors.As(err, &errs) || !errors.Is(err, errBroken) {
			t.Fatalf("got %v", err)
		}
		if errs.Total != 1497 || len(errs.List) != 1000 {
			t.Errorf("%d errors, %d kept", errs.Total, len(errs.List))
		}
		if got := errs.List[0].Error() + errs.List[1].Error(); got != "f000003: brokenf000010: broken" {
			t.Errorf("not in order: %s", got)
		}
		if text := errs.Error(); !strings.Contains(text, "1497 files failed") || !strings.Contains(text, "… and 1487 more") || strings.Count(text, "\n") != 11 {
			t.Errorf("text: %s", text)
		}
	}
	if n := s.digests.Load(); n > 128 {
		t.Errorf("%d digests were signed after a failure", n)
	}
	if _, err := k.engine(t, signing.Options{}).Plan(context.Background(), source(failing("f", errBroken))); err.Error() != "f: broken" {
		t.Errorf("a single error: %v", err)
	}
}

func TestReadErrors(t *testing.T) {
	k := newKey(t)
	for name, content := range map[string]io.Reader{
		"broken": io.MultiReader(strings.NewReader("some"), iotest.ErrReader(errBroken)),
		"EOF":    iotest.ErrReader(fmt.Errorf("decompress: %w", io.EOF)), // not the end of the content
	} {
		e := file("f", "")
		e.Open = func(context.Context) (*signing.File, error) {
			return &signing.File{ReadCloser: io.NopCloser(content)}, nil
		}
		if _, err := k.engine(t, signing.Options{}).Plan(context.Background(), source(e)); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	e := file("f", "x")
	e.Open = func(context.Context) (*signing.File, error) {
		return &signing.File{ReadCloser: closeFails{strings.NewReader("x")}}, nil
	}
	for name, err := range map[string]error{
		"plan":   second(k.engine(t, signing.Options{}).Plan(context.Background(), source(e))),
		"strip":  second(k.engine(t, signing.Options{}).Strip(context.Background(), source(e))),
		"verify": k.engine(t, signing.Options{}).Verify(context.Background(), source(e), signing.Trust{Ring: ring(k)}, func(signing.Verdict) error { return nil }),
	} {
		if !errors.Is(err, errBroken) {
			t.Errorf("%s, close: got %v", name, err)
		}
	}
}

func second(_ *signing.Plan, err error) error { return err }

type closeFails struct{ io.Reader }

func (closeFails) Close() error { return errBroken }

func TestAListingThatFailsEndsTheRun(t *testing.T) {
	noGoroutinesLeft(t)
	k := newKey(t)
	src := entries{list: append(many(10, 10), signing.Entry{}), errs: map[int]error{2: errors.New("f000002: also"), 10: errBroken}}
	_, err := k.engine(t, signing.Options{}).Plan(context.Background(), src)
	if !errors.Is(err, errBroken) {
		t.Errorf("got %v", err)
	}
}

// TestInterruptedWorkersDoNotRepeatTheError fails the listing while a worker reads a file.
func TestInterruptedWorkersDoNotRepeatTheError(t *testing.T) {
	k, reads := newKey(t), make(chan struct{})
	e := file("f", "")
	e.Open = func(ctx context.Context) (*signing.File, error) {
		close(reads)
		<-ctx.Done()
		return nil, fmt.Errorf("f: %w", context.Cause(ctx))
	}
	src := sequence(func(yield func(signing.Entry, error) bool) {
		if yield(e, nil) {
			<-reads
			yield(signing.Entry{}, errBroken)
		}
	})
	err := k.engine(t, signing.Options{}).Verify(context.Background(), src, signing.Trust{Ring: ring(k)}, func(signing.Verdict) error { return nil })
	if err == nil || err.Error() != errBroken.Error() {
		t.Errorf("got %v", err)
	}
}

type sequence iter.Seq2[signing.Entry, error]

func (l sequence) Entries(context.Context) iter.Seq2[signing.Entry, error] {
	return iter.Seq2[signing.Entry, error](l)
}

func TestSignersThatFail(t *testing.T) {
	k, other := newKey(t), newKey(t)
	for name, s := range map[string]signerFunc{
		"broken": func(context.Context, ima.Form, ima.HashID, [][]byte) ([][]byte, error) { return nil, errBroken },
		"signatures for": func(ctx context.Context, f ima.Form, h ima.HashID, digests [][]byte) ([][]byte, error) {
			return k.signer().Sign(ctx, f, h, digests[1:])
		},
		"is not valid with key": other.signer().Sign, // another key
		"bad signature": func(_ context.Context, _ ima.Form, _ ima.HashID, digests [][]byte) ([][]byte, error) {
			return make([][]byte, len(digests)), nil
		},
	} {
		noGoroutinesLeft(t)
		p, err := k.engine(t, signing.Options{Stages: []signing.Stage{signing.ContentStage(&signing.Key{Signer: s}, 0)}}).Plan(context.Background(), source(many(2000, 2000)...))
		if p != nil || err == nil || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), "make signatures") {
			t.Errorf("%s: got %v, %v", name, p, err)
		}
	}
}

// TestCancelWhilePlanning cancels the run in each of its phases.
func TestCancelWhilePlanning(t *testing.T) {
	k := newKey(t)
	why := errors.New("the user's wish")
	for name, run := range map[string]func(ctx context.Context, cancel func(error)) error{
		"listing": func(ctx context.Context, cancel func(error)) error {
			return second(k.engine(t, signing.Options{}).Plan(ctx, waiting{cancel}))
		},
		"opening": func(ctx context.Context, cancel func(error)) error {
			list := many(2000, 2000)
			list[1000].Open = func(ctx context.Context) (*signing.File, error) {
				cancel(why)
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return second(k.engine(t, signing.Options{}).Plan(ctx, source(list...)))
		},
		"reading": func(ctx context.Context, cancel func(error)) error {
			e := file("f", "")
			e.Open = func(context.Context) (*signing.File, error) { return &signing.File{ReadCloser: endless{cancel}}, nil }
			return second(k.engine(t, signing.Options{}).Plan(ctx, source(e)))
		},
		"signing": func(ctx context.Context, cancel func(error)) error {
			s := signerFunc(func(ctx context.Context, _ ima.Form, _ ima.HashID, _ [][]byte) ([][]byte, error) {
				cancel(why)
				<-ctx.Done()
				return nil, ctx.Err()
			})
			return second(k.engine(t, signing.Options{Stages: []signing.Stage{signing.ContentStage(&signing.Key{Signer: s, Workers: 1}, 0)}}).Plan(ctx, source(many(2000, 2000)...)))
		},
		"listing to verify": func(ctx context.Context, cancel func(error)) error {
			return k.engine(t, signing.Options{}).Verify(ctx, waiting{cancel}, signing.Trust{Ring: ring(k)}, func(signing.Verdict) error { return nil })
		},
		"verifying": func(ctx context.Context, cancel func(error)) error {
			return k.engine(t, signing.Options{}).Verify(ctx, source(many(2000, 2000)...), signing.Trust{Ring: ring(k)}, func(signing.Verdict) error {
				cancel(why)
				return nil
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			noGoroutinesLeft(t)
			ctx, cancel := context.WithCancelCause(context.Background())
			defer cancel(nil)
			if err := run(ctx, func(error) { cancel(why) }); !errors.Is(err, why) || errors.Is(err, context.Canceled) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// waiting lists one entry, then waits until it is cancelled and returns an error.
type waiting struct{ cancel func(error) }

func (w waiting) Entries(ctx context.Context) iter.Seq2[signing.Entry, error] {
	return func(yield func(signing.Entry, error) bool) {
		if yield(file("f", "x"), nil) {
			w.cancel(nil)
			<-ctx.Done()
			yield(signing.Entry{}, ctx.Err())
		}
	}
}

type endless struct{ cancel func(error) }

func (e endless) Read(b []byte) (int, error) {
	e.cancel(nil)
	return len(b), nil
}

func (endless) Close() error { return nil }

// TestPlansThatShareAnEngine checks that a plan succeeds although it waits for signatures
// of another plan that fails or is cancelled.
func TestPlansThatShareAnEngine(t *testing.T) {
	for _, end := range []string{"cancelled", "signer"} {
		t.Run(end, func(t *testing.T) {
			noGoroutinesLeft(t)
			k := newKey(t)
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			signed := make(chan struct{}, 1000)
			fail := make(chan struct{})
			var calls atomic.Int64
			met := make(chan struct{})
			s := signerFunc(func(ctx context.Context, f ima.Form, h ima.HashID, digests [][]byte) ([][]byte, error) {
				if calls.Add(1) <= 2 { // occupy all signing goroutines with digests of the failing plan
					signed <- struct{}{}
					<-fail
					if end == "cancelled" {
						return nil, ctx.Err()
					}
					return nil, errBroken
				}
				return k.signer().Sign(ctx, f, h, digests)
			})
			e := k.engine(t, signing.Options{Stages: []signing.Stage{signing.ContentStage(&signing.Key{Signer: s, Workers: 2}, 0)}})
			done := make(chan error)
			// Two batches that are being signed, and pending digests.
			shared := many(2*128+60, 2*128+60)
			go func() { done <- second(e.Plan(ctx, source(shared...))) }()
			<-signed
			<-signed
			result := make(chan error)
			go func() {
				own := slices.Clone(shared)
				for i := range 200 {
					own = append(own, file(fmt.Sprintf("own%03d", i), fmt.Sprint("own ", i)))
				}
				last := &own[len(own)-1]
				open := last.Open
				last.Open = func(ctx context.Context) (*signing.File, error) { // all shared entries are digested
					close(met)
					return open(ctx)
				}
				p, err := e.Plan(context.Background(), source(own...))
				if err == nil {
					for r, bad := range p.Records() {
						if bad == nil {
							bad = k.verify(r.Final(ima.XattrIMA), r.Digests[0].Hash, r.Digests[0].Sum)
						}
						err = errors.Join(err, bad)
					}
					err = errors.Join(err, p.Close())
				}
				result <- err
			}()
			<-met
			if end == "cancelled" {
				cancel()
			}
			close(fail)
			if err := <-done; err == nil {
				t.Error("the first plan did not fail")
			}
			if err := <-result; err != nil {
				t.Errorf("the second plan failed too: %v", err)
			}
		})
	}
}

// TestManyPlansAtOnce makes many plans, half of which fail at different points.
func TestManyPlansAtOnce(t *testing.T) {
	noGoroutinesLeft(t)
	k := newKey(t)
	e := k.engine(t, signing.Options{Stages: []signing.Stage{signing.ContentStage(&signing.Key{Workers: 2}, 0)}, Jobs: 2})
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			list := many(200, 200)
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			if i%2 == 1 {
				list[i*10].Open = func(context.Context) (*signing.File, error) {
					if i%4 == 1 {
						cancel()
					}
					return nil, errBroken
				}
			}
			p, err := e.Plan(ctx, source(list...))
			if (err != nil) != (i%2 == 1) {
				t.Errorf("plan %d: %v", i, err)
			}
			if err == nil {
				p.Close()
			}
		})
	}
	wg.Wait()
}
