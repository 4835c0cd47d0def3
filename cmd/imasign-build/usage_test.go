package main

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// TestUsageErrors checks what the program says about wrong command lines: one line that
// says what was meant and what to do next, and exit code 2.
func TestUsageErrors(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, dir := range []string{"tree", "tree2", "my tree", "keys"} {
		must(t, os.Mkdir(dir, 0o755))
	}
	for _, file := range []string{"a.conf", "b.conf", "x.crt", "y.crt", "in.tar", "out.tar", "p.rpm", "-x.rpm", "keys/x509_ima.key"} {
		must(t, os.WriteFile(file, nil, 0o600))
	}
	const (
		sign  = "imasign-build rootfs sign"
		check = "payload, header or files"
	)
	for _, c := range []struct{ line, want, next string }{
		// Commands.
		{"roofs", `unknown command "roofs": did you mean "rootfs"?`, "imasign-build --help lists all"},
		{"bogus", `unknown command "bogus"`, "imasign-build --help lists all"},
		{"scan tree", `unknown command "scan": did you mean "rootfs scan"?`, "imasign-build --help lists all"},
		{"roofs --cert x", `unknown command "roofs": did you mean "rootfs"?`, "imasign-build --help lists all"},
		{"rootfs sing --cret x tree", `rootfs has no command "sing": did you mean "sign"?`, "imasign-build rootfs --help lists all"},
		{"rpm bogus", `rpm has no command "bogus": it has digests, show, sign, strip and verify`, "imasign-build rpm --help lists all"},
		{"rpm", "rpm needs a command: digests, show, sign, strip or verify", "see imasign-build rpm --help"},
		{"cache", "cache needs a command: export, import, prune, stats or verify", "see imasign-build cache --help"},
		{"cache clean", `cache has no command "clean": it has export, import, prune, stats and verify`, "imasign-build cache --help lists all"},
		{"rootfs help", `rootfs has no command "help": did you mean "help rootfs"?`, "imasign-build rootfs --help lists all"},
		{"help bogus", `unknown command "bogus"`, "imasign-build --help lists all"},
		{"help rootfs sing", `rootfs has no command "sing": did you mean "sign"?`, "imasign-build rootfs --help lists all"},
		{"help rootfs sign tree", `rootfs sign has no commands, but "tree" was given`, "imasign-build rootfs sign --help lists all"},

		// Flags.
		{"rootfs sign --cret x tree", "unknown flag --cret: did you mean --cert?", sign + " --help lists all"},
		{"rootfs sign --bogus tree", "unknown flag --bogus", sign + " --help lists all"},
		{"rootfs verify --key x tree", "unknown flag --key: it belongs to rootfs scan and rootfs sign", "imasign-build rootfs verify --help lists all"},
		{"rootfs verify --swap tree", "unknown flag --swap: it belongs to repo sign and repo strip", "imasign-build rootfs verify --help lists all"},
		{"rootfs --cert x", "unknown flag --cert: it belongs to approve, rootfs scan, rootfs sign and rootfs verify", "imasign-build rootfs --help lists all"},
		{"rpm show -x.rpm", "unknown flag -x.rpm: a file with that name is written ./-x.rpm", "imasign-build rpm show --help lists all"},
		{"rootfs sign -phunter2 tree", "unknown flag -p", sign + " --help lists all"},
		{"rootfs sign -kp=hunter2 tree", "unknown flag -k", sign + " --help lists all"},
		{"rootfs sign -vphunter2 tree", "unknown flag -p", sign + " --help lists all"},
		{"rootfs sign -progres=none tree", "unknown flag -progres: did you mean --progress?", sign + " --help lists all"},
		{"rootfs sign -json tree", "-json has one dash, and long flags have two: --json", "see " + sign + " --help"},
		{"rootfs sign tree --key", "--key has no value: --key URI", "see " + sign + " --help"},
		{"rootfs sign --key --cert x.crt tree", "--key has no value: --cert follows it", "see " + sign + " --help"},

		// Values.
		{"rootfs sign --jobs x tree", "--jobs x: not a whole number", "see " + sign + " --help"},
		{"rootfs sign --jobs 99999999999999999999 tree", "--jobs 99999999999999999999: the number is too large", "see " + sign + " --help"},
		{"rootfs sign --force=maybe tree", "--force=maybe: neither true nor false: leave out the value", "see " + sign + " --help"},
		{"rootfs sign --select executables tree", "--select executables: choose all or executable; did you mean executable?", "see " + sign + " --help"},
		{"rpm sign --check tree", "--check tree: choose " + check, "see imasign-build rpm sign --help"},
		{"rpm sign --check= p.rpm", `--check "": choose ` + check, "see imasign-build rpm sign --help"},
		{"rootfs sign --key-pass hunter2 --key-pass x tree", "--key-pass is given twice, but takes one value", "see " + sign + " --help"},
		{"tar verify --unpack-limit 0 in.tar", "--unpack-limit 0: give a number of bytes from 1, with or without K, M, G or T, such as 500M", "see imasign-build tar verify --help"},
		{"completion tcsh", `shell "tcsh": choose bash, zsh or fish`, "see imasign-build completion --help"},
		{"completion cobol", `shell "cobol": choose bash, zsh or fish`, "see imasign-build completion --help"},

		// Arguments.
		{"rootfs sign", "no DIR was given", "see " + sign + " --help"},
		{"rootfs sign --key keys", "no DIR was given", "see " + sign + " --help"},
		{"rootfs sign --manifest tree", "no DIR was given: --manifest took tree: give --manifest its own value", "see " + sign + " --help"},
		{"rpm sign --manifest p.rpm", "no PATH was given: --manifest took p.rpm: give --manifest its own value", "see imasign-build rpm sign --help"},
		{"tar verify", "no IN was given: use - for standard input", "see imasign-build tar verify --help"},
		{"manifest apply", "no MANIFEST and no TARGET were given", "see imasign-build manifest apply --help"},
		{"manifest diff a", "no NEW was given", "see imasign-build manifest diff --help"},
		{"manifest diff a b c", "OLD and NEW are expected, 3 arguments were given", "see imasign-build manifest diff --help"},
		{"key show", "no URI or CERT was given", "see imasign-build key show --help"},
		{"cache export", "no DIR was given", "see imasign-build cache export --help"},
		{"cache import", "no DIR or URL was given", "see imasign-build cache import --help"},
		{"cache stats x", "cache stats takes no arguments, but x was given", "see imasign-build cache stats --help"},
		{"version x", "version takes no arguments, but x was given", "see imasign-build version --help"},
		{"rootfs sign tree tree2", "one DIR is expected, 2 were given: run the command once for each", "see " + sign + " --help"},
		{"rootfs sign my tree", `one DIR is expected, 2 were given: quote a name with spaces: "my tree"`, "see " + sign + " --help"},
		{"rootfs sign --include a.conf b.conf tree", "one DIR is expected, 2 were given: the shell replaced the pattern of --include by the names of files: quote it, as in '*.conf'", "see " + sign + " --help"},
		{"rootfs verify --cert x.crt y.crt tree", "one DIR is expected, 2 were given: repeat the flag for each file: --cert x.crt --cert y.crt", "see imasign-build rootfs verify --help"},
		{"tar sign in.tar out.tar", "one IN is expected, 2 were given: the output is named by a flag: -o out.tar", "see imasign-build tar sign --help"},
		{"rootfs sign --key= x tree", "one DIR is expected, 2 were given: the value of --key is empty: write it without a space before it", "see " + sign + " --help"},
		{"rootfs sign --dry-run false tree", "one DIR is expected, 2 were given: --dry-run takes a value only after =: --dry-run=false", "see " + sign + " --help"},
		{"key init --with rpm evm new", "one DIR is expected, 2 were given: separate the values of --with by commas, without spaces", "see imasign-build key init --help"},
	} {
		stdout, stderr, code := said(t, strings.Fields(c.line)...)
		if want := "imasign-build: " + c.want + " (" + c.next + ")\n"; stderr != want || stdout != "" || code != exitUsage {
			t.Errorf("%s: exit code %d, and\n%s%s, not\n%s", c.line, code, stdout, stderr, want)
		}
	}
}

