package pseudo

import (
	"strings"
	"testing"

	"github.com/imasign/imasign-build/tests/harness"
)

// TestCacheUnderPseudo keeps signatures in a directory that pseudo or fakeroot tracks. SQLite's
// system calls bypass them, so the cache is the real user's and works from inside and outside.
func TestCacheUnderPseudo(t *testing.T) {
	harness.Tool(t, "sqlite3")
	b := newTree(t, "p256")
	sign := "imasign-build rootfs strip --progress=none rootfs >/dev/null 2>&1 && imasign-build rootfs sign --progress=none --cache cache " + keys + " rootfs"
	b.OK(b.Pseudo("mkdir cache && chown 5:6 cache && touch cache/beside"))
	for i, run := range []func(string) harness.Result{b.Pseudo, b.Pseudo, b.Fakeroot} {
		r := run(sign)
		if out := b.OK(r); !strings.Contains(out, " signed") || strings.Contains(out, "from earlier runs") != (i > 0) || r.Err != "" {
			t.Errorf("round %d: %s%s", i, out, r.Err)
		}
	}
	if out := b.OK(b.Pseudo(verify)); !strings.Contains(out, "12 ok") {
		t.Error(out)
	}
	count := `sqlite3 cache/signatures.db "PRAGMA integrity_check; SELECT count(*) > 0 FROM signature"`
	for name, run := range map[string]func(string) harness.Result{"inside": b.Pseudo, "outside": b.Run} {
		if out := b.OK(run(count)); out != "ok\n1\n" {
			t.Errorf("%s: %s", name, out)
		}
	}
	// A database that is put aside was never tracked, so pseudo finds nothing that it misses.
	b.OK(b.Run("echo damaged > cache/signatures.db"))
	if r := b.Pseudo(sign); r.Code != 0 || strings.Count(r.Err, "\n") != 1 || !strings.Contains(r.Err, "signatures.db.damaged") {
		t.Errorf("exit %d %s%s", r.Code, r.Out, r.Err)
	}
	b.OK(b.Pseudo("touch cache/new && rm -r cache"))
	b.StopPseudo()
}
