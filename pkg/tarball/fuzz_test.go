package tarball

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

// FuzzArchive: no input panics or takes memory by a number it declares. What is
// accepted can be signed so that it verifies, and to archive/tar nothing but the
// signatures is new.
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
		// Twice, because the first time sets headers that other programs wrote.
		plain := stripped(t, signed(t, stripped(t, out)))
		if !bytes.Equal(stripped(t, signed(t, plain)), plain) {
			t.Error("an archive that is signed and stripped is not what it was")
		}
		before, err := contents(text)
		if err != nil {
			return // what ours is indulgent about
		}
		if after, err := contents(out); err != nil || after != before {
			t.Errorf("archive/tar reads (%v)\n%s\nwhere it read\n%s", err, after, before)
		}
	})
}