// TestArgumentCounts checks for every command that too many arguments, and none where one
// is needed, are usage errors that name the arguments of the usage line.
func TestArgumentCounts(t *testing.T) {
	t.Chdir(t.TempDir())
	commands(newRootCommand(newApp()), func(cmd *cobra.Command) {
		if cmd.Name() == "help" {
			return
		}
		words := strings.Fields(commandName(cmd))
		names, many := argumentNames(cmd)
		if len(names) > 0 {
			if _, stderr, code := said(t, words...); code != exitUsage || !strings.Contains(stderr, "no "+names[0]+" ") {
				t.Errorf("%q without arguments: exit code %d: %s", words, code, stderr)
			}
		}
		if !many {
			more := slices.Repeat([]string{"x"}, len(names)+1)
			if _, stderr, code := said(t, append(words, more...)...); code != exitUsage || !strings.Contains(stderr, " given") {
				t.Errorf("%q with %d arguments: exit code %d: %s", words, len(more), code, stderr)
			}
		}
	})
}

// TestHelpCommand checks that each way to ask for help prints the same to standard output.
func TestHelpCommand(t *testing.T) {
	for _, words := range []string{"", "rootfs", "rootfs sign", "version"} {
		want, stderr, code := said(t, append(strings.Fields(words), "--help")...)
		if stderr != "" || code != exitDone || !strings.Contains(want, "Usage:") {
			t.Errorf("%q --help: exit code %d: %s%s", words, code, want, stderr)
		}
		short, _, _ := said(t, append(strings.Fields(words), "-h")...)
		other, stderr, code := said(t, append([]string{"help"}, strings.Fields(words)...)...)
		if short != want || other != want || stderr != "" || code != exitDone {
			t.Errorf("help %s: exit code %d: %s%s", words, code, other, stderr)
		}
	}
	if out, _, code := said(t, "help", "patterns"); code != exitDone || strings.Contains(out, "Usage:") || !strings.Contains(out, ".gitignore") {
		t.Errorf("help patterns: exit code %d: %s", code, out)
	}
}

