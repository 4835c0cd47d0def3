package file

import (
	"bytes"
	"context"
	"crypto/pbkdf2"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"hash"
	"strings"
	"testing"

	"golang.org/x/crypto/scrypt"
)

// TestDerivations compares with crypto/pbkdf2 and golang.org/x/crypto/scrypt.
func TestDerivations(t *testing.T) {
	ctx := context.Background()
	for _, passphrase := range []string{"", "x", strings.Repeat("0123456789abcdef", 4), strings.Repeat("longer than a block ", 20)} {
		for _, prf := range []func() hash.Hash{sha1.New, sha256.New, sha512.New} {
			for _, size := range []int{1, 16, 20, 32, 33, 100} {
				want, err := pbkdf2.Key(prf, passphrase, []byte("salt"), 7, size)
				if err != nil {
					t.Fatal(err)
				}
				got, err := pbkdf2Key(ctx, prf, []byte(passphrase), []byte("salt"), 7, size)
				if err != nil || !bytes.Equal(got, want) {
					t.Errorf("PBKDF2, %d bytes: %x, %v, want %x", size, got, err, want)
				}
			}
		}
		for _, c := range [][3]int{{2, 1, 1}, {16, 1, 3}, {64, 8, 2}, {1024, 3, 1}} {
			want, err := scrypt.Key([]byte(passphrase), []byte("salt"), c[0], c[1], c[2], 40)
			if err != nil {
				t.Fatal(err)
			}
			got, err := scryptKey(ctx, []byte(passphrase), []byte("salt"), c[0], c[1], c[2], 40)
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("scrypt %v: %x, %v, want %x", c, got, err, want)
			}
		}
	}
}

func TestDerivationsEndWithTheContext(t *testing.T) {
	stop := errors.New("stop")
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(stop)
	if _, err := pbkdf2Key(ctx, sha256.New, nil, nil, maxIterations, 32); !errors.Is(err, stop) {
		t.Errorf("PBKDF2: %v", err)
	}
	if _, err := scryptKey(ctx, nil, nil, 1<<14, 8, 1, 32); !errors.Is(err, stop) {
		t.Errorf("scrypt: %v", err)
	}
}

// TestScryptBounds checks the bounds of memory and work for N, r and p.
func TestScryptBounds(t *testing.T) {
	const huge = 1<<63 - 1
	for _, c := range []struct {
		n, r, p int
		fits    bool
	}{
		{1 << 14, 8, 1, true}, {1 << 17, 8, 1, true}, {1 << 20, 1, 1, true}, {16, 8, 1 << 10, true},
		{1 << 21, 1, 1, false}, {1 << 18, 8, 1, false}, // N
		{2, 1 << 19, 1, false}, {2, 1 << 20, 1, false}, {16, 1 << 17, 1, false}, // r
		{2, 1, 1 << 21, false}, {2, 1 << 18, 8, false}, {4, 8, 1 << 18, false}, // p
		{1 << 14, 8, 1 << 8, false}, {1 << 10, 8, 1 << 11, false}, // work
		{huge, huge, huge, false}, {1 << 62, 1, 1, false}, {2, huge, 1, false}, {2, 1, huge, false}, {1 << 32, 1 << 32, 1, false},
		{0, 1, 1, false}, {1, 1, 1, false}, {17, 1, 1, false}, {-16, 1, 1, false}, {16, 0, 1, false}, {16, 1, -1, false},
	} {
		if got := scryptFits(c.n, c.r, c.p); got != c.fits {
			t.Errorf("N=%d, r=%d, p=%d: %v", c.n, c.r, c.p, got)
		}
	}
}

// TestHashesForgetPassphrases checks the internal state of a hash.
func TestHashesForgetPassphrases(t *testing.T) {
	for _, secret := range []string{"a passphrase", strings.Repeat("a passphrase ", 20)} {
		plain := sha256.New()
		plain.Write([]byte(secret))
		overwrite(plain)
		state, err := plain.(interface{ MarshalBinary() ([]byte, error) }).MarshalBinary()
		if err != nil || bytes.Contains(state, []byte("passphrase")) {
			t.Errorf("SHA-256 keeps the passphrase (%v)", err)
		}
	}
}
