package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/imasign/imasign-build/tests/harness"
)

// TestShells types command lines with TABs into real, interactive shells, and checks what
// they pass to the program. bash runs without the package bash-completion.
func TestShells(t *testing.T) {
	harness.Tool(t, "script")
	for shell, lines := range map[string][][2]string{
		"bash": {
			{"rootfs si\t tree", "rootfs sign tree"},
			{"rootfs sign --output re\t tree", "rootfs sign --output restore tree"},
			{"rootfs sign --output=re\t tree", "rootfs sign --output=restore tree"},
			{"key init --with rpm,e\t keys", "key init --with rpm,evm keys"},
			{"rootfs verify --cert ke\tx5\t tr\t", "rootfs verify --cert keys/x509_ima.crt tree/"},
			{"rootfs verify --cert=ke\tx5\t tr\t", "rootfs verify --cert=keys/x509_ima.crt tree/"},
			{"rootfs sign --key pk\ttoken=T tree", "rootfs sign --key pkcs11:token=T tree"},
			{"rootfs sign --key file:keys/x509_ima.k\t tree", "rootfs sign --key file:keys/x509_ima.key tree"},
			{"rootfs sign --key-pass e\tIMASIGN_TEST_S\t tree", "rootfs sign --key-pass env:IMASIGN_TEST_SECRET tree"},
			{"rpm sign pack\tb\t", "rpm sign packages/b.rpm"},
			{"help key\t-u\t", "help key-uris"},
		},
		"zsh": {
			{"rootfs si\ttree", "rootfs sign tree"},
			{"rootfs sign --output re\ttree", "rootfs sign --output restore tree"},
			{"rootfs verify --cert ke\tx5\ttr\t", "rootfs verify --cert keys/x509_ima.crt tree"},
			{"rootfs sign --key pk\ttoken=T tree", "rootfs sign --key pkcs11:token=T tree"},
			{"rootfs sign --key-pass env:IMASIGN_TEST_S\ttree", "rootfs sign --key-pass env:IMASIGN_TEST_SECRET tree"},
			{"rpm sign pack\tb\t", "rpm sign packages/b.rpm"},
		},
		"fish": {
			{"rootfs si\ttree", "rootfs sign tree"},
			{"rootfs sign --output re\ttree", "rootfs sign --output restore tree"},
			{"rootfs sign --key-pass env:IMASIGN_TEST_S\ttree", "rootfs sign --key-pass env:IMASIGN_TEST_SECRET tree"},
		},
	} {
		t.Run(shell, func(t *testing.T) {
			path := harness.Tool(t, shell)
			s := newShell(t, shell, path)
			for _, line := range lines {
				if got := s.typed(line[0]); got != line[1] {
					t.Errorf("%q becomes %q, not %q; the terminal shows\n%q", line[0], got, line[1], s.screen.String())
				}
			}
		})
	}
}

// shell is an interactive shell on a terminal. Its imasign-build completes, but only
// records its arguments otherwise.
type shell struct {
	t      *testing.T
	record string
	stdin  *os.File
	screen bytes.Buffer
}

// newShell starts a shell in a directory with some files, and loads the completion script.
func newShell(t *testing.T, name, path string) *shell {
	t.Helper()
	dir := t.TempDir()
	for _, file := range []string{"keys/x509_ima.key", "keys/x509_ima.crt", "keys/notes", "tree/file", "packages/b.rpm", "packages/bad"} {
		must(t, os.MkdirAll(filepath.Join(dir, filepath.Dir(file)), 0o755))
		must(t, os.WriteFile(filepath.Join(dir, file), nil, 0o644))
	}
	program, err := exec.LookPath("imasign-build") // of testscript
	must(t, err)
	s := &shell{t: t, record: filepath.Join(dir, "record")}
	stub := fmt.Sprintf("#!/bin/sh\ncase $1 in __complete*|completion) exec %s \"$@\" ;; esac\necho \"$*\" >%s.new\nmv %[2]s.new %[2]s\n", program, s.record)
	must(t, os.MkdirAll(filepath.Join(dir, "bin"), 0o755))
	harness.Executable(t, filepath.Join(dir, "bin/imasign-build"), []byte(stub))
	start := map[string]string{
		"bash": "PS1='$ '; bind 'set enable-bracketed-paste off'; source <(imasign-build completion bash); imasign-build ready\n",
		"zsh":  "PS1='$ '; autoload -Uz compinit; compinit -u -D; source <(imasign-build completion zsh); imasign-build ready\n",
		"fish": "function fish_prompt; echo '$ '; end; function fish_greeting; end; imasign-build completion fish | source; imasign-build ready\n",
	}[name]
	must(t, os.MkdirAll(filepath.Join(dir, "home/fish"), 0o755))
	command := ""
	switch name {
	case "bash":
		must(t, os.WriteFile(filepath.Join(dir, "home/rc"), []byte(start), 0o644))
		command = path + " --noprofile --rcfile home/rc -i"
	case "zsh":
		must(t, os.WriteFile(filepath.Join(dir, "home/.zshrc"), []byte(start), 0o644))
		command = path + " -d -i"
	case "fish":
		must(t, os.WriteFile(filepath.Join(dir, "home/fish/config.fish"), []byte(start), 0o644))
		command = path + " -i"
	}
	read, write, err := os.Pipe()
	must(t, err)
	s.stdin = write
	ctx, stop := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, "script", "-q", "-e", "-c", command, "/dev/null")
	cmd.Dir, cmd.Stdin, cmd.Stdout, cmd.Stderr = dir, read, &s.screen, &s.screen
	cmd.Env = append(os.Environ(), "PATH="+filepath.Join(dir, "bin")+":"+os.Getenv("PATH"), "HOME="+filepath.Join(dir, "home"), "ZDOTDIR="+filepath.Join(dir, "home"),
		"XDG_CONFIG_HOME="+filepath.Join(dir, "home"), "XDG_DATA_HOME="+filepath.Join(dir, "home"), "IMASIGN_TEST_SECRET=hunter2", "TERM=xterm", "LC_ALL=C.UTF-8", "GORACE=atexit_sleep_ms=0")
	cmd.WaitDelay = time.Second
	must(t, cmd.Start())
	t.Cleanup(func() {
		_ = write.Close()
		stop()
		_ = cmd.Wait() // killed
		_ = read.Close()
		if strings.Contains(s.screen.String(), "hunter2") {
			t.Error("the shell shows the value of a variable")
		}
	})
	if got := s.recorded(); got != "ready" {
		t.Fatalf("%s does not start: %q", name, got)
	}
	return s
}

// typed types a command line and returns the arguments that the program gets.
func (s *shell) typed(line string) string {
	for _, key := range "imasign-build " + line + "\n" {
		if key == '\n' {
			key = '\r'
		}
		if _, err := s.stdin.WriteString(string(key)); err != nil {
			s.t.Fatal(err)
		}
	}
	return s.recorded()
}

// recorded waits for the program to run, and returns its arguments.
func (s *shell) recorded() string {
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if text, err := os.ReadFile(s.record); err == nil {
			must(s.t, os.Remove(s.record))
			return strings.TrimSpace(string(text))
		}
	}
	return ""
}
