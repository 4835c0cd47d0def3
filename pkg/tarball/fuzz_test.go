package tarball

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

// FuzzArchive checks that no input panics or allocates memory by a number that it declares.
// Accepted input can be signed and then verifies, and archive/tar reads the same content
// before and after, except the signatures.
func FuzzArchive(f *testing.F) {
	for _, text := range archives(f) {
		f.Add(text)
		f.Add(text[:len(text)/2])
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		out, _, err := rewritten(text, testEngine(t, 7, true).Plan)
		if err != nil {
			for _, known := range []error{ErrFormat, ErrAmbiguous, ErrTruncated, ErrTooLarge} {
				if errors.Is(err, known) {
					return
				}
			}
			t.Fatalf("refused without a known reason: %v", err)
		}
		for _, line := range verdicts(t, out) {
			if !strings.HasSuffix(line, " ok") {
				t.Errorf("signed, %q", line)
			}
		}
		if again := signed(t, out); !bytes.Equal(again, out) {
			t.Error("signing again changes it")
		}
		// Sign and strip twice: the first time changes headers that other programs wrote.
		plain := stripped(t, signed(t, stripped(t, out)))
		if !bytes.Equal(stripped(t, signed(t, plain)), plain) {
			t.Error("signing and stripping changes an archive")
		}
		before, err := contents(text)
		if err != nil {
			return // archive/tar refuses what this package accepts
		}
		if after, err := contents(out); err != nil || after != before {
			t.Errorf("archive/tar reads (%v)\n%s\nbefore it read\n%s", err, after, before)
		}
	})
}
