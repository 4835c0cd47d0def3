package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/pkg/xattr"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/sigcache"
	"github.com/imasign/imasign-build/tests/harness"
)

// TestMain makes the program available to the scripts.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"imasign-build": main})
}

// TestScripts runs testdata/script, which checks what users' scripts rely on. The scripts
// set security.ima, and so need root.
func TestScripts(t *testing.T) {
	harness.Root(t)
	bin := t.TempDir()
	harness.Must(t, "go", "build", "-trimpath", "-o", filepath.Join(bin, "imasign-build"), ".")
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Condition: func(name string) (bool, error) {
			switch name {
			case "cgo":
				return builtWithCgo(), nil
			case "nightly":
				return harness.Nightly(), nil
			}
			return false, fmt.Errorf("unknown condition %q", name)
		},
		Setup: func(env *testscript.Env) error {
			packages, err := filepath.Abs("../../pkg/rpmsign/testdata/rpmsign-ima")
			env.Setenv("PACKAGES", packages)
			// Tests keep no signatures for the next run, unless they say where.
			env.Setenv("IMASIGN_CACHE", "none")
			// With the race detector, a program waits a second before it ends.
			env.Setenv("GORACE", "atexit_sleep_ms=0")
			env.Values[serviceValue] = &scripted{}
			return err
		},
		Cmds: scriptCommands(bin),
	})
}

// scriptCommands are the commands of scripts beside those of testscript.
func scriptCommands(bin string) map[string]func(*testscript.TestScript, bool, []string) {
	commands := serveCommands(bin)
	maps.Copy(commands, map[string]func(*testscript.TestScript, bool, []string){
		"auditlog":  auditLog,
		"damage":    damage,
		"errorkeys": errorKeys,
		"exits":     exits,
		"jsonkeys":  jsonKeys,
		"poison":    poison,
		"provoke": func(ts *testscript.TestScript, neg bool, args []string) {
			provoke(ts, bin, neg, args)
		},
		"signed": signed,
		"tamper": tamper,
	})
	return commands
}

func builtWithCgo() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "CGO_ENABLED", Value: "1"})
}

// exits runs a command and checks its exit code: exits 3 imasign-build rootfs verify …
// The commands stdout and stderr then check its output.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND…")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if got != want {
		ts.Fatalf("exit code %d, not %d", got, want)
	}
}

// jsonKeys checks that standard output is one JSON document with exactly these keys, or
// that each element of one of its lists has exactly these keys: jsonkeys .|LIST KEY…
func jsonKeys(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: jsonkeys .|LIST KEY…")
	}
	document := map[string]any{}
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &document))
	objects := []any{document}
	if args[0] != "." {
		objects, _ = document[args[0]].([]any)
	}
	if len(objects) == 0 {
		ts.Fatalf("%s is no list, or empty", args[0])
	}
	slices.Sort(args[1:])
	for _, object := range objects {
		if got := slices.Sorted(maps.Keys(object.(map[string]any))); !slices.Equal(got, args[1:]) {
			ts.Fatalf("has %q, not %q", got, args[1:])
		}
	}
}

// errorKeys checks that standard output is the JSON document of a failed command, and that
// its error has exactly these keys: errorkeys KEY…
func errorKeys(ts *testscript.TestScript, neg bool, args []string) {
	var document struct {
		Command string
		Error   map[string]any
	}
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &document))
	slices.Sort(args)
	if got := slices.Sorted(maps.Keys(document.Error)); neg || document.Command == "" || !slices.Equal(got, args) {
		ts.Fatalf("the error has %q, not %q", got, args)
	}
}

// signed checks that the security.ima of each file is a signature, by its first byte: signed
// FILE… With !, it checks that the files have no security.ima.
func signed(ts *testscript.TestScript, neg bool, args []string) {
	for _, file := range args {
		value, err := xattr.LGet(ts.MkAbs(file), "security.ima")
		if has := err == nil && len(value) > 0; has == neg || has && value[0] != 3 {
			ts.Fatalf("%s: security.ima is %x (%v)", file, value, err)
		}
	}
}

// damage changes the last byte of a file: damage FILE.
func damage(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: damage FILE")
	}
	content, err := os.ReadFile(ts.MkAbs(args[0]))
	ts.Check(err)
	content[len(content)-1] ^= 1
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), content, 0o644))
}

// tamper writes to a file in place, so that the file keeps its xattrs: tamper FILE TEXT.
func tamper(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: tamper FILE TEXT")
	}
	f, err := os.OpenFile(ts.MkAbs(args[0]), os.O_WRONLY|os.O_TRUNC, 0)
	ts.Check(err)
	_, err = f.WriteString(strings.ReplaceAll(args[1], `\n`, "\n"))
	ts.Check(err)
	ts.Check(f.Close())
}

// poison makes a cache with the entries of another one, all with wrong signatures of the right
// form: poison FROM TO.
func poison(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: poison FROM TO")
	}
	ctx := context.Background()
	from, err := sigcache.Open(ctx, ts.MkAbs(args[0]), sigcache.Options{Existing: true})
	ts.Check(err)
	to, err := sigcache.Open(ctx, ts.MkAbs(args[1]), sigcache.Options{})
	ts.Check(err)
	n, err := to.Add(ctx, func(yield func(sigcache.Entry, error) bool) {
		for e, err := range from.Entries(ctx) {
			e.Signature = bytes.Clone(e.Signature)
			if len(e.Signature) > 0 {
				e.Signature[len(e.Signature)/2] ^= 1
			}
			if !yield(e, err) {
				return
			}
		}
	})
	ts.Check(err)
	if n == 0 {
		ts.Fatalf("%s has no signatures", args[0])
	}
	ts.Check(errors.Join(from.Close(), to.Close()))
}
