package ima_test

import (
	"bytes"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/pkg/ima"
)

const (
	sha1Hex = "da39a3ee5e6b4b0d3255bfef95601890afd80709"
	// A version 1 header: the type, then struct signature_hdr as it lies in memory:
	// version, timestamp, algorithm, hash, key id, count, bits.
	legacyHex = "03 01 78563412 00 01 0011223344556677 01 0010"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	check(t, err)
	return b
}

func TestParse(t *testing.T) {
	for _, tc := range []struct{ value, text string }{
		{"03 02 04 1a2b3c4d 0003 aabbcc", "signature v2, sha256, key 1a2b3c4d, 3 bytes"},
		{"03 02 13 1a2b3c4d 0001 aa", "signature v2, streebog512, key 1a2b3c4d, 1 bytes"},
		{"03 03 06 00000001 0001 aa", "signature v3, sha512, key 00000001, 1 bytes"},
		{"06 03 04 1a2b3c4d 0001 aa", "fs-verity signature v3, sha256, key 1a2b3c4d, 1 bytes"},
		{"05 02 04 1a2b3c4d 0001 aa", "portable EVM signature v2, sha256, key 1a2b3c4d, 1 bytes"},
		{legacyHex + "abcd", "legacy signature v1, sha256, key 0011223344556677, 2 bytes"},
		{"01" + sha1Hex, "legacy digest, sha1, 20 bytes"},
		{"01 d41d8cd98f00b204e9800998ecf8427e", "legacy digest, md5, 16 bytes"},
		{"01 d41d8cd98f00b204e9800998ecf8427e 00000000", "legacy digest, md5, 20 bytes"},
		{"02" + sha1Hex, "EVM HMAC, sha1, 20 bytes"},
		{"04 02" + sha1Hex, "digest, sha1, 20 bytes"},
		{"04 12" + strings.Repeat("00", 32), "digest, streebog256, 32 bytes"},
		{"04 16" + strings.Repeat("00", 64), "digest, sha3-512, 64 bytes"},
	} {
		b := unhex(t, tc.value)
		v, err := ima.Parse(b)
		if err != nil {
			t.Errorf("%s: %v", tc.value, err)
			continue
		}
		if v.String() != tc.text {
			t.Errorf("%s: is %q, want %q", tc.value, v, tc.text)
		}
		if got := v.Append([]byte("x")); !bytes.Equal(got, append([]byte("x"), b...)) {
			t.Errorf("%s: Append gives %x", tc.value, got)
		}
		if want := strings.Contains(tc.text, "signature"); v.IsSignature() != want {
			t.Errorf("%s: IsSignature is %v", tc.value, !want)
		}
	}
}

func TestParseFields(t *testing.T) {
	v, err := ima.Parse(unhex(t, "03 02 05 1a2b3c4d 0003 aabbcc"))
	check(t, err)
	if v.Type != ima.TypeSignature || v.Version != 2 || v.Hash != ima.SHA384 || v.KeyID != 0x1a2b3c4d ||
		!bytes.Equal(v.Signature, []byte{0xaa, 0xbb, 0xcc}) || v.Digest != nil || v.Legacy != (ima.LegacyHeader{}) {
		t.Errorf("parsed as %+v", v)
	}
	v, err = ima.Parse(unhex(t, legacyHex+"abcd"))
	check(t, err)
	if want := (ima.LegacyHeader{Timestamp: 0x12345678, KeyID: 0x0011223344556677, Bits: 16}); v.Legacy != want || v.KeyID != 0 {
		t.Errorf("parsed as %+v", v)
	}
}

