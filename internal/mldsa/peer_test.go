package mldsa

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"testing"

	peer "filippo.io/mldsa"
	peerx509 "filippo.io/mldsa/x509"

	"github.com/imasign/imasign-build/tests/harness"
)

// peerOf returns a parameter set of filippo.io/mldsa, another implementation.
func peerOf(name string) peer.Parameters {
	switch name {
	case "mldsa44":
		return peer.MLDSA44()
	case "mldsa65":
		return peer.MLDSA65()
	}
	return peer.MLDSA87()
}

// TestPeerAgrees makes keys from seeds and deterministic signatures in both implementations,
// compares the bytes, and has each verify the other's.
func TestPeerAgrees(t *testing.T) {
	count := uint32(8)
	if harness.Nightly() {
		count = 500
	}
	for _, name := range Names() {
		for n := range count {
			seed := sha256.Sum256(binary.BigEndian.AppendUint32([]byte(name), n))
			ours, err := fromSeed(name, seed[:])
			check(t, err)
			theirs, err := peer.NewPrivateKey(peerOf(name), seed[:])
			check(t, err)
			if !bytes.Equal(ours.public.bits, theirs.PublicKey().Bytes()) {
				t.Fatalf("%s, seed %x: another public key", name, seed)
			}
			// A file_id has 34, 50 or 66 bytes.
			for _, size := range []int{34, 50, 66, 0, 5000} {
				message := bytes.Repeat([]byte{byte(n)}, size)
				signature, err := ours.Sign(nil, message, nil)
				check(t, err)
				same, err := theirs.SignDeterministic(message, nil)
				check(t, err)
				if !bytes.Equal(signature, same) {
					t.Fatalf("%s, seed %x, %d bytes: another signature", name, seed, size)
				}
				check(t, peer.Verify(theirs.PublicKey(), message, signature, nil))
				random, err := theirs.Sign(nil, message, nil)
				check(t, err)
				withContext, err := theirs.Sign(nil, message, &peer.Options{Context: "x"})
				check(t, err)
				if !ours.public.VerifyMessage(message, random) || ours.public.VerifyMessage(message, withContext) {
					t.Fatalf("%s, seed %x, %d bytes: the peer's signatures are judged wrongly", name, seed, size)
				}
			}
		}
	}
}

// TestPeerReadsKeys compares the encodings of public keys, and reads the peer's private ones.
func TestPeerReadsKeys(t *testing.T) {
	for _, name := range Names() {
		theirs, err := peer.GenerateKey(peerOf(name))
		check(t, err)
		der, err := peerx509.MarshalPKCS8PrivateKey(theirs)
		check(t, err)
		ours, err := ParsePKCS8(der)
		check(t, err)
		spki, err := MarshalPKIXPublicKey(ours.Public())
		check(t, err)
		same, err := peerx509.MarshalPKIXPublicKey(theirs.PublicKey())
		check(t, err)
		if !bytes.Equal(spki, same) {
			t.Errorf("%s: another SubjectPublicKeyInfo", name)
		}
	}
}

// FuzzVerify compares verification with the peer's, which the signatures that they make do
// not: a signature has one encoding.
func FuzzVerify(f *testing.F) {
	type keys struct {
		name   string
		ours   *PublicKey
		theirs *peer.PublicKey
	}
	var all []keys
	for i, name := range Names() {
		key := keyOf(f, name)
		theirs, err := peer.NewPublicKey(peerOf(name), key.public.bits)
		check(f, err)
		all = append(all, keys{name, key.public, theirs})
		signature, err := key.Sign(nil, []byte("message"), nil)
		check(f, err)
		f.Add(uint8(i), []byte("message"), signature)
		for _, at := range []int{0, 40, len(signature) / 2, len(signature) - 1, len(signature) - 9} {
			changed := bytes.Clone(signature)
			changed[at] ^= 0x80
			f.Add(uint8(i), []byte("message"), changed)
		}
		f.Add(uint8(i), []byte("message"), append(signature, 0))
		f.Add(uint8(i), []byte("message"), signature[:len(signature)-1])
	}
	f.Fuzz(func(t *testing.T, which uint8, message, signature []byte) {
		k := all[int(which)%len(all)]
		ours, theirs := k.ours.VerifyMessage(message, signature), peer.Verify(k.theirs, message, signature, nil) == nil
		if ours != theirs {
			t.Errorf("%s: we say %v, the peer %v", k.name, ours, theirs)
		}
	})
}
