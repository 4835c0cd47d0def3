package ima_test

import (
	"crypto"
	"testing"

	"github.com/imasign/imasign-build/pkg/ima"
)

// TestHashIDs compares the ids with the kernel's include/uapi/linux/hash_info.h, and the
// names and sizes with its crypto/hash_info.c (6.12).
func TestHashIDs(t *testing.T) {
	for id, want := range []struct {
		name     string
		size     int
		computed bool
	}{
		{"md4", 16, false}, {"md5", 16, true}, {"sha1", 20, true}, {"rmd160", 20, false},
		{"sha256", 32, true}, {"sha384", 48, true}, {"sha512", 64, true}, {"sha224", 28, true},
		{"rmd128", 16, false}, {"rmd256", 32, false}, {"rmd320", 40, false},
		{"wp256", 32, false}, {"wp384", 48, false}, {"wp512", 64, false},
		{"tgr128", 16, false}, {"tgr160", 20, false}, {"tgr192", 24, false},
		{"sm3", 32, false}, {"streebog256", 32, false}, {"streebog512", 64, false},
		{"sha3-256", 32, true}, {"sha3-384", 48, true}, {"sha3-512", 64, true},
		{"hash(23)", 0, false},
	} {
		h := ima.HashID(id)
		if h.String() != want.name || h.Size() != want.size {
			t.Errorf("id %d is %s of %d bytes, want %s of %d", id, h, h.Size(), want.name, want.size)
		}
		std, ok := h.CryptoHash()
		if ok != want.computed || ok && (!std.Available() || std.Size() != want.size) {
			t.Errorf("%s: CryptoHash gives %v, %v", h, std, ok)
		}
		if back, known := ima.HashIDOf(std); known != ok || known && back != h {
			t.Errorf("%s: HashIDOf(%v) = %v, %v", h, std, back, known)
		}
		if signs := want.computed && id != 1 && id != 2; (h.CheckSigns() == nil) != signs {
			t.Errorf("%s: signatures allowed: %v", h, !signs)
		}
		parsed, err := ima.ParseHash(want.name)
		if want.size == 0 {
			refused(t, err, ima.ErrUnknownHash)
		} else if err != nil || parsed != h {
			t.Errorf("ParseHash(%q) = %v, %v", want.name, parsed, err)
		}
	}
}

func TestParseHash(t *testing.T) {
	if h, err := ima.ParseHash("sm3-256"); h != ima.SM3 || err != nil {
		t.Errorf("sm3-256: %v, %v", h, err)
	}
	for _, name := range []string{"", "SHA256", "sha-256", "hash(4)", "sha256 "} {
		_, err := ima.ParseHash(name)
		refused(t, err, ima.ErrUnknownHash)
	}
	for _, h := range []crypto.Hash{0, crypto.MD4, crypto.SHA3_224, crypto.SHA512_256, 99} {
		if id, ok := ima.HashIDOf(h); ok {
			t.Errorf("HashIDOf(%d) = %v", h, id)
		}
	}
}
