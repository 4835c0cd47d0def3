package pseudo

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/imasign/imasign-build/tests/harness"
)

const verify = "imasign-build rootfs verify --progress=none --cert keys/x509_ima.crt rootfs"

// TestEveryCommandOnOneTree signs, signs again, strips, applies a manifest and verifies.
// In between it stops pseudo, whose server must not have logged errors.
func TestEveryCommandOnOneTree(t *testing.T) {
	b := newTree(t, "p256")
	plain := b.OK(b.Pseudo("cd rootfs" + survey))
	for _, step := range []struct{ run, says string }{
		{"imasign-build rootfs sign --manifest m.jsonl " + keys, "11 signed"},
		{verify + " #", "12 ok"},
		{"imasign-build rootfs sign " + keys, "11 unchanged"},
		{"imasign-build rootfs strip --progress=none", "11 stripped"},
		{"imasign-build manifest apply --progress=none --cert keys/x509_ima.crt m.jsonl", "11 signed"},
		{verify + " --manifest m.jsonl #", "12 ok"},
		{"imasign-build rootfs sign --hash sha512 --force " + keys, "11 signed"},
		{"imasign-build rootfs sign --hashed /etc --force " + keys, "8 signed, 3 hashed"},
		{verify + " --hashed /etc #", "9 ok, 3 hashed"},
	} {
		if out := b.OK(b.Pseudo(step.run + " rootfs")); !strings.Contains(out, step.says) {
			t.Errorf("%s: %s", step.run, out)
		}
		if strings.Contains(step.run, "strip") {
			same(t, "the stripped tree", b.OK(b.Pseudo("cd rootfs"+survey)), plain)
		}
		b.StopPseudo()
	}
}

// TestVerifyFindsWhatIsWrong damages files and metadata with other programs.
func TestVerifyFindsWhatIsWrong(t *testing.T) {
	b := newTree(t, "p256")
	b.OK(b.Pseudo("imasign-build rootfs sign --manifest m.jsonl " + keys + " rootfs"))
	b.OK(b.Pseudo(`echo tampered > rootfs/etc/shadow
setfattr -x security.ima rootfs/bin/su
chown 5:5 rootfs/bin/owned
chmod 0644 rootfs/etc/zero
ln -sfn usr/other rootfs/lib
rm rootfs/dev/null; mknod rootfs/dev/null c 1 5; chmod 0666 rootfs/dev/null`))
	r := b.Pseudo(verify)
	if r.Code != 3 || !strings.Contains(r.Out, "10 ok, 0 hashed, 1 unsigned, 1 bad") ||
		!strings.Contains(r.Out, "unsigned  bin/su") || !strings.Contains(r.Out, "bad       etc/shadow") {
		t.Errorf("exit %d\n%s%s", r.Code, r.Out, r.Err)
	}
	r = b.Pseudo(verify + " --manifest m.jsonl")
	for _, says := range []string{
		"bin/owned: does not match the manifest: its owner is 5:5, not 1234:4321", "etc/zero: does not match the manifest: its mode is 0644, not 0000",
		"lib: does not match the manifest: it points to usr/other, not usr/lib", "dev/null: does not match the manifest: its device is 1:5, not 1:3",
	} {
		if !strings.Contains(r.Out, says) {
			t.Errorf("it does not say %q:\n%s", says, r.Out)
		}
	}
}

// TestTwoSignersAtOnce signs one tree with several processes at the same time, with one
// key, then with different keys. Each process must sign the whole tree or report that
// another one was first. Every file must have a valid signature in the end.
func TestTwoSignersAtOnce(t *testing.T) {
	b := newTree(t, "p256")
	b.OK(b.Pseudo("for i in $(seq 300); do echo $i > rootfs/usr/$i; done"))
	b.OK(b.Run("imasign-build key init --algorithm p256 others"))
	others := strings.ReplaceAll(keys, "keys/", "others/")
	for round, with := range [][]string{{keys, keys, keys}, {keys, others, keys}} {
		var wg sync.WaitGroup
		results := make([]harness.Result, len(with))
		for i, key := range with {
			wg.Go(func() { results[i] = b.Pseudo("imasign-build rootfs sign --force " + key + " rootfs") })
		}
		wg.Wait()
		done := 0
		for i, r := range results {
			switch {
			case r.Code == 0:
				done++
			case r.Code != 1 || !strings.Contains(r.Err, "another process"):
				t.Errorf("round %d: signer %d: exit %d\n%s", round, i, r.Code, r.Err)
			}
		}
		out := b.OK(b.Pseudo(verify + " --cert others/x509_ima.crt"))
		if done == 0 || !strings.Contains(out, "312 ok") {
			t.Errorf("round %d: %d signers were done: %s", round, done, out)
		}
	}
}

