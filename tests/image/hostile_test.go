package image

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/tests/harness"
	"github.com/imasign/imasign-build/tests/imagetree"
)

// maxMemory is the resident memory, in bytes, that the program may have with a hostile
// image: 64 MiB, and what it has with any image.
const maxMemory = 96 << 20

// TestMutations verifies damaged images: 25 of each format, or 500 with IMASIGN_NIGHTLY=1.
// The program must end with a verdict or an error, soon, and without much memory.
func TestMutations(t *testing.T) {
	l := newLab(t, kept...)
	count := uint64(25)
	if imagetree.Full() {
		count = 500
	}
	metadata := format{"squashfs-plain", []string{"mksquashfs", "TREE", "IMAGE", "-quiet", "-no-progress", "-noappend", "-noI", "-noX", "-noD", "-noF"}}
	for _, f := range []format{plain[0], metadata, compressed[2]} {
		t.Run(f.name, func(t *testing.T) {
			base, err := os.ReadFile(l.image(t, f, l.tree))
			check(t, err)
			codes, most := map[int]int{}, int64(0)
			for seed := range count {
				m := imagetree.NewMutation(base, seed)
				image := filepath.Join(l.dir, "mutation.img")
				write(t, image, m)
				r := harness.RunCommandMeasured(t, exec.Command("prlimit", "--data=1073741824", "timeout", "--signal=KILL", "60",
					l.program, "image", "verify", "--cert", l.path("x509_ima.crt"), "--manifest", l.manifest, "--quiet", image))
				codes[r.Code]++
				most = max(most, r.MaxRSS)
				if r.Code != 0 && r.Code != 1 && r.Code != 3 || strings.Contains(r.Err, "goroutine ") {
					t.Errorf("mutation %d, %s: exit %d\n%.4000s", seed, m, r.Code, r.Err)
				}
				if r.MaxRSS > maxMemory {
					t.Errorf("mutation %d, %s: %d MiB of memory", seed, m, r.MaxRSS>>20)
				}
			}
			t.Logf("exit codes %v, at most %d MiB", codes, most>>20)
			if codes[1] == 0 || codes[3] == 0 {
				t.Errorf("the exit codes are only %v", codes)
			}
		})
	}
}

func write(t testing.TB, path string, m *imagetree.Mutation) {
	t.Helper()
	file, err := os.Create(path)
	check(t, err)
	_, err = io.Copy(file, io.NewSectionReader(m, 0, m.Size))
	check(t, err)
	check(t, file.Close())
}
