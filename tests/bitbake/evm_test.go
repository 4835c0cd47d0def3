package bitbake

import (
	"bytes"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/tests/harness"
)

const evmOn = "IMASIGN_EVM = \"portable\"\n"

// evm signs images with security.evm. The tree was signed before without it.
func (l *lab) evm(t *testing.T) {
	l.build(t, "", "test-image") // the steps before may have made other image types, which need another tree
	before := l.manifest(t)
	r := l.build(t, evmOn, "test-image")
	if !r.ran("test-image:do_image") || r.ran("test-image:do_rootfs") {
		t.Errorf("tasks: %v", r.tasks)
	}
	ima, evm := l.manifest(t), l.values(t, "security.evm")
	for path, value := range ima {
		if !bytes.Equal(value, before[path]) || (len(value) > 0) != (len(evm[path]) > 0) {
			t.Errorf("%s: security.ima %x, without EVM %x, security.evm %x", path, value, before[path], evm[path])
		}
	}
	l.eachImage(t, func(t *testing.T, dir string) {
		verifyTree(t, dir, l.path("keys/x509_ima.der"), ima)
		l.verifyEVM(t, dir, l.path("keys/x509_evm.der"))
	})
	l.jffs2(t, evm)
	t.Run("nothing changed", func(t *testing.T) {
		l.nothingRuns(t, fmt.Sprintf("%sIMASIGN_EVM_KEY = \"%[2]s/x509_evm.key\"\nIMASIGN_EVM_CERT = \"%[2]s/x509_evm.crt\"\n", evmOn, l.path("keys/../keys")))
	})
	t.Run("another key", l.otherEVMKey)
	t.Run("digest", func(t *testing.T) {
		l.build(t, evmOn+"IMASIGN_IMA = \"digest\"\n", "test-image")
		for path, value := range l.manifest(t) {
			if len(value) > 0 && !bytes.HasPrefix(value, []byte{4, 4}) { // digest-ng, SHA-256
				t.Errorf("%s: security.ima %x", path, value)
			}
		}
		l.eachImage(t, func(t *testing.T, dir string) { l.verifyEVM(t, dir, l.path("keys/x509_evm.der")) })
	})
	t.Run("off again", func(t *testing.T) {
		l.build(t, "", "test-image")
		if fmt.Sprint(l.manifest(t)) != fmt.Sprint(before) {
			t.Error("another manifest")
		}
		for path, value := range l.values(t, "security.evm") {
			if len(value) > 0 {
				t.Errorf("%s kept security.evm", path)
			}
		}
	})
}

// otherEVMKey signs with another certificate. Then only the tasks run again that sign with
// it. The second build uses one key for both values.
func (l *lab) otherEVMKey(t *testing.T) {
	r := l.build(t, fmt.Sprintf("%sIMASIGN_EVM_KEY = \"%[2]s/x509_evm.key\"\nIMASIGN_EVM_CERT = \"%[2]s/x509_evm.crt\"\n", evmOn, l.path("rotated")), "test-image")
	if !r.ran("test-image:do_image") || r.ran("test-image:do_rootfs") {
		t.Errorf("tasks: %v", r.tasks)
	}
	l.eachImage(t, func(t *testing.T, dir string) { l.verifyEVM(t, dir, l.path("rotated/x509_evm.der")) })
	r = l.bitbake(t, evmOn+"IMASIGN_EVM_KEY = \"${IMASIGN_KEY}\"\nIMASIGN_EVM_CERT = \"${IMASIGN_CERT}\"\n", "test-image")
	if r.Code != 0 || !regexp.MustCompile(`WARNING: .*one key signs security\.ima and security\.evm`).MatchString(r.Out) {
		t.Errorf("one key: exit %d\n%s", r.Code, tail(r.Out))
	}
}

// verifyEVM checks that security.evm of every file in an image is that of the manifest, and
// that evmctl accepts it.
func (l *lab) verifyEVM(t *testing.T, dir, cert string) {
	t.Helper()
	verified := 0
	for path, want := range l.values(t, "security.evm") {
		file := filepath.Join(dir, path)
		value, err := getxattr(file, "security.evm")
		if len(want) == 0 {
			if err == nil {
				t.Errorf("%s has security.evm and should not", path)
			}
			continue
		}
		if err != nil || !bytes.Equal(value, want) {
			t.Errorf("%s: security.evm %x (%v), the manifest says %x", path, value, err, want)
		}
		evmctl(t, "verify", cert, file)
		verified++
	}
	if verified < 25 {
		t.Errorf("only %d files verified", verified)
	}
}

// TestEVMFragment checks that the tests' kernel, which boots with EVM, has every option of
// imasign-evm.cfg.
func TestEVMFragment(t *testing.T) {
	kernel := strings.Split(read(t, "../kernel/x86_64.cfg"), "\n")
	options := 0
	for line := range strings.Lines(read(t, filepath.Join(root, "recipes/linux/files/imasign-evm.cfg"))) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "#") && !strings.HasSuffix(line, " is not set") {
			continue
		}
		options++
		if !slices.Contains(kernel, line) {
			t.Errorf("tests/kernel/x86_64.cfg has no %s", line)
		}
	}
	if options != 3 {
		t.Errorf("%d options", options)
	}
}

// TestEVMTarget checks the default of IMASIGN_EVM_TARGET, and that the program knows the
// values that the class accepts.
func TestEVMTarget(t *testing.T) {
	class := read(t, filepath.Join(root, "classes/imasign-image.bbclass"))
	if !strings.Contains(class, "\nIMASIGN_EVM_TARGET ?= \"${SITEINFO_BITS}${SITEINFO_ENDIANNESS}\"\n") {
		t.Error("IMASIGN_EVM_TARGET has another default")
	}
	help := strings.Join(strings.Fields(harness.Must(t, harness.Program(t), "rootfs", "sign", "--help")), " ")
	for _, bits := range []string{"64", "32"} {
		for _, order := range []string{"le", "be"} {
			if !strings.Contains(class, "'"+bits+order+"'") || !strings.Contains(help, bits+order+" (") {
				t.Errorf("%s%s is not known", bits, order)
			}
		}
	}
}