func TestParseRefused(t *testing.T) {
	for _, tc := range []struct {
		value string
		want  ima.Refusal
	}{
		{"", ima.ErrTruncated},
		{"00", ima.ErrUnknownType},
		{"07 03 04 1a2b3c4d 0001 aa", ima.ErrUnknownType},
		{"ff", ima.ErrUnknownType},
		{"03", ima.ErrTruncated},
		{"03 02", ima.ErrTruncated},
		{"03 02 04 1a2b3c4d 00", ima.ErrTruncated},
		{"03 02 04 1a2b3c4d 0000", ima.ErrTruncated},
		{"03 02 04 1a2b3c4d 0100", ima.ErrTruncated},
		{"03 02 04 1a2b3c4d 0004 aabbcc", ima.ErrTruncated},
		{"03 02 04 1a2b3c4d 0002 aabbcc", ima.ErrTrailing},
		{"03 02 04 1a2b3c4d 0000 aabbcc", ima.ErrTrailing},
		{"03 02 04 1a2b3c4d 0300 aabbcc", ima.ErrByteOrder},
		{"03 02 04 1a2b3c4d 0001" + strings.Repeat("00", 256), ima.ErrByteOrder},
		{"03 02 17 1a2b3c4d 0001 aa", ima.ErrUnknownHash},
		{"03 00 04 1a2b3c4d 0001 aa", ima.ErrUnsupportedVersion},
		{"03 04 04 1a2b3c4d 0001 aa", ima.ErrUnsupportedVersion},
		{"06 02 04 1a2b3c4d 0001 aa", ima.ErrUnsupportedVersion},
		{"06 01 04 1a2b3c4d 0001 aa", ima.ErrUnsupportedVersion},
		{"05 09 04 1a2b3c4d 0001 aa", ima.ErrUnsupportedVersion},
		{legacyHex, ima.ErrTruncated},
		{legacyHex[:20], ima.ErrTruncated},
		{legacyHex + "ab", ima.ErrTruncated},
		{legacyHex + "abcdef", ima.ErrTrailing},
		{"03 01 78563412 00 01 0011223344556677 01 1000 abcd", ima.ErrByteOrder},
		{"03 01 78563412 01 01 0011223344556677 01 0010 abcd", ima.ErrUnsupportedKey},
		{"03 01 78563412 00 02 0011223344556677 01 0010 abcd", ima.ErrUnknownHash},
		{"03 01 78563412 00 01 0011223344556677 02 0010 abcd", ima.ErrUnsupportedVersion},
		{"01", ima.ErrTruncated},
		{"01" + sha1Hex[2:], ima.ErrTruncated},
		{"01" + sha1Hex + "00", ima.ErrTrailing},
		{"02" + sha1Hex[2:], ima.ErrTruncated},
		{"02" + sha1Hex + "00", ima.ErrTrailing},
		{"04", ima.ErrTruncated},
		{"04 04", ima.ErrTruncated},
		{"04 02" + sha1Hex + "00", ima.ErrTrailing},
		{"04 17" + sha1Hex, ima.ErrUnknownHash},
	} {
		v, err := ima.Parse(unhex(t, tc.value))
		if refused(t, err, tc.want); err == nil || v.Type != 0 || v.Signature != nil || v.Digest != nil {
			t.Errorf("%s: Parse returns %+v and %v", tc.value, v, err)
		}
	}
}

func TestParseDoesNotAllocate(t *testing.T) {
	for _, s := range []string{"03 02 04 1a2b3c4d 0003 aabbcc", "01" + sha1Hex, "04 02" + sha1Hex, legacyHex + "abcd"} {
		b := unhex(t, s)
		if n := testing.AllocsPerRun(100, func() { _, _ = ima.Parse(b) }); n != 0 {
			t.Errorf("%s: %v allocations", s, n)
		}
	}
}

func TestTypeNames(t *testing.T) {
	for typ, want := range map[ima.Type]string{
		1: "digest", 2: "evm-hmac", 3: "signature", 4: "digest-ng", 5: "evm-portable", 6: "verity", 7: "type(0x07)",
	} {
		if typ.String() != want {
			t.Errorf("type %d is %q, want %q", typ, typ, want)
		}
	}
}
