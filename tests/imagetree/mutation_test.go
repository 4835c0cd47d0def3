package imagetree

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
)

// TestMutations checks that a seed always makes the same image, that nearly all seeds make
// another one, and that reading in pieces does not matter.
func TestMutations(t *testing.T) {
	base := random("image", 10_000)
	clear(base[5000:6000])
	images := map[string]bool{}
	for seed := range uint64(200) {
		m := NewMutation(base, seed)
		whole := make([]byte, m.Size)
		if n, err := m.ReadAt(whole, 0); n != len(whole) || err != nil && !errors.Is(err, io.EOF) {
			t.Fatalf("mutation %d: %d bytes, %v", seed, n, err)
		}
		images[string(whole)] = true
		pieces := make([]byte, m.Size)
		for at := 0; at < len(pieces); {
			n := min(len(pieces)-at, 1+rand.IntN(50))
			_, _ = m.ReadAt(pieces[at:at+n], int64(at)) // compared below
			at += n
		}
		if !bytes.Equal(whole, pieces) {
			t.Errorf("mutation %d: other bytes when it is read in pieces", seed)
		}
		if again := NewMutation(base, seed); fmt.Sprint(again) != fmt.Sprint(m) {
			t.Errorf("mutation %d: %s, then %s", seed, m, again)
		}
	}
	if len(images) < 190 {
		t.Errorf("only %d images", len(images))
	}
}
