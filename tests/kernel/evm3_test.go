package kernel

import (
	"bytes"
	"crypto"
	"encoding/binary"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/tests/harness"
)

// modes of EVM, by the number that is written to securityfs: signatures of version 2 and 3,
// or of version 3 only.
var modes = []string{"2", "10"}

// metadata is what EVM protects of a program under appraise_type=sigv3.
var metadata = ima.EVMMetadata{Portable: true, UID: strict, Mode: unix.S_IFREG | 0o755}

// values5 are values of security.evm of a program whose security.ima is given, and why the
// kernel refuses it in each of the modes; "" if it runs.
var values5 = []struct {
	name    string
	v2, v3  string
	ima     func(s signer, content []byte) []byte
	evm     func(s, rogue signer, xattrs map[string][]byte) []byte
	capable bool // the file has capabilities
}{
	{"v3", "", "", signedV3, func(s, _ signer, x map[string][]byte) []byte { return s.evm(true, ima.SHA256, x, metadata) }, false},
	{"sha512", "", "", signedV3, func(s, _ signer, x map[string][]byte) []byte { return s.evm(true, ima.SHA512, x, metadata) }, false},
	{"capable", "", "", signedV3, func(s, _ signer, x map[string][]byte) []byte { return s.evm(true, ima.SHA256, x, metadata) }, true},
	{"digest", "", "", digestOnly, func(s, _ signer, x map[string][]byte) []byte { return s.evm(true, ima.SHA256, x, metadata) }, false},
	{"v2", "", notEVMV3, signedV3, func(s, _ signer, x map[string][]byte) []byte { return s.evm(false, ima.SHA256, x, metadata) }, false},
	{"digest-v2", "", notEVMV3, digestOnly, func(s, _ signer, x map[string][]byte) []byte { return s.evm(false, ima.SHA256, x, metadata) }, false},
	{"missing", noEVM, noEVM, signedV3, func(signer, signer, map[string][]byte) []byte { return nil }, false},
	{"mode", badEVM, badEVM, signedV3, func(s, _ signer, x map[string][]byte) []byte {
		other := metadata
		other.Mode ^= 0o7
		return s.evm(true, ima.SHA256, x, other)
	}, false},
	{"rogue", badEVM, badEVM, signedV3, func(_, rogue signer, x map[string][]byte) []byte { return rogue.evm(true, ima.SHA256, x, metadata) }, false},
	{"signed-type3", badEVM, badEVM, signedV3, func(s, _ signer, x map[string][]byte) []byte {
		digest, err := ima.EVMDigest(ima.SHA256, metadata, x)
		check(s.t, err)
		return s.edit(s.v3Of(digest), func(v *ima.Value) { v.Type = ima.TypeEVMPortable })
	}, false},
}

func signedV3(s signer, content []byte) []byte { return s.v3(ima.SHA256, content) }

func digestOnly(_ signer, content []byte) []byte {
	return ima.DigestValue(ima.SHA256, sum(ima.SHA256, content))
}

// v3Of returns a version 3 value over a digest.
func (s signer) v3Of(digest []byte) []byte {
	s.t.Helper()
	return s.sign(ima.ContentSignature().V3(), ima.SHA256, digest)
}

// evm returns a portable value of version 3 or 2.
func (s signer) evm(v3 bool, h ima.HashID, xattrs map[string][]byte, m ima.EVMMetadata) []byte {
	s.t.Helper()
	digest, err := ima.EVMDigest(h, m, xattrs)
	check(s.t, err)
	form := ima.PortableSignature()
	if v3 {
		form = form.V3()
	}
	return s.sign(form, h, digest)
}

