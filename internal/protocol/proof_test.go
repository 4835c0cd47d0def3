package protocol

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// proofOf returns the proof of record i of n, and the key of its log.
func proofOf(t testing.TB, n, i int64) (*Proof, note.Verifier) {
	t.Helper()
	secret, public, err := note.GenerateKey(nil, "example.org/log")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner(secret)
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := note.NewVerifier(public)
	if err != nil {
		t.Fatal(err)
	}
	var stored []tlog.Hash
	reader := tlog.HashReaderFunc(func(at []int64) ([]tlog.Hash, error) {
		var hashes []tlog.Hash
		for _, k := range at {
			hashes = append(hashes, stored[k])
		}
		return hashes, nil
	})
	for k := range n {
		more, err := tlog.StoredHashes(k, fmt.Appendf(nil, "record %d", k), reader)
		if err != nil {
			t.Fatal(err)
		}
		stored = append(stored, more...)
	}
	root, err := tlog.TreeHash(n, reader)
	if err != nil {
		t.Fatal(err)
	}
	hashes, err := tlog.ProveRecord(n, i, reader)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := note.Sign(&note.Note{Text: Checkpoint{Origin: "example.org/log", Size: n, Root: root}.Text()}, signer)
	if err != nil {
		t.Fatal(err)
	}
	return &Proof{Index: i, Hashes: hashes, Checkpoint: signed}, verifier
}

func TestProof(t *testing.T) {
	for n := int64(1); n < 20; n++ {
		for i := range n {
			made, key := proofOf(t, n, i)
			p, err := ParseProof(made.Text())
			if err != nil {
				t.Fatal(err)
			}
			if c, err := p.Check(fmt.Appendf(nil, "record %d", i), key); err != nil || c.Size != n {
				t.Errorf("record %d of %d: %+v, %v", i, n, c, err)
			}
			if _, err := p.Check([]byte("another"), key); !errors.Is(err, ErrSignature) {
				t.Errorf("another record: %v", err)
			}
		}
	}
}

// TestProofDamage changes each byte of a proof.
func TestProofDamage(t *testing.T) {
	made, key := proofOf(t, 11, 4)
	text := made.Text()
	for i := range text {
		if i == len(text)-len("A=\n") { // 68 bytes leave two bits of this digit unused, which package note ignores
			continue
		}
		damaged := text[:i] + string(text[i]^1) + text[i+1:]
		p, err := ParseProof(damaged)
		if err == nil {
			_, err = p.Check([]byte("record 4"), key)
		}
		if !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrSignature) {
			t.Errorf("byte %d: %v", i, err)
		}
	}
}

// TestProofLayout compares with the example of the C2SP specification.
func TestProofLayout(t *testing.T) {
	made, _ := proofOf(t, 3, 2)
	lines := strings.Split(made.Text(), "\n")
	if lines[0] != "c2sp.org/tlog-proof@v1" || lines[1] != "index 2" || len(lines[2]) != 44 || lines[3] != "" || lines[4] != "example.org/log" || lines[5] != "3" || !strings.HasPrefix(lines[8], "— example.org/log ") {
		t.Errorf("%q", lines)
	}
}

func FuzzParseProof(f *testing.F) {
	for _, n := range []int64{1, 2, 11} {
		made, _ := proofOf(f, n, n-1)
		f.Add(made.Text())
	}
	f.Add("c2sp.org/tlog-proof@v1\nindex 0\n\n")
	f.Add("c2sp.org/tlog-proof@v1\nextra AAAA\nindex 0\n\nx\n1\n")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := ParseProof(text)
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Error(err)
			}
			return
		}
		if p.Text() != text {
			t.Errorf("%q is read as %q", text, p.Text())
		}
		_, key := proofOf(t, 1, 0)
		if _, err := p.Check(nil, key); err == nil {
			t.Error("a proof by an unknown key")
		}
	})
}
