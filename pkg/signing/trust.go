package signing

import (
	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/manifest"
)

// Trust is what entries are verified against.
type Trust struct {
	// Ring has the trusted keys.
	Ring *ima.Keyring
	// EVM has the trusted keys for security.evm, because a kernel has a keyring of its own
	// for them. nil trusts none.
	EVM *ima.Keyring
	// Index, unless nil, is a manifest that the container must match.
	Index *manifest.Index
	// Beside judges entries whose path the manifest does not list as if there were no
	// manifest. Without it they are Bad.
	Beside bool
	// MayLack, unless nil, reports whether the container may lack a path that the manifest
	// lists.
	MayLack func(path string) bool
	// AsKernel accepts what a kernel accepts: also one key for two purposes
	// ([ima.Keyring.CheckApart]), and version 2 signatures of contents that are refused with
	// [ErrDoubleUse] otherwise.
	AsKernel bool
	// Verity are the parameters of fs-verity digests where a manifest does not state them.
	// nil means [manifest.DefaultVerity].
	Verity *manifest.Verity
}

// check returns an error if one key is trusted for two purposes. The error wraps
// [ima.ErrBothXattrs] or [ima.ErrPurpose].
func (t *Trust) check() error {
	if t.Ring == nil || t.AsKernel {
		return nil
	}
	return t.Ring.CheckApart(t.EVM)
}

// ring returns the keys that are trusted for an xattr.
func (t *Trust) ring(xattr string) *ima.Keyring {
	switch {
	case xattr != ima.XattrEVM:
		return t.Ring
	case t.EVM == nil:
		return ima.NewKeyring()
	}
	return t.EVM
}

// signature verifies a signature, and returns the key that made it.
func (t *Trust) signature(e *Entry, raw []byte, s ima.Statement) (*ima.PublicKey, error) {
	key, err := t.ring(s.Form.Xattr).Verify(raw, s)
	if err == nil && !t.AsKernel {
		err = e.checkDoubleUse(s.Form)
	}
	if err != nil {
		return nil, err
	}
	return key, nil
}

// accepted returns the form that a value is verified as: that of the stage's signatures, or
// the same in version 3. A value of any other form is refused as one of these.
func accepted(stage ima.Form, v *ima.Value) ima.Form {
	if v.Type == stage.Type && v.Version == 3 {
		return stage.V3()
	}
	return stage
}
