package ima_test

import (
	"bytes"
	"context"
	"crypto/elliptic"
	"crypto/sha256"
	"testing"

	"github.com/imasign/imasign-build/pkg/ima"
)

func TestEVMDigest(t *testing.T) {
	uuid := [16]byte([]byte("0123456789abcdef"))
	m := ima.EVMMetadata{
		UID: 0x01020304, GID: 0x05060708, Mode: 0x81ed,
		Inode: 0x1112131415161718, Generation: 0x21222324, UUID: &uuid,
	}
	xattrs := map[string][]byte{
		"security.capability": []byte("caps"), "security.ima": []byte("ima"), "security.selinux": []byte("label\x00"),
		"security.apparmor": []byte("aa"), "security.SMACK64MMAP": []byte("mmap"), "security.SMACK64": []byte("smack"),
		"security.SMACK64TRANSMUTE": []byte("trans"), "security.SMACK64EXEC": []byte("exec"),
		"security.evm": []byte("never"), "user.comment": []byte("never"),
	}
	const ordered = "label\x00smackexectransmmapaaimacaps"
	for _, tc := range []struct {
		name                  string
		bits32, big, portable bool
		misc                  string // struct h_misc as it lies in memory
	}{
		{"64 le", false, false, false, "1817161514131211 24232221 04030201 08070605 ed81 0000"},
		{"32 le", true, false, false, "18171615 24232221 04030201 08070605 ed81 0000"},
		{"64 be", false, true, false, "1112131415161718 21222324 01020304 05060708 81ed 0000"},
		{"32 be", true, true, false, "15161718 21222324 01020304 05060708 81ed 0000"},
		{"portable 64 le", false, false, true, "0000000000000000 00000000 04030201 08070605 ed81 0000"},
		{"portable 32 be", true, true, true, "00000000 00000000 01020304 05060708 81ed 0000"},
	} {
		m.Bits32, m.BigEndian, m.Portable = tc.bits32, tc.big, tc.portable
		want := append([]byte(ordered), unhex(t, tc.misc)...)
		if !tc.portable {
			want = append(want, uuid[:]...)
		}
		digest, err := ima.EVMDigest(ima.SHA256, m, xattrs)
		check(t, err)
		if sum := sha256.Sum256(want); !bytes.Equal(digest, sum[:]) {
			t.Errorf("%s: got %x, want %x", tc.name, digest, sum)
		}
	}
}

func TestEVMDigestRefused(t *testing.T) {
	withIMA := map[string][]byte{"security.ima": {4}}
	_, err := ima.EVMDigest(ima.SHA256, ima.EVMMetadata{Portable: true}, nil)
	refused(t, err, ima.ErrNoIMAXattr)
	_, err = ima.EVMDigest(ima.SM3, ima.EVMMetadata{}, withIMA)
	refused(t, err, ima.ErrUnsupportedHash)
	_, err = ima.EVMDigest(99, ima.EVMMetadata{}, withIMA)
	refused(t, err, ima.ErrUnknownHash)
}

func TestSignPortable(t *testing.T) {
	key := ecdsaKey(t, elliptic.P256())
	pub, digest := certificateKey(t, key, 1, 2, 3, 4), sum(ima.SHA256, "metadata")
	values, err := ima.Sign(context.Background(), ima.FromRaw(ima.CryptoSigner(key), pub), pub, ima.PortableSignature(), ima.SHA256, [][]byte{digest})
	check(t, err)
	ring := ima.NewKeyring(pub)
	check(t, verifyAs(ring, ima.PortableSignature(), values[0], digest))
	refused(t, verifyAs(ring, ima.PortableSignature(), values[0], sum(ima.SHA256, "changed")), ima.ErrBadSignature)
	refused(t, verify(ring, values[0], digest), ima.ErrEVMValue)
	refused(t, verifyAs(ima.NewKeyring(), ima.PortableSignature(), values[0], digest), ima.ErrUnknownKey)

	refused(t, verifyAs(ring, ima.PortableSignature(), nil, digest), ima.ErrTruncated)
	refused(t, verifyAs(ring, ima.PortableSignature(), unhex(t, "02"+sha1Hex), digest), ima.ErrHMAC)
	refused(t, verifyAs(ring, ima.PortableSignature(), unhex(t, "01"+sha1Hex), digest), ima.ErrIMAValue)
	refused(t, verifyAs(ring, ima.PortableSignature(), ima.DigestValue(ima.SHA256, digest), digest), ima.ErrIMAValue)
	values[0][1] = 3
	refused(t, verifyAs(ring, ima.PortableSignature(), values[0], digest), ima.ErrUnsupportedVersion)
}
