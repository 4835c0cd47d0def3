package fsverity_test

import (
	"crypto"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/internal/fsverity"
	"github.com/imasign/imasign-build/tests/harness"
)

// sizes returns sizes around the ends of blocks and of levels of the tree. A block of hashes
// covers blockSize/hashSize blocks.
func sizes(blockSize, hashSize int) (list []int) {
	covers := blockSize / hashSize
	for _, edge := range []int{0, blockSize, 2 * blockSize, covers * blockSize, (covers + 1) * blockSize, covers * covers * blockSize} {
		for n := edge - 1; n <= edge+1; n++ {
			if n >= 0 && n < 6e6 {
				list = append(list, n)
			}
		}
	}
	return append(list, 12345, 5e6)
}

// TestDigestsAreThoseOfFsverityUtils compares all digests with those of fsverity-utils.
func TestDigestsAreThoseOfFsverityUtils(t *testing.T) {
	program, dir := harness.Tool(t, "fsverity"), t.TempDir()
	content := make([]byte, 6e6)
	random := rand.NewChaCha8([32]byte{1})
	_, _ = random.Read(content)
	cases := 0
	for _, h := range []crypto.Hash{crypto.SHA256, crypto.SHA512} {
		for _, block := range []int{1024, 2048, 4096, 16384, 65536} {
			for _, salt := range []string{"", "aa", "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"} {
				p := fsverity.Parameters{Hash: h, BlockSize: block}
				p.Salt, _ = hex.DecodeString(salt)
				var files []string
				for _, n := range sizes(block, h.Size()) {
					files = append(files, file(t, dir, n, content[:n]))
				}
				files = append(files, sparse(t, dir))
				cases += compare(t, program, p, files)
			}
		}
	}
	t.Logf("%d digests", cases)
	if cases < 160 {
		t.Errorf("only %d digests were compared", cases)
	}
}

func file(t *testing.T, dir string, n int, content []byte) string {
	path := filepath.Join(dir, fmt.Sprint(n))
	if _, err := os.Stat(path); err == nil {
		return path
	}
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func sparse(t *testing.T, dir string) string {
	path := filepath.Join(dir, "sparse")
	if err := os.WriteFile(path, []byte("data"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, 3e6+7); err != nil {
		t.Fatal(err)
	}
	return path
}

// compare compares the digests of files and returns their number.
func compare(t *testing.T, program string, p fsverity.Parameters, files []string) int {
	t.Helper()
	alg := strings.ToLower(strings.ReplaceAll(p.Hash.String(), "-", ""))
	args := []string{"digest", "--compact", "--hash-alg=" + alg, fmt.Sprintf("--block-size=%d", p.BlockSize)}
	if len(p.Salt) > 0 {
		args = append(args, "--salt="+hex.EncodeToString(p.Salt))
	}
	out, err := exec.Command(program, append(args, files...)...).Output()
	if err != nil {
		t.Fatalf("%v: %v", args, err)
	}
	want := strings.Fields(string(out))
	if len(want) != len(files) {
		t.Fatalf("%d digests for %d files", len(want), len(files))
	}
	d, err := fsverity.New(p)
	if err != nil {
		t.Fatal(err)
	}
	for i, path := range files {
		d.Reset()
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		write(d, content, 5000) // across the ends of blocks
		if got := hex.EncodeToString(d.Sum(nil)); got != want[i] {
			t.Errorf("%v %s: %s, want %s", args[2:], filepath.Base(path), got, want[i])
		}
	}
	return len(files)
}