// TestVersionFlag checks that --version prints the first line of what the command version
// prints, and the same document.
func TestVersionFlag(t *testing.T) {
	want, _, _ := said(t, "version")
	first, _, _ := strings.Cut(want, "\n")
	if got, stderr, code := said(t, "--version"); got != first+"\n" || code != exitDone {
		t.Errorf("exit code %d: %s%s", code, got, stderr)
	}
	want, _, _ = said(t, "version", "--json")
	if got, stderr, code := said(t, "--json", "--version"); got != want || code != exitDone {
		t.Errorf("--json: exit code %d: %s%s", code, got, stderr)
	}
}

// TestJSONOfUsageErrors checks that a usage error is one JSON document if --json was given,
// wherever and however, and text only if it was not.
func TestJSONOfUsageErrors(t *testing.T) {
	for line, want := range map[string]bool{
		"--json": true, "--json=true --bogus": true, "rootfs sign --bogus --json": true, "rootfs sign --bogus --json=1": true, "bogus --json": true,
		"rootfs sign --bogus": false, "rootfs sign --bogus -- --json": false, "rootfs sign --bogus --json=false": false,
	} {
		stdout, stderr, code := said(t, strings.Fields(line)...)
		if json.Valid([]byte(stdout)) != want || !want && stdout != "" || stderr == "" || code != exitUsage {
			t.Errorf("%s: exit code %d, standard output %q, standard error %q", line, code, stdout, stderr)
		}
	}
}

func TestNearest(t *testing.T) {
	list := []string{"cert", "key", "key-pass", "manifest", "executable", "all"}
	for word, want := range map[string]string{
		"cret": "cert", "certt": "cert", "manifset": "manifest", "manif": "manifest", "executables": "executable",
		"kye": "key", "keypass": "key-pass", "bogus": "", "x": "", "": "", strings.Repeat("a", 100): "",
	} {
		if got := strings.Join(nearest(word, list), " "); got != want {
			t.Errorf("%s: %q, not %q", word, got, want)
		}
	}
}

