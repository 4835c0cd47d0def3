package rpmsign

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/pkg/signing"
)

// first selects the first n files.
type first struct {
	signing.Source

	n int
}

func (f first) Entries(ctx context.Context) iter.Seq2[signing.Entry, error] {
	return func(yield func(signing.Entry, error) bool) {
		i := 0
		for e, err := range f.Source.Entries(ctx) {
			if i++; i > f.n {
				e.Reason = "not selected"
			}
			if !yield(e, err) {
				return
			}
		}
	}
}

func firstOf(n int) func(signing.Source) signing.Source {
	return func(s signing.Source) signing.Source { return first{s, n} }
}

// TestHeaderBudget compares the numbers in the error with what can be signed, for the
// signatures of P-256, RSA-2048 and ML-DSA keys and the limits of all versions of rpm.
func TestHeaderBudget(t *testing.T) {
	for _, limit := range []uint32{limit8K, limit64K, limit64M} {
		for _, longest := range []int{81, 265, 2429, 3318, 4636} {
			if limit == limit64M && longest < 4636 {
				continue // too many files for a test
			}
			p := mustParse(t, large(t, int(limit)/(2*longest)+50))
			p.options.MaxHeader = limit
			err := p.Signable(t.Context(), longest, nil)
			var room, all, most, size int
			_, after, _ := strings.Cut(fmt.Sprint(err), "there is room for ")
			if _, scan := fmt.Sscanf(after, "%d signatures of %d bytes, or for all %d if they have at most %d bytes", &room, &size, &all, &most); scan != nil || !errors.Is(err, ErrHeaderLimit) {
				t.Fatalf("%v, %v", scan, err)
			}
			if size != longest || all != len(p.files) {
				t.Errorf("%v", err)
			}
			for n, want := range map[int]error{room: nil, room + 1: ErrHeaderLimit} {
				if err := p.Signable(t.Context(), longest, firstOf(n)); !errors.Is(err, want) {
					t.Errorf("%d of %d bytes: %v", n, longest, err)
				}
				values := make([][]byte, len(p.files))
				for i := range n {
					values[i] = make([]byte, longest)
				}
				if _, err := p.rebuilt(fileSignatureValues(values), fileSignatureTags()); !errors.Is(err, want) {
					t.Errorf("%d of %d bytes are written: %v", n, longest, err)
				}
			}
			for n, want := range map[int]error{most: nil, most + 1: ErrHeaderLimit} {
				if err := p.Signable(t.Context(), n, nil); !errors.Is(err, want) {
					t.Errorf("all of %d bytes: %v", n, err)
				}
			}
		}
	}
}

// TestHeaderBudgetOfOthers counts the signatures that the other files keep.
func TestHeaderBudgetOfOthers(t *testing.T) {
	path := put(t, large(t, 20))
	run(t, signer(t, "rsa2048"), path) // 20 * 530 bytes
	p, err := Open(path, Options{MaxHeader: 20 * 530})
	check(t, err)
	defer p.Close()
	if err := p.Signable(t.Context(), 265, firstOf(1)); !errors.Is(err, ErrHeaderLimit) {
		t.Errorf("with signatures that stay: %v", err)
	}
	p.options.MaxHeader += 8 << 10
	check(t, p.Signable(t.Context(), 265, firstOf(1)))
	check(t, p.Signable(t.Context(), 265, nil))
}

// TestHeaderBudgetAllocates checks that a package with very many files takes no memory for
// its signatures.
func TestHeaderBudgetAllocates(t *testing.T) {
	p := mustParse(t, large(t, 100))
	if err := p.Signable(t.Context(), 1<<40, nil); !errors.Is(err, ErrHeaderLimit) {
		t.Error(err)
	}
}
