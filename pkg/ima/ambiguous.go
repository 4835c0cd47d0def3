package ima

// MayBeFileID reports whether content, a whole file, is what version 3 signatures are over: a
// file_id, which is a type, a hash id, and a digest of that hash.
//
// A version 2 signature of such a content is a valid version 3 signature of another file, if
// the kernel trusts the key for both.
func MayBeFileID(content []byte) bool {
	if len(content) < 2 {
		return false
	}
	t, h := Type(content[0]), HashID(content[1])
	return h.known() && len(content) == 2+h.Size() && (t == TypeSignature || t == TypeEVMPortable || t == TypeVerity)
}
