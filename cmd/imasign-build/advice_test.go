package main

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/report"
	"github.com/imasign/imasign-build/internal/quote"
	"github.com/imasign/imasign-build/pkg/keystore"
	"github.com/imasign/imasign-build/pkg/rootfs"
	"github.com/imasign/imasign-build/pkg/signing"
)

// running returns the program while it runs a command.
func running(t *testing.T, command string, flags ...string) *app {
	t.Helper()
	a := newApp()
	cmd, _, err := newRootCommand(a).Find(strings.Fields(command))
	must(t, err)
	must(t, cmd.ParseFlags(flags))
	a.command = cmd
	return a
}

// TestCausesAreForCommands checks that the kind of each cause is documented, and that the
// flags in its advice exist.
func TestCausesAreForCommands(t *testing.T) {
	flags := map[string]bool{"": true}
	every(newRootCommand(newApp()), func(cmd *cobra.Command) {
		for _, c := range causes() {
			flags[c.flag] = flags[c.flag] || cmd.Flags().Lookup(c.flag) != nil
			flags[c.given] = flags[c.given] || cmd.Flags().Lookup(c.given) != nil
		}
	})
	for _, c := range causes() {
		if !flags[c.flag] || !flags[c.given] {
			t.Errorf("%v: no command has %s %s", c.err, c.flag, c.given)
		}
		if c.kind != "" && !slices.ContainsFunc(report.ErrorKinds(), func(k [2]string) bool { return k[0] == c.kind }) {
			t.Errorf("%v: no kind %q", c.err, c.kind)
		}
		if c.err == nil {
			t.Errorf("%q: no error", c.advice)
		}
	}
}

func TestAdvice(t *testing.T) {
	other := fmt.Errorf("bin/sh: %w (12345678)", signing.ErrOtherKey)
	readOnly := fmt.Errorf("/mnt: %w", rootfs.ErrReadOnly)
	many := &signing.Errors{List: []error{other, errors.New("x")}, Total: 2}
	for name, c := range map[string]struct {
		app  *app
		err  error
		want string
	}{
		"none":            {running(t, "rootfs sign"), errors.New("x"), "x"},
		"on its line":     {running(t, "rootfs sign"), other, "bin/sh: signed by another key (12345678): --force replaces it"},
		"by what is set":  {running(t, "rootfs sign", "--from-key-id", "01020304"), other, "bin/sh: signed by another key (12345678): --force without --from-key-id replaces it"},
		"not its flag":    {running(t, "rootfs strip"), other, "bin/sh: signed by another key (12345678)"},
		"no such output":  {running(t, "rootfs strip"), readOnly, "/mnt: the file system is read-only"},
		"another output":  {running(t, "rootfs sign"), readOnly, "/mnt: the file system is read-only: " + instead},
		"each its own":    {running(t, "rpm sign"), errors.Join(other, errors.New("nothing was changed")), "bin/sh: signed by another key (12345678): --force replaces it\nnothing was changed"},
		"of many":         {running(t, "rpm sign"), fmt.Errorf("a.rpm: %w", many), "a.rpm: 2 files failed:\n  bin/sh: signed by another key (12345678): --force replaces it\n  x"},
		"before commands": {newApp(), other, "bin/sh: signed by another key (12345678)"},
	} {
		err := c.app.advise(c.err)
		if got := quote.Error(err); got != c.want {
			t.Errorf("%s:\n%s\nnot\n%s", name, got, c.want)
		}
		if first := c.err; name == "on its line" && !errors.Is(err, first) {
			t.Errorf("%s: the error is lost", name)
		}
	}
}

func TestErrorsOfDocuments(t *testing.T) {
	a := running(t, "rootfs sign")
	missing := &fs.PathError{Op: "open", Path: "x509_ima.key", Err: fs.ErrNotExist}
	for kind, c := range map[string]struct {
		err  error
		path string
	}{
		"usage":       {usageError{fmt.Errorf("--key: %w", missing)}, "x509_ima.key"},
		"not_found":   {fmt.Errorf("open key: %w", missing), "x509_ima.key"},
		"interrupted": {fmt.Errorf("%w while planning", errInterrupted), ""},
		"passphrase":  {fmt.Errorf("open key: %w", keystore.ErrWrongPIN), ""},
		"refused":     {signing.ErrNotOurs, ""},
		"failed":      {errors.New("x"), ""},
	} {
		e := a.failure(c.err)
		if e.Kind != kind || e.Path.Path != c.path || !strings.HasPrefix(e.Message, c.err.Error()) {
			t.Errorf("%s: %+v", kind, e)
		}
	}
}

func TestAdviceOnWarnings(t *testing.T) {
	for message, want := range map[string]string{
		"x": "x",
		"the certificate of K " + keystore.FromService:        "the certificate of K is the one that the service itself sent: name the one that devices trust with --cert",
		"the private key K " + keystore.NotBound + " the TPM": "the private key K can be taken out of the TPM: key init --on makes one that cannot",
	} {
		if got := adviseWarning(message); got != want {
			t.Errorf("%q, not %q", got, want)
		}
	}
}