// TestOutputsInATrackedDirectory writes manifests, restore files and keys in a directory
// that pseudo tracks, over existing files and as new ones. Then other programs create and
// remove files there, which would show files that pseudo does not know.
func TestOutputsInATrackedDirectory(t *testing.T) {
	b := newTree(t, "p256")
	b.OK(b.Pseudo(`mkdir out; echo old > out/m.jsonl; chown 5:6 out/m.jsonl; chmod 2640 out/m.jsonl
setfattr -n security.ima -v 0x0302 out/m.jsonl; cp -a out/m.jsonl out/restore; mknod out/device c 1 3`))
	sign := "imasign-build rootfs sign --dry-run " + keys
	for range 3 {
		b.OK(b.Pseudo(sign + " --manifest out/m.jsonl rootfs; " + sign + " --manifest out/new.jsonl rootfs"))
		b.OK(b.Pseudo("imasign-build rootfs sign --output restore --restore-file out/restore " + keys + " rootfs"))
		b.OK(b.Pseudo("for i in $(seq 50); do echo $i > out/$i; done; rm out/[0-9]*; stat out/* > /dev/null"))
		b.StopPseudo()
	}
	b.OK(b.Pseudo("imasign-build key init --algorithm p256 out/keys"))
	if r := b.Pseudo("imasign-build key init --algorithm p256 out/keys"); r.Code != 1 {
		t.Errorf("keys were overwritten: exit %d", r.Code)
	}
	if r := b.Pseudo(sign + " --manifest out/device rootfs"); r.Code != 1 || !strings.Contains(r.Err, "not a regular file") {
		t.Errorf("a device node was replaced: exit %d %s", r.Code, r.Err)
	}
	b.StopPseudo()
	same(t, "the outputs", b.OK(b.Pseudo("cd out; stat -c '%n %F %a %u:%g' *.jsonl restore device keys/x509_ima.key; getfattr -h -d -m - *; ls -A | wc -l")),
		`m.jsonl regular file 2640 5:6
new.jsonl regular file 644 0:0
restore regular file 2640 5:6
device character special file 644 0:0
keys/x509_ima.key regular file 600 0:0
5
`)
	if out := b.OK(b.Pseudo("cat out/m.jsonl; cd rootfs; setfattr --restore=../out/restore; cd ..; " + verify)); !strings.Contains(out, "imasign_manifest") || !strings.Contains(out, "12 ok") {
		t.Errorf("%.500s … %s", out, out[max(0, len(out)-200):])
	}
}

// TestWherePseudoDoesNotLook checks that a tree that pseudo does not track is refused, with
// the reason, before any work is done.
func TestWherePseudoDoesNotLook(t *testing.T) {
	b := newTree(t, "p256")
	r := b.Pseudo(fmt.Sprintf("PSEUDO_IGNORE_PATHS=%s imasign-build rootfs sign %s rootfs", b.Path("rootfs"), keys))
	if r.Code != 1 || !strings.Contains(r.Err, "PSEUDO_IGNORE_PATHS") {
		t.Errorf("exit %d %s%s", r.Code, r.Out, r.Err)
	}
}

// TestUndo makes attaching fail half-way: pseudo does not track one directory of the tree.
func TestUndo(t *testing.T) {
	b := newTree(t, "p256")
	b.OK(b.Pseudo("imasign-build rootfs sign --include /bin " + keys + " rootfs"))
	before := b.OK(b.Pseudo("cd rootfs" + survey))
	r := b.Pseudo(fmt.Sprintf("PSEUDO_IGNORE_PATHS=%s imasign-build rootfs sign --hash sha512 --force %s rootfs", b.Path("rootfs/usr"), keys))
	if r.Code != 1 || !strings.Contains(r.Err, "usr/lib/one: operation not permitted") || !strings.Contains(r.Err, "the tree was restored") {
		t.Errorf("exit %d %s%s", r.Code, r.Out, r.Err)
	}
	same(t, "the tree", b.OK(b.Pseudo("cd rootfs"+survey)), before)
}
