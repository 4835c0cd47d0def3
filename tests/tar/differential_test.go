package tar

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/imasign/imasign-build/pkg/ima"
	"github.com/imasign/imasign-build/pkg/rootfs"
	"github.com/imasign/imasign-build/pkg/signing"
	"github.com/imasign/imasign-build/pkg/tarball"
	"github.com/imasign/imasign-build/tests/harness"
)

// archives returns how many archives TestDifferential tries: one of everyOf that are made
// by hand, and a number of mutations.
func archives() (everyOf, mutations int) {
	if harness.Nightly() {
		return 1, 50_000
	}
	return 8, 500
}

// TestDifferential extracts each archive that passes verification, before or after
// signing, with GNU tar and bsdtar. Every regular file that one of them extracts must have
// a valid signature. Refused archives must be refused for a known reason.
func TestDifferential(t *testing.T) {
	harness.Root(t)
	harness.Tool(t, "bsdtar")
	d := newDifferential(t)
	type input struct {
		name string
		text []byte
	}
	inputs := make(chan input)
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for in := range inputs {
				d.try(in.name, in.text)
			}
		})
	}
	every, mutations := archives()
	all := handMade()
	for i, name := range slices.Sorted(maps.Keys(all)) {
		if i%every == 0 {
			inputs <- input{name, all[name]}
		}
	}
	seeds := d.seeds()
	for seed := range mutations {
		name, text := mutated(uint64(seed), seeds)
		inputs <- input{name, text}
	}
	close(inputs)
	workers.Wait()
	t.Logf("%d archives passed and were extracted twice, %d were refused", d.passed, d.refused)
	if d.passed < 300 {
		t.Errorf("only %d archives passed", d.passed)
	}
}

// differential is shared by the workers.
type differential struct {
	t      *testing.T
	engine *signing.Engine
	ring   *ima.Keyring
	dir    string // in memory

	lock            sync.Mutex
	passed, refused int
	next            int
}

func newDifferential(t *testing.T) *differential {
	t.Helper()
	scalar := make([]byte, 32)
	scalar[31] = 7
	private, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), scalar)
	check(t, err)
	public, err := ima.BareKey(private.Public())
	check(t, err)
	engine, err := signing.New(signing.Options{Stages: []signing.Stage{signing.ContentStage(&signing.Key{Signer: ima.FromRaw(ima.CryptoSigner(private), public), Public: public, Workers: 1}, 0)}, Force: true, Jobs: 1})
	check(t, err)
	dir, err := os.MkdirTemp("/dev/shm", "imasign-tar-*")
	if err != nil {
		dir = t.TempDir()
	}
	t.Cleanup(func() { check(t, os.RemoveAll(dir)) })
	return &differential{t: t, engine: engine, ring: ima.NewKeyring(public), dir: dir}
}

// try tests one archive.
func (d *differential) try(name string, text []byte) {
	out, err := d.sign(text)
	if err == nil {
		if err := d.verify(out); err != nil {
			d.t.Errorf("%s: what was signed does not verify: %v", name, err)
			return
		}
		d.extract(name+", signed", out)
	} else {
		d.lock.Lock()
		d.refused++
		d.lock.Unlock()
	}
	known := []error{nil, errUnsigned, tarball.ErrFormat, tarball.ErrAmbiguous, tarball.ErrTruncated, tarball.ErrTooLarge, tarball.ErrCompression}
	verified := d.verify(text)
	for _, failed := range []error{err, verified} {
		if !isAny(failed, known) {
			d.t.Errorf("%s: refused without a known reason: %v", name, failed)
		}
	}
	if verified == nil {
		d.extract(name, text)
	}
}

func isAny(err error, all []error) bool {
	for _, known := range all {
		if errors.Is(err, known) {
			return true
		}
	}
	return false
}

var errUnsigned = errors.New("not all entries verify")

