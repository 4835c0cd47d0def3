package rootfs

import (
	"errors"
	"fmt"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/signing"
)

// TestNoSpaceForSecondValue uses inodes that take one RSA-4096 signature per file, but not
// two. The first value must be restored, whether there was none, an empty one or another.
func TestNoSpaceForSecondValue(t *testing.T) {
	dir := ext4(t, "2M", "-I", "128", "-b", "1024", "-N", "256", "-O", "^has_journal")
	write(t, dir, "a", "b", "c")
	setXattr(t, filepath.Join(dir, "a"), "value of before")
	setXattr(t, filepath.Join(dir, "b"), "")
	ok(t, unix.Setxattr(filepath.Join(dir, "b"), ima.XattrEVM, nil, 0))
	private := rsa4096(t)
	public, err := ima.BareKey(private.Public())
	ok(t, err)
	key := &signing.Key{Signer: ima.FromRaw(ima.CryptoSigner(private), public), Public: public}
	e, err := signing.New(signing.Options{Force: true, Stages: []signing.Stage{
		signing.ContentStage(key, 0), signing.PortableStage(key, 0, func() ima.EVMTarget { return ima.EVMTarget{} }),
	}})
	ok(t, err)
	for _, name := range []string{"a", "b", "c"} { // each of them is the one that fails
		var others []string
		for _, other := range []string{"a", "b", "c"} {
			if other != name {
				others = append(others, other)
			}
		}
		tr := openTree(t, dir, Options{Jobs: 1})
		plan, err := e.Plan(t.Context(), chosen{tr, []choice{without(others...)}})
		ok(t, err)
		if got := fmt.Sprint(plan.Xattrs()); got != "[security.evm security.ima]" {
			t.Errorf("the plan changes %s", got)
		}
		was := snapshot(t, dir, false)
		if _, err := tr.Prepare(t.Context(), plan); !errors.Is(err, ErrNoRoom) {
			t.Errorf("%s: prepared: %v", name, err)
		} else {
			mentions(t, err, filepath.Join(dir, name), "security.ima of 521 bytes", "mkfs.ext4 -b 4096")
		}
		if err := tr.commit(t.Context(), plan); !errors.Is(err, unix.ENOSPC) || !errors.Is(err, errRestored) {
			t.Errorf("%s: %v", name, err)
		} else {
			mentions(t, err, "security.ima of "+filepath.Join(dir, name), "521 bytes")
		}
		same(t, name, was, snapshot(t, dir, false))
		ok(t, plan.Close())
	}
}
