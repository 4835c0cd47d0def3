package kernel

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/imasign/imasign-build/tests/harness"
)

// keySet is a directory made by `key init`.
type keySet string

func (k keySet) file(extension string) string {
	return filepath.Join(string(k), "x509_ima."+extension)
}

// scratch is a directory that the tests share. It is removed at the end.
var scratch string

func TestMain(m *testing.M) {
	var err error
	if scratch, err = os.MkdirTemp("", "kernel-*"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	harness.Main(m, func() error { return os.RemoveAll(scratch) })
}

var (
	makeKeys sync.Once
	made     map[string]keySet
)

// keys returns the key sets by name. Those of the device are certified by the CAs that are
// compiled into the kernel, those of rogue by another CA.
func keys(t *testing.T) map[string]keySet {
	t.Helper()
	makeKeys.Do(func() {
		rsa, ec := filepath.Join(built(t).dir, "rsa2048"), filepath.Join(built(t).dir, "p384")
		set := map[string]keySet{}
		initKeys := func(name, algorithm string, ca string, flags ...string) string {
			dir := filepath.Join(scratch, name)
			args := []string{"key", "init", "--algorithm", algorithm, "--subject", "/CN=" + name}
			if ca != "" {
				args = append(args, "--ca-key", ca+".key", "--ca", ca+".crt")
			}
			harness.Must(t, harness.Program(t), append(append(args, flags...), dir)...)
			set[name] = keySet(dir)
			return dir
		}
		rsaCA, ecCA := filepath.Join(rsa, "system_trusted_key"), filepath.Join(ec, "system_trusted_key")
		sample := initKeys("rsa2048", "rsa2048", rsaCA, "--with", "evm,secondary")
		initKeys("rsa4096", "rsa4096", rsaCA)
		initKeys("p256", "p256", rsaCA)
		initKeys("p384", "p384", ecCA)
		initKeys("revoked", "rsa2048", rsaCA)
		initKeys("secondary", "p256", filepath.Join(sample, "x509_secondary"))
		initKeys("rogue", "rsa2048", "")
		made = set
	})
	if made == nil {
		t.Fatal("the keys could not be made")
	}
	return made
}