// addEVM adds programs with values5, after steps that enable EVM in each of the modes. From
// then on, no file without security.evm is accepted.
func (b *bench) addEVM() {
	b.t.Helper()
	for _, mode := range modes {
		b.does("write\t/sys/kernel/security/evm\t"+mode, "ok")
		for _, s := range b.signers {
			for i, v := range values5 {
				if s.pure() && (v.name == "v2" || v.name == "digest-v2") || i > 0 && !harness.Nightly() && s.name != "p256" && s.name != "mldsa44" {
					continue
				}
				path := "evm-" + mode + "/" + s.name + "-" + v.name
				xattrs := map[string][]byte{ima.XattrIMA: v.ima(s, b.named(path))}
				if v.capable {
					xattrs["security.capability"] = []byte{0, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
				}
				xattrs[ima.XattrEVM] = v.evm(s, *s.rogue, xattrs)
				cause := v.v2
				if mode != modes[0] {
					cause = v.v3
				}
				b.file(path, strict, 0o755, b.named(path), xattrs)
				b.try("exec\t/mnt/"+path, cause)
			}
		}
		b.addEVMConfusions(mode)
		b.addInode(mode, "rsa2048")
		b.addInode(mode, "p256")
	}
}

// addConfusions adds files that a version 2 signature of another file, whose content was made
// for it, makes the kernel accept. The key signs both versions.
func (b *bench) addConfusions() {
	b.t.Helper()
	for _, name := range []string{"rsa2048", "p256"} {
		s := b.signer(name)
		// A firmware of 34 bytes, signed with version 2, makes an unsigned program run under sigv3.
		path := "confusion/" + name + "-v2-as-v3"
		value := b.harmless(s, name+"-v2-as-v3", fileID(ima.TypeSignature, ima.SHA256, sum(ima.SHA256, b.named(path))))
		b.exec(path, strict, s.edit(value, func(v *ima.Value) { v.Version = 3 }), "")
		b.forged = append(b.forged, path)
		// A program that was signed with version 3 makes the kernel load such a firmware.
		path = "confusion/" + name + "-v3-as-v2"
		value = s.v3(ima.SHA256, b.named(path))
		b.exec(path, strict, value, "")
		b.file("lib/firmware/"+name+"-v3-as-v2", ordinary, 0o644, fileID(ima.TypeSignature, ima.SHA256, sum(ima.SHA256, b.named(path))),
			map[string][]byte{ima.XattrIMA: s.edit(value, func(v *ima.Value) { v.Version = 2 })})
		b.try("firmware\t"+name+"-v3-as-v2", "")
		b.forged = append(b.forged, "lib/firmware/"+name+"-v3-as-v2")
		// The same with fs-verity.
		path = "confusion/" + name + "-v2-as-verity"
		value = b.harmless(s, name+"-v2-as-verity", fileID(ima.TypeVerity, ima.SHA256, verityDigest(b.t, crypto.SHA256, b.named(path))))
		b.does("verity\t/mnt/"+path+"\t1", "ok")
		b.exec(path, verity, s.edit(value, func(v *ima.Value) { v.Version, v.Type = 3, ima.TypeVerity }), "")
		b.forged = append(b.forged, path)
	}
}

// harmless adds a firmware with that content, which is signed with version 2, and returns the
// signature.
func (b *bench) harmless(s signer, name string, content []byte) []byte {
	b.t.Helper()
	value := s.v2(content)
	b.file("lib/firmware/"+name, ordinary, 0o644, content, map[string][]byte{ima.XattrIMA: value})
	b.try("firmware\t"+name, "")
	b.ambiguous = append(b.ambiguous, "lib/firmware/"+name)
	return value
}

// addEVMConfusions adds programs whose security.evm is the version 2 signature of another
// content: of the input of the EVM digest, or of a file_id. EVM that demands version 3 still
// accepts the second.
func (b *bench) addEVMConfusions(mode string) {
	b.t.Helper()
	s := b.signer("rsa2048")
	for _, version := range []uint8{2, 3} {
		path, cause := "evm-"+mode+"/confusion-v2", ""
		if version == 3 {
			path = "evm-" + mode + "/confusion-v3"
		} else if mode != modes[0] {
			cause = notEVMV3
		}
		xattrs := map[string][]byte{ima.XattrIMA: digestOnly(s, b.named(path))}
		misc := make([]byte, 24) // struct h_misc
		binary.LittleEndian.PutUint32(misc[12:], metadata.UID)
		binary.LittleEndian.PutUint16(misc[20:], metadata.Mode)
		content := slices.Concat(xattrs[ima.XattrIMA], misc)
		digest, err := ima.EVMDigest(ima.SHA256, metadata, xattrs)
		check(b.t, err)
		if !bytes.Equal(digest, sum(ima.SHA256, content)) {
			b.t.Fatal("not the input of the EVM digest")
		}
		if version == 3 {
			content = fileID(ima.TypeEVMPortable, ima.SHA256, digest)
		}
		value := s.v2(content)
		b.file(path+".input", strict, 0o644, content, map[string][]byte{ima.XattrIMA: value})
		b.ambiguous = append(b.ambiguous, path+".input")
		xattrs[ima.XattrEVM] = s.edit(value, func(v *ima.Value) { v.Type, v.Version = ima.TypeEVMPortable, version })
		b.file(path, strict, 0o755, b.named(path), xattrs)
		b.try("exec\t/mnt/"+path, cause)
	}
}