func TestByteCount(t *testing.T) {
	for text, want := range map[string]int64{"1": 1, "500M": 500 << 20, "64G": 64 << 30, "1T": 1 << 40, "3K": 3 << 10, "68719476736": 64 << 30} {
		var n int64
		if err := (byteCount{&n}).Set(text); err != nil || n != want {
			t.Errorf("%s: %d, %v", text, n, err)
		}
	}
	for _, text := range []string{"", "0", "-1", "M", "1.5G", "1MB", "9999999T", "x"} {
		n := int64(7)
		if err := (byteCount{&n}).Set(text); err == nil || n != 7 {
			t.Errorf("%q: %d, %v", text, n, err)
		}
	}
	for n, want := range map[int64]string{1: "1", 1 << 10: "1K", 1536: "1536", 64 << 30: "64G", 5000 << 40: "5000T"} {
		if got := (byteCount{&n}).String(); got != want {
			t.Errorf("%d: %s", n, got)
		}
	}
}

// TestCompletion checks what the program offers to the shells.
func TestCompletion(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, dir := range []string{"keys", "tree"} {
		must(t, os.Mkdir(dir, 0o755))
	}
	must(t, os.WriteFile("pkey", nil, 0o600))
	must(t, os.WriteFile("keys/k.key", nil, 0o600))
	t.Setenv("IMASIGN_TEST_SECRET", "hunter2")
	for line, want := range map[string]string{
		"rootfs sign --key ":                         "pkcs11: tpm2: https: file: keys/ pkey tree/ :6",
		"rootfs sign --key p":                        "pkcs11: pkey :6",
		"rootfs sign --key pke":                      ":0",
		"rootfs sign --key file:keys/":               "file:keys/k.key :4",
		"rootfs sign --key pkcs11:":                  ":4",
		"rootfs sign --key-pass ":                    "env: file: fd: cred: :6",
		"rootfs sign --key-pass env:IMASIGN_TEST_SE": "env:IMASIGN_TEST_SECRET :4",
		"rootfs sign --cert ":                        "crt pem der cer :8",
		"rootfs sign --cache ":                       "auto none keys/ tree/ :6",
		"rootfs sign --cache ke":                     ":16",
		"rootfs sign --cache-mirror ":                "https: http: file: keys/ pkey tree/ :6",
		"rootfs sign --from-manifest ":               ":0",
		"rootfs sign --jobs ":                        ":4",
		"rootfs sign --include ":                     ":4",
		"rootfs sign ":                               ":16",
		"rootfs sign tree ":                          ":4",
		"rootfs scan ":                               ":0",
		"cache stats --cache ":                       ":16",
		"cache export ":                              ":16",
		"cache import h":                             "https: http: :6",
		"cache prune --cert ":                        "crt pem der cer :8",
		"cache prune --max-size ":                    ":4",
		"rpm sign --output-dir ":                     ":16",
		"rpm sign one.rpm ":                          "rpm :8",
		"rpm sign --openpgp-key g":                   "gpg: :6",
		"tar create ":                                ":16",
		"key check ":                                 "crt pem der cer :8",
		"key check --kernel ":                        "7.3 6.18 6.12 6.6 6.1 :36",
		"key init --with rpm,":                       "rpm,evm rpm,secondary :4",
		"manifest diff a ":                           "jsonl :8",
		"completion ":                                "bash zsh fish :4",
		"help key-":                                  "key-uris :4",
		"help rootfs ":                               "scan sign strip verify :4",
		"rootfs sign --output ":                      "xattr restore none :36",
		"rpm sign --rpm-max-header ":                 "8K 64K 64M :36",
		"initramfs bundle --hook ":                   "initramfs-framework dracut standalone :36",
		"tar sign --compression ":                    "auto none gzip zstd xz bzip2 lz4 :36",
		"policy generate --profile ":                 "default strict measure audit :36",
		"repo sign --removals ":                      "publish refuse :36",
		"rootfs verify --require ":                   "all executable :36",
		"--progress ":                                "auto bar plain none :36",
		"policy simulate p --rootfs ":                ":16",
		"rootfs sign --key-pass file:keys/":          "file:keys/k.key :4",
		"key init --algorithm ":                      "rsa2048 rsa3072 rsa4096 p256 p384 mldsa44 mldsa65 mldsa87 :36",
	} {
		words := strings.Split(line, " ")
		if got := strings.Join(completeLine(t, words...), " "); got != want {
			t.Errorf("%q: %s, not %s", line, got, want)
		}
	}
}
