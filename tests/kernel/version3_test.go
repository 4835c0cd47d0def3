package kernel

import (
	"crypto"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/tests/harness"
)

// chain is the algorithm of a key of a bench, and that of the CA that certifies it.
type chain struct{ key, ca string }

// chains of Linux 7.3 mix RSA, ECDSA and ML-DSA. Linux 6.12 has only the CAs of chains612.
var (
	chains    = []chain{{"rsa2048", "mldsa65"}, {"p256", "rsa2048"}, {"p384", "p384"}, {"mldsa44", "rsa2048"}, {"mldsa65", "mldsa65"}, {"mldsa87", "p384"}}
	chains612 = []chain{{"rsa2048", "rsa2048"}, {"p384", "p384"}, {"mldsa65", "rsa2048"}}
)

// Causes of refusals.
const (
	badSignature = "invalid-signature"
	badVersion   = "invalid-signature-version"
	notSigned    = "IMA-signature-required"
	notV3        = "IMA-sigv3-required"
	unknownValue = "unknown-ima-data"
	badEVM       = "invalid-fail-immutable"
	noEVM        = "missing-HMAC"
	notEVMV3     = "invalid-HMAC"
)

// values3 are values of security.ima of a program, and why the kernel refuses it under
// appraise_type=imasig and sigv3, and Linux 6.12 under imasig; "" if it runs.
var values3 = []struct {
	name                string
	imasig, sigv3, v612 string
	value               func(s, rogue signer, content []byte) []byte
}{
	{"sha256", "", "", badVersion, func(s, _ signer, c []byte) []byte { return s.v3(ima.SHA256, c) }},
	{"sha384", "", "", badVersion, func(s, _ signer, c []byte) []byte { return s.v3(ima.SHA384, c) }},
	{"sha512", "", "", badVersion, func(s, _ signer, c []byte) []byte { return s.v3(ima.SHA512, c) }},
	{"v2", "", notV3, "", func(s, _ signer, c []byte) []byte { return s.v2(c) }},
	{"tampered", badSignature, badSignature, badVersion, func(s, _ signer, c []byte) []byte { return s.v3(ima.SHA256, c[1:]) }},
	{"sigbit", badSignature, badSignature, badVersion, func(s, _ signer, c []byte) []byte {
		return s.edit(s.v3(ima.SHA256, c), func(v *ima.Value) { v.Signature[len(v.Signature)-9] ^= 1 })
	}},
	{"otherkey", badSignature, badSignature, badVersion, func(s, rogue signer, c []byte) []byte {
		return s.edit(rogue.v3(ima.SHA256, c), func(v *ima.Value) { v.KeyID = s.key.Public.ID() })
	}},
	{"unknownkey", badSignature, badSignature, badVersion, func(_, rogue signer, c []byte) []byte { return rogue.v3(ima.SHA256, c) }},
	{"signed-type5", badSignature, badSignature, badVersion, func(s, _ signer, c []byte) []byte {
		return s.edit(s.sign(ima.PortableSignature().V3(), ima.SHA256, sum(ima.SHA256, c)), func(v *ima.Value) { v.Type = ima.TypeSignature })
	}},
	{"signed-type6", badSignature, badSignature, badVersion, func(s, _ signer, c []byte) []byte {
		return s.edit(s.sign(ima.VeritySignature(), ima.SHA256, sum(ima.SHA256, c)), func(v *ima.Value) { v.Type = ima.TypeSignature })
	}},
	{"type5", unknownValue, unknownValue, unknownValue, func(s, _ signer, c []byte) []byte {
		return s.sign(ima.PortableSignature().V3(), ima.SHA256, sum(ima.SHA256, c))
	}},
	{"type6", notSigned, notSigned, notSigned, func(s, _ signer, c []byte) []byte {
		return s.sign(ima.VeritySignature(), ima.SHA256, sum(ima.SHA256, c))
	}},
	{"version4", badVersion, badVersion, badVersion, func(s, _ signer, c []byte) []byte {
		return s.edit(s.v3(ima.SHA256, c), func(v *ima.Value) { v.Version = 4 })
	}},
	{"v2-as-v3", badSignature, badSignature, badVersion, func(s, _ signer, c []byte) []byte {
		return s.edit(s.v2(c), func(v *ima.Value) { v.Version = 3 })
	}},
	{"v3-as-v2", badSignature, notV3, badSignature, func(s, _ signer, c []byte) []byte {
		return s.edit(s.v3(ima.SHA256, c), func(v *ima.Value) { v.Version = 2 })
	}},
	{"trailing", badSignature, badSignature, badVersion, func(s, _ signer, c []byte) []byte { return append(s.v3(ima.SHA256, c), 0) }},
	{"hashbyte", badSignature, badSignature, badVersion, func(s, _ signer, c []byte) []byte {
		return s.edit(s.v3(ima.SHA512, c), func(v *ima.Value) { v.Hash = ima.SHA256 })
	}},
}

// addValues adds programs with values3 of all keys, under both rules. In a normal run, keys
// that are not in thorough have good values only.
func (b *bench) addValues(thorough ...string) {
	b.t.Helper()
	for _, s := range b.signers {
		for i, v := range values3 {
			if i > 0 && !harness.Nightly() && !slices.Contains(thorough, s.name) {
				continue
			}
			imasig, path := v.imasig, s.name+"-"+v.name
			if b.kernel.release == "6.12" {
				imasig = v.v612
			}
			if s.pure() && v.name == "v2" {
				imasig = badSignature
			}
			b.exec("imasig/"+path, ordinary, v.value(s, *s.rogue, b.named("imasig/"+path)), imasig)
			if b.kernel.release != "6.12" {
				b.exec("sigv3/"+path, strict, v.value(s, *s.rogue, b.named("sigv3/"+path)), v.sigv3)
			}
		}
	}
	b.exec("imasig/unsigned", ordinary, nil, notSigned)
	b.exec("sigv3/unsigned", strict, nil, notSigned)
	b.exec("sigv3/digest", strict, ima.DigestValue(ima.SHA256, sum(ima.SHA256, b.named("sigv3/digest"))), notSigned)
}

