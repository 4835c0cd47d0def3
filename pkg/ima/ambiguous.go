package ima

import "slices"

// MayBeFileID reports whether content, a whole file, has the form of a file_id, which version
// 3 signatures are made over: a type, a hash id, and a digest of that size (struct ima_file_id
// in the kernel's security/integrity/integrity.h).
//
// If the kernel trusts one key for both versions, a version 2 signature of such a file is a
// valid version 3 signature of another one.
func MayBeFileID(content []byte) bool {
	if len(content) < 2 {
		return false
	}
	t, h := Type(content[0]), HashID(content[1])
	return h.known() && len(content) == 2+h.Size() && (t == TypeSignature || t == TypeEVMPortable || t == TypeVerity)
}

// AmbiguousSize reports whether a file of size bytes may be a file_id, or the input of a
// portable EVM digest of a file that has a digest in security.ima and no label. Where reading
// files is expensive, only those of such a size have to be read for [MayBeFileID] and
// [MayBeEVMInput]. Inputs of EVM digests with labels or signatures can have almost any size.
func AmbiguousSize(size int64) bool {
	if size > maxAmbiguous {
		return false
	}
	for h := range hashes {
		if slices.Contains(ambiguousSizes(hashes[h].size), int(size)) {
			return true
		}
	}
	return false
}

// maxAmbiguous is the size of the input of an EVM digest with a digest of 64 bytes and a
// capability: the largest size of [AmbiguousSize].
const maxAmbiguous = 2 + 64 + 24 + maxMisc

// ambiguousSizes returns the sizes of a file_id and of inputs of EVM digests with a digest of
// n bytes. The latter have security.ima, with a type and mostly a hash id before the digest;
// security.capability of revision 1, 2 or 3 (struct vfs_cap_data and vfs_ns_cap_data of
// include/uapi/linux/capability.h), or none; and struct h_misc.
func ambiguousSizes(n int) []int {
	sizes := []int{2 + n}
	for _, value := range []int{1 + n, 2 + n} {
		for _, capability := range []int{0, 12, 20, 24} {
			sizes = append(sizes, value+capability+minMisc, value+capability+maxMisc)
		}
	}
	return sizes
}
