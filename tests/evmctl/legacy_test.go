package evmctl

import (
	"bytes"
	"crypto/rsa"
	"crypto/sha1"
	"encoding/binary"
	"math/big"
	"testing"
	"time"

	"github.com/imasign/imasign-build/pkg/ima"
)

func TestLegacySignature(t *testing.T) {
	key, file := newKey(t, "rsa2048", "hash"), newFile(t)
	evmctl(t, "ima_sign", "--rsa", "--key", key.priv, "-a", "sha1", file)
	value := getxattr(t, file, ima.XattrIMA)
	v, err := ima.Parse(value)
	check(t, err)
	age := time.Since(time.Unix(int64(v.Legacy.Timestamp), 0))
	if v.Version != 1 || v.Hash != ima.SHA1 || len(v.Signature) != 256 || age < 0 || age > time.Minute {
		t.Errorf("parsed as %v, %v old", v, age)
	}
	if want := legacyKeyID(key.public.(*rsa.PublicKey)); v.Legacy.KeyID != want {
		t.Errorf("key id %016x, want %016x", v.Legacy.KeyID, want)
	}
	if !bytes.Equal(v.Append(nil), value) {
		t.Error("Append changed the value")
	}
	wantRefusal(t, verify(ima.NewKeyring(key.cert), value, sum(ima.SHA1, content)), ima.ErrUnsupportedVersion)

	// evmctl must be able to read what Append writes.
	setxattr(t, file, ima.XattrIMA, v.Append(nil))
	evmctl(t, "ima_verify", "--rsa", "--key", key.pub, file)
	v.Legacy.Timestamp++
	setxattr(t, file, ima.XattrIMA, v.Append(nil))
	evmctlRefuses(t, "ima_verify", "--rsa", "--key", key.pub, file)
}

// legacyKeyID hashes the key as struct pubkey_hdr and two numbers, each with its
// length in bits.
func legacyKeyID(pub *rsa.PublicKey) uint64 {
	b := []byte{1, 0, 0, 0, 0, 0, 2}
	for _, n := range []*big.Int{pub.N, big.NewInt(int64(pub.E))} {
		b = binary.BigEndian.AppendUint16(b, uint16(n.BitLen()))
		b = append(b, n.Bytes()...)
	}
	id := sha1.Sum(b)
	return binary.BigEndian.Uint64(id[12:])
}
