package bitbake

import (
	"bytes"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/tests/harness"
)

// mldsa builds images with signatures that are too large for the defaults of mkfs.ext4 and
// mkfs.btrfs.
func (l *lab) mldsa(t *testing.T) {
	for _, c := range []struct {
		algorithm, evm string
		size           int // of a signature
		large          bool
	}{{"mldsa65", "", 3318, false}, {"mldsa87", evmOn, 4636, true}} {
		t.Run(c.algorithm, func(t *testing.T) {
			keys := l.path(c.algorithm)
			harness.Must(t, harness.Program(t), "key", "init", "--algorithm", c.algorithm, "--with", "evm", keys)
			harness.Must(t, "chown", "-R", fmt.Sprint(uid), keys)
			l.build(t, fmt.Sprintf("IMASIGN_KEYS_DIR = \"%s\"\nIMASIGN_KEY_PASS = \"\"\nIMASIGN_SIGNATURE = \"v3\"\n%s", keys, c.evm), "test-image")
			image := l.path(filepath.Join(images, image+".ext4"))
			harness.Must(t, "e2fsck", "-fn", image)
			header := harness.Must(t, "dumpe2fs", "-h", image)
			if !regexp.MustCompile(`(?m)^Block size: +4096$`).MatchString(header) || strings.Contains(header, "ea_inode") != c.large {
				t.Errorf("not as it must be:\n%s", header)
			}
			ima, evm := l.manifest(t), l.values(t, "security.evm")
			l.eachImage(t, func(t *testing.T, dir string) {
				signed := 0
				for path, want := range ima {
					value, err := getxattr(filepath.Join(dir, path), "security.ima")
					if len(want) > 0 && (err != nil || !bytes.Equal(value, want) || len(value) != c.size) {
						t.Errorf("%s: security.ima of %d bytes (%v), the manifest says %d", path, len(value), err, len(want))
					}
					if value, err := getxattr(filepath.Join(dir, path), "security.evm"); len(evm[path]) > 0 && (err != nil || !bytes.Equal(value, evm[path])) {
						t.Errorf("%s: security.evm of %d bytes (%v), the manifest says %d", path, len(value), err, len(evm[path]))
					}
					if len(want) > 0 && (len(evm[path]) > 0) == c.large {
						signed++
					}
				}
				if signed < 25 {
					t.Errorf("%d files are signed", signed)
				}
				flags := []string{"rootfs", "verify", "--signature", "v3", "--cert", keys, "--exclude", "/usr/share/test/f20", "--exclude", "/" + controlWord}
				if c.large {
					flags = append(flags, "--evm-cert", keys, "--require-evm", "--evm-target", "64le")
				}
				harness.Must(t, harness.Program(t), append(flags, dir)...)
			})
		})
	}
}