func (d *differential) open(text []byte) (*tarball.Archive, error) {
	return tarball.Open(d.t.Context(), bytes.NewReader(text), "archive", tarball.Options{UnpackLimit: 4 << 20, SpoolDir: d.dir, EveryRecord: true, Filled: true})
}

func (d *differential) sign(text []byte) ([]byte, error) {
	a, err := tarball.Open(d.t.Context(), bytes.NewReader(text), "archive", tarball.Options{UnpackLimit: 4 << 20, SpoolDir: d.dir})
	if err != nil {
		return nil, err
	}
	defer a.Close()
	plan, err := d.engine.Plan(d.t.Context(), a)
	if err != nil {
		return nil, err
	}
	defer plan.Close()
	var out bytes.Buffer
	err = a.Rewrite(d.t.Context(), plan, &out)
	return out.Bytes(), err
}

func (d *differential) verify(text []byte) error {
	a, err := d.open(text)
	if err != nil {
		return err
	}
	defer a.Close()
	return d.judge(a)
}

// judge verifies a container.
func (d *differential) judge(src signing.Source) error {
	var wrong []string
	err := d.engine.Verify(d.t.Context(), src, signing.Trust{Ring: d.ring}, func(v signing.Verdict) error {
		if v.Outcome.Wrong() {
			wrong = append(wrong, fmt.Sprintf("%q %s", v.Path, v.Outcome))
		}
		return nil
	})
	if err == nil && len(wrong) > 0 {
		err = fmt.Errorf("%w: %s", errUnsigned, strings.Join(wrong, ", "))
	}
	return err
}

// extract extracts an archive that passed with both programs, and verifies the trees.
func (d *differential) extract(name string, text []byte) {
	d.lock.Lock()
	d.passed++
	d.next++
	dir := filepath.Join(d.dir, fmt.Sprint(d.next))
	d.lock.Unlock()
	archive := filepath.Join(dir, "archive")
	defer func() { check(d.t, exec.Command("rm", "-rf", dir).Run()) }()
	for program, command := range extractors {
		to := filepath.Join(dir, program)
		check(d.t, os.MkdirAll(to, 0o755))
		check(d.t, os.WriteFile(archive, text, 0o600))
		cmd := command(archive, to)
		said, _ := cmd.CombinedOutput() // a refused archive is not extracted
		if err := d.judgeTree(to); err != nil {
			d.t.Errorf("%s: passes, and %s extracts a file that does not: %v\n%.500s%s", name, program, err, said, d.keep(name, text))
		}
	}
}

// judgeTree verifies a tree. A program that fails may leave files with mode 0 in place of
// links that it would make at the end.
func (d *differential) judgeTree(dir string) error {
	tree, err := rootfs.Open(dir, rootfs.Options{})
	if err != nil {
		return err
	}
	defer tree.Close()
	return d.judge(tree)
}

// keep stores an archive in the directory IMASIGN_KEEP.
func (d *differential) keep(name string, text []byte) string {
	dir := os.Getenv("IMASIGN_KEEP")
	if dir == "" {
		return ""
	}
	file := filepath.Join(dir, strings.Map(func(c rune) rune {
		if strings.ContainsRune(" /\"\x00", c) {
			return '_'
		}
		return c
	}, fmt.Sprintf("%.80s", name)))
	check(d.t, os.WriteFile(file, text, 0o600))
	return "\nkept as " + file
}

// seeds returns archives that pass verification, for mutations to start from.
func (d *differential) seeds() [][]byte {
	var seeds [][]byte
	paths, err := filepath.Glob("../../pkg/tarball/testdata/*.tar")
	check(d.t, err)
	for _, path := range paths {
		seeds = append(seeds, []byte(read(d.t, path)))
	}
	for _, text := range bases() {
		seeds = append(seeds, text)
	}
	all := seeds
	for _, text := range seeds {
		out, err := d.sign(text)
		check(d.t, err)
		all = append(all, out)
	}
	return all
}
