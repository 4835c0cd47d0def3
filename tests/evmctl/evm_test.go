package evmctl

import (
	"bytes"
	"context"
	"encoding/hex"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/imasign/imasign-build/pkg/ima"
)

func TestPortableEVM(t *testing.T) {
	for _, name := range []string{"rsa2048", "p256"} {
		t.Run(name, func(t *testing.T) {
			key, file := newKey(t, name, "hash"), newFile(t)
			check(t, os.Chown(file, 1000, 2000))
			check(t, os.Chmod(file, 0o750))
			label(t, file) // after chown, which removes security.capability
			log := evmctl(t, "sign", "--portable", "--imasig", "--smack", "--key", key.priv, file)
			value := getxattr(t, file, ima.XattrEVM)
			v, err := ima.Parse(value)
			check(t, err)
			if v.Type != ima.TypeEVMPortable || v.Hash != ima.SHA256 || v.KeyID != key.cert.ID() {
				t.Errorf("parsed as %v", v)
			}
			m := metadata(t, file)
			m.Portable = true
			digest := evmDigest(t, m, file)
			if !strings.Contains(log, hex.EncodeToString(digest)) {
				t.Errorf("digest %x is not in evmctl's log:\n%s", digest, log)
			}
			ring := ima.NewKeyring(key.cert)
			check(t, verifyEVM(ring, value, digest))
			wantRefusal(t, verify(ring, value, digest), ima.ErrEVMValue)

			values, err := ima.Sign(context.Background(), key.signer, key.cert, ima.PortableSignature(), ima.SHA256, [][]byte{digest})
			check(t, err)
			if key.isRSA() && !bytes.Equal(values[0], value) {
				t.Error("RSA signatures differ")
			}
			setxattr(t, file, ima.XattrEVM, values[0])
			evmctl(t, "verify", "--smack", "--key", key.der, file)

			check(t, os.Chmod(file, 0o755))
			evmctlRefuses(t, "verify", "--smack", "--key", key.der, file)
			m = metadata(t, file)
			m.Portable = true
			if verifyEVM(ring, values[0], evmDigest(t, m, file)) == nil {
				t.Error("a changed mode was accepted")
			}
		})
	}
}

// TestEVMLayouts compares our EVM digest of chosen metadata with the one that evmctl
// prints: for both word sizes, portable and not, with and without a UUID.
func TestEVMLayouts(t *testing.T) {
	key := newKey(t, "rsa2048", "hash")
	file := newFile(t)
	label(t, file)
	evmctl(t, "ima_sign", "--key", key.priv, file)
	uuid := [16]byte{0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff, 0x01}
	base := ima.EVMMetadata{UID: 70001, GID: 70002, Mode: 0o104755, Inode: 0x12345678, Generation: 0x9abcdef0}
	for i, tc := range []struct {
		flags    []string
		bits32   bool
		portable bool
		uuid     *[16]byte
	}{
		{[]string{"--m64", "--portable"}, false, true, nil},
		{[]string{"--m32", "--portable"}, true, true, nil},
		{[]string{"--m64", "--uuid"}, false, false, nil},
		{[]string{"--m32", "--uuid"}, true, false, nil},
		{[]string{"--m64", "--uuid=11223344-5566-7788-99aa-bbccddeeff01"}, false, false, &uuid},
		{[]string{"--m32", "--uuid=11223344-5566-7788-99aa-bbccddeeff01"}, true, false, &uuid},
		{[]string{"--m64", "--portable", "--uuid=11223344-5566-7788-99aa-bbccddeeff01"}, false, true, &uuid},
	} {
		m := base
		m.Bits32, m.Portable, m.UUID = tc.bits32, tc.portable, tc.uuid
		args := append([]string{"sign", "--smack", "--key", key.priv,
			"--ino", dec(m.Inode), "--generation", dec(m.Generation),
			"--uid", dec(m.UID), "--gid", dec(m.GID), "--mode", dec(m.Mode)}, tc.flags...)
		log := evmctl(t, append(args, file)...)
		digest := evmDigest(t, m, file)
		if !strings.Contains(log, hex.EncodeToString(digest)) {
			t.Errorf("case %d %v: digest %x is not in evmctl's log:\n%s", i, tc.flags, digest, log)
		}
		check(t, verifyEVM(ima.NewKeyring(key.cert), getxattr(t, file, ima.XattrEVM), digest))
	}
}

// label sets every xattr that EVM protects, except security.ima.
func label(t *testing.T, file string) {
	t.Helper()
	for _, name := range ima.EVMXattrs() {
		switch name {
		case ima.XattrIMA:
		case "security.capability": // struct vfs_cap_data of revision 2
			setxattr(t, file, name, []byte{0, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})
		default:
			setxattr(t, file, name, []byte("label of "+name+"\x00"))
		}
	}
}

func metadata(t *testing.T, file string) ima.EVMMetadata {
	t.Helper()
	var st syscall.Stat_t
	check(t, syscall.Lstat(file, &st))
	return ima.EVMMetadata{UID: st.Uid, GID: st.Gid, Mode: uint16(st.Mode), Inode: st.Ino}
}

func evmDigest(t *testing.T, m ima.EVMMetadata, file string) []byte {
	t.Helper()
	xattrs := map[string][]byte{}
	for _, name := range ima.EVMXattrs() {
		xattrs[name] = getxattr(t, file, name)
	}
	digest, err := ima.EVMDigest(ima.SHA256, m, xattrs)
	check(t, err)
	return digest
}