// addKernelFiles adds modules and firmware with values of versions 3 and 2.
func (b *bench) addKernelFiles() {
	b.t.Helper()
	module, err := os.ReadFile(b.kernel.module)
	check(b.t, err)
	name := filepath.Base(b.kernel.module)
	file := func(path string, owner int, content, value []byte, do, cause string) {
		b.file(path, owner, 0o644, content, map[string][]byte{ima.XattrIMA: value})
		b.try(do, cause)
	}
	stay := ""
	for _, s := range b.signers {
		v2 := ""
		if s.pure() {
			v2 = badSignature
		}
		path := "lib/modules/" + s.name
		file(path+"/"+name, strict, module, s.v3(ima.SHA256, module), "module\t/mnt/"+path+"/"+name, "")
		file(path+"-v2/"+name, strict, module, s.v2(module), "module\t/mnt/"+path+"-v2/"+name, notV3)
		file(path+"-imasig/"+name, ordinary, module, s.v2(module), "module\t/mnt/"+path+"-imasig/"+name, v2)
		stay = "module\t/mnt/" + path + "/" + name + "\tstay"
	}
	b.does(stay, "ok")
	for _, s := range b.signers {
		v2 := ""
		if s.pure() {
			v2 = badSignature
		}
		content := []byte("firmware " + s.name + "\n")
		file("lib/firmware/"+s.name, strict, content, s.v3(ima.SHA256, content), "firmware\t"+s.name, "")
		file("lib/firmware/"+s.name+"-v2", strict, content, s.v2(content), "firmware\t"+s.name+"-v2", notV3)
		file("lib/firmware/"+s.name+"-imasig", ordinary, content, s.v2(content), "firmware\t"+s.name+"-imasig", v2)
	}
	file("lib/firmware/unsigned", strict, []byte("unsigned\n"), nil, "firmware\tunsigned", notSigned)
}

// addVerity adds programs whose fs-verity digests are signed. fs-verity is enabled on them
// on the device.
func (b *bench) addVerity() {
	b.t.Helper()
	for _, s := range b.signers {
		for _, h := range []struct {
			id     ima.HashID
			std    crypto.Hash
			number string
		}{{ima.SHA256, crypto.SHA256, "1"}, {ima.SHA512, crypto.SHA512, "2"}} {
			path := "verity/" + s.name + "-" + h.id.String()
			value := s.sign(ima.VeritySignature(), h.id, verityDigest(b.t, h.std, b.named(path)))
			b.does("verity\t/mnt/"+path+"\t"+h.number, "ok")
			b.exec(path, verity, value, "")
		}
	}
	s := b.signer("p256")
	digest := verityDigest(b.t, crypto.SHA256, b.named("verity/disabled"))
	b.file("verity/disabled", verity, 0o755, b.named("verity/disabled"), map[string][]byte{ima.XattrIMA: s.sign(ima.VeritySignature(), ima.SHA256, digest)})
	b.does("exec\t/mnt/verity/disabled", "EACCES") // its record has another form
	b.does("verity\t/mnt/verity/content\t1", "ok")
	b.exec("verity/content", verity, s.v3(ima.SHA256, b.named("verity/content")), "verity-signature-required")
	b.does("verity\t/mnt/verity/otherhash\t2", "ok")
	digest = verityDigest(b.t, crypto.SHA256, b.named("verity/otherhash"))
	b.exec("verity/otherhash", verity, s.sign(ima.VeritySignature(), ima.SHA256, digest), "invalid-verity-signature")
}

// addSticky adds programs that are read under a rule with sigv3 before they are run under
// one with imasig.
func (b *bench) addSticky() {
	b.t.Helper()
	s := b.signer("rsa2048")
	b.exec("sticky/never-read", sticky, s.v2(b.named("sticky/never-read")), "")
	b.try("read\t/mnt/sticky/read", notV3)
	b.exec("sticky/read", sticky, s.v2(b.named("sticky/read")), notV3)
	b.try("read\t/mnt/sticky/v3", "")
	b.exec("sticky/v3", sticky, s.v3(ima.SHA256, b.named("sticky/v3")), "")
}

// TestVersion3 tries version 3 signatures on Linux 7.3, which has both rules for them, EVM
// and fs-verity. IMASIGN_NIGHTLY=1 adds file systems that are only read.
func TestVersion3(t *testing.T) {
	systems := []string{"ext4"}
	if harness.Nightly() {
		systems = append(systems, "squashfs", "erofs")
	}
	for _, fs := range systems {
		t.Run(fs, func(t *testing.T) {
			b := newBench(t, newer(t), chains)
			b.addValues("p384", "mldsa65")
			b.addKernelFiles()
			if fs == "ext4" {
				b.addVerity()
				b.addSticky()
				b.addConfusions()
				b.addEVM()
			}
			b.boot(fs, benchPolicy3+benchPolicy)
			b.simulate(fs, benchPolicy3+benchPolicy)
			b.protects()
		})
	}
}

// TestVersion3OnOlderKernel tries version 3 signatures on Linux 6.12, which refuses them and
// certificates of ML-DSA keys.
func TestVersion3OnOlderKernel(t *testing.T) {
	b := newBench(t, built(t), chains612)
	b.refusedKeys = map[string]string{"mldsa65": "ENOPKG"}
	b.addValues("rsa2048")
	b.boot("ext4", benchPolicy)
	b.simulate("ext4", benchPolicy)
}
