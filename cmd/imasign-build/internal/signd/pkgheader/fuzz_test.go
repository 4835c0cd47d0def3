package pkgheader_test

import (
	"encoding/hex"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/signd/pkgheader"
)

func unhex(t testing.TB, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(text)
	check(t, err)
	return b
}

func slicesOf(t testing.TB, files ...string) (all []byte) {
	t.Helper()
	for _, file := range files {
		all = slices.Concat(all, content(t, file))
	}
	return all
}

// FuzzCheck reads any bytes as a header and its signature. Only the header that was signed is
// accepted.
func FuzzCheck(f *testing.F) {
	both := slicesOf(f, vectors+"keys/openpgp-rsa2048.asc", vectors+"keys/openpgp-ed25519.asc")
	signed := map[string]bool{}
	for _, name := range []string{"v4/openpgp-ed25519.rpm", "v4/openpgp-rpmv3.rpm", "v6/openpgp-two.rpm"} {
		o := origin(f, vectors+name)
		signed[string(o.Header)] = true
		f.Add(o.Header, o.Signature)
	}
	c, err := pkgheader.New(both, time.Time{})
	check(f, err)
	f.Fuzz(func(t *testing.T, header, signature []byte) {
		_, err := c.Check(header, signature, now)
		switch {
		case err == nil && !signed[string(header)]:
			t.Fatal("a header that nobody signed is accepted")
		case err != nil && !errors.Is(err, pkgheader.ErrHeader) && !errors.Is(err, pkgheader.ErrSignature):
			t.Fatal(err)
		}
	})
}
