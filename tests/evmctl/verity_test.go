package evmctl

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/tests/harness"
)

// TestVerity compares signatures over fs-verity digests with those of evmctl 1.5, which
// takes the digests from fsverity-utils. RSA signatures are the same bytes. Those of ECDSA
// differ, so evmctl's are attached and verified.
func TestVerity(t *testing.T) {
	harness.Root(t)
	program, fsverity := harness.Program(t), harness.Tool(t, "fsverity")
	for _, algorithm := range []string{"rsa2048", "p256"} {
		dir := t.TempDir()
		keys, tree := filepath.Join(dir, "keys"), filepath.Join(dir, "tree")
		harness.Must(t, program, "key", "init", "--algorithm", algorithm, keys)
		check(t, os.Mkdir(tree, 0o755))
		for _, size := range []int{0, 1, 4096, 4097, 524289} {
			content := make([]byte, size)
			_, _ = rand.Read(content)
			check(t, os.WriteFile(filepath.Join(tree, fmt.Sprint(size)), content, 0o644))
		}
		files, err := filepath.Glob(tree + "/*")
		check(t, err)
		for _, c := range []struct{ hash, block, salt string }{{"sha256", "4096", ""}, {"sha256", "1024", "aabbccdd"}, {"sha512", "4096", ""}} {
			flags := []string{"--verity-block-size", c.block, "--verity-salt", c.salt}
			digest := []string{"digest", "--hash-alg=" + c.hash, "--block-size=" + c.block}
			if c.salt != "" {
				digest = append(digest, "--salt="+c.salt)
			}
			theirs := signVerity(t, keys, c.hash, harness.Must(t, fsverity, append(digest, files...)...))
			harness.Must(t, program, append([]string{"rootfs", "sign", "--force", "--key", keys, "--key-for", "v3", "--verity", "*", "--hash", c.hash, tree}, flags...)...)
			for i, file := range files {
				if ours := getxattr(t, file, "security.ima"); algorithm == "rsa2048" && !bytes.Equal(ours, theirs[i]) {
					t.Errorf("%s %+v: %x, evmctl has %x", file, c, ours, theirs[i])
				}
				setxattr(t, file, "security.ima", theirs[i])
			}
			harness.Must(t, program, append([]string{"rootfs", "verify", "--cert", keys, "--key-for", "v3", tree}, flags...)...)
		}
	}
}

// signVerity returns the values that evmctl makes of the lines of fsverity digest.
func signVerity(t *testing.T, keys, hash, digests string) (values [][]byte) {
	t.Helper()
	cmd := harness.Evmctl15(t, "sign_hash", "--veritysig", "--hashalgo", hash, "--key", keys+"/x509_ima.key", "--keyid-from-cert", keys+"/x509_ima.crt")
	cmd.Stdin = strings.NewReader(digests)
	out, err := cmd.Output()
	check(t, err)
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		value, err := hex.DecodeString(fields[len(fields)-1])
		check(t, err)
		values = append(values, value)
	}
	return values
}
