package simulate

import (
	"slices"

	"github.com/imasign/imasign-build/internal/kernel"
	"github.com/imasign/imasign-build/internal/policy"
	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/signing"
)

// metadata is what is known of a file's security.evm.
type metadata struct {
	judged bool // EVM is enabled, and the file has a security.ima
	has    bool
	size   int // of the value, in bytes
	kind   ima.Type
	header header
	by     string // algorithm of the key of a valid signature
	err    error  // nil for a valid signature
}

// typeHMAC is the type of a security.evm value that is an HMAC: EVM_XATTR_HMAC of the
// kernel's security/integrity/integrity.h.
const typeHMAC ima.Type = 0x02

// metadataOf picks the engine's verdict on security.evm.
func (s *simulation) metadataOf(v signing.Verdict) (m metadata) {
	i := slices.IndexFunc(v.Values, func(j signing.Judged) bool { return j.Form.Xattr == ima.XattrEVM })
	if s.EVM == nil || i < 0 {
		return m
	}
	m.judged, m.err = true, v.Values[i].Err
	raw := v.Xattrs[ima.XattrEVM]
	if m.has = len(raw) > 0; !m.has {
		return m
	}
	m.size, m.kind, m.header = len(raw), ima.Type(raw[0]), headerOf(raw, ima.XattrEVM)
	if key := v.Values[i].Key; key != nil {
		m.by = key.Algorithm()
	}
	return m
}

// signatureHeader is the size of struct signature_v2_hdr of the kernel's
// security/integrity/integrity.h.
const signatureHeader = 9

// protected judges security.evm, as evm_verify_hmac (security/integrity/evm/evm_main.c) does
// for ima_appraise_measurement.
func (s *simulation) protected(m *metadata) refusal {
	const mutable, immutable = "invalid-HMAC", "invalid-fail-immutable"
	tooNew := ""
	if m.kind == ima.TypeEVMPortable && m.header.version == 3 {
		tooNew = s.unknownForm(ima.PortableSignature().V3(), immutable)
	}
	signed := m.kind == ima.TypeSignature || m.kind == ima.TypeEVMPortable
	switch {
	case !m.judged:
		return pass()
	case !m.has:
		return refused("missing-HMAC", "no security.evm")
	case m.kind == typeHMAC:
		return depends(mutable, "security.evm is an HMAC, which only the device that made it can check")
	case signed && m.size <= signatureHeader:
		return refused(mutable, "%s", reasonOf(m.err))
	case signed && s.EVMVersion3 && m.header.version != 3:
		return refused(mutable, "a version %d signature in security.evm, where EVM demands version 3", m.header.version)
	case m.kind == ima.TypeSignature:
		return depends(mutable, "security.evm is not portable: it is valid for one inode of one file system")
	case tooNew != "":
		return refused(immutable, "%s", tooNew)
	case m.err != nil && m.kind == ima.TypeEVMPortable:
		return refused(immutable, "%v", m.err)
	case m.err != nil:
		return refused(mutable, "%v", m.err)
	}
	return s.verifiable(m.header.form, m.by, m.header.hash)
}

// digestsUnderEVM is the first version in which a digest under a portable signature
// satisfies rules that demand a signature.
func digestsUnderEVM() kernel.Version { return kernel.Version{Major: 5, Minor: 14} }

// limits names what EVM changes on the device, and what is not known about it here.
func (s *simulation) limits() []string {
	if s.EVM == nil {
		return nil
	}
	list := []string{
		"what changes after signing makes a file refused: owners (images that are built without root), modes, capabilities, labels (relabelling at the first boot), or contents (wic writes etc/fstab, ldconfig etc/ld.so.cache); a copy by cp -a has no security.evm",
		"files that the device makes itself have no security.evm (missing-HMAC)",
	}
	if slices.ContainsFunc(s.rules, func(r *policy.Rule) bool { return r.Action == policy.Appraise && r.AppraiseType == policy.AnyValue }) {
		list = append(list, "under rules without appraise_type, the kernel gives a digest to files that the device makes, and then refuses them (missing-HMAC)")
	}
	if s.FSName == "overlay" {
		list = append(list, "security.evm cannot be set through overlayfs (EPERM)")
	} else {
		list = append(list, "where an overlayfs is mounted over the tree, security.evm cannot be set through it (EPERM)")
	}
	digests := slices.ContainsFunc(s.subjects, func(sub *subject) bool { return sub.covered })
	if digests {
		list = append(list, "a boot with ima_appraise=fix can replace digests in security.ima, and so make security.evm invalid")
	}
	sigv3 := slices.ContainsFunc(s.rules, func(r *policy.Rule) bool { return r.Action == policy.Appraise && r.AppraiseType.V3() && !r.Verity })
	if digests && sigv3 && !s.EVMVersion3 {
		list = append(list, "appraise_type=sigv3 accepts a digest under a version 2 signature in security.evm, unless EVM is told to demand version 3")
	}
	return list
}
