package rpmsign

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/imasign/imasign-build/tests/harness"
	"github.com/imasign/imasign-build/tests/rpm/packages"
)

// of returns a key of the ring's gpg.
func (r ring) of(key string) GPG {
	return GPG{Key: key, Environment: []string{"GNUPGHOME=" + r.home, "PATH=" + os.Getenv("PATH"), "HOME=" + r.home}}
}

// fingerprints lists the ring's keys, each followed by its subkeys.
func (r ring) fingerprints(t *testing.T) (list []string) {
	t.Helper()
	for line := range strings.Lines(string(r.gpg(t, "--with-colons", "--list-secret-keys"))) {
		if f := strings.Split(line, ":"); f[0] == "fpr" {
			list = append(list, f[9])
		}
	}
	return list
}

func (r ring) write(t *testing.T, name, text string) {
	t.Helper()
	check(t, os.WriteFile(filepath.Join(r.home, name), []byte(text), 0o600))
}

func (r ring) program(t *testing.T, name, text string) {
	t.Helper()
	harness.Executable(t, filepath.Join(r.home, name), []byte(text))
}

func mustGPG(t *testing.T, g GPG) *OpenPGPKey {
	t.Helper()
	key, err := OpenGPG(t.Context(), g)
	check(t, err)
	return key
}

// TestGPGSigns signs packages with keys in gpg's agent. rpm verifies them with the public key,
// and a second run changes nothing.
func TestGPGSigns(t *testing.T) {
	for algorithm, want := range map[string]string{"rsa2048": "RSA/SHA256 Signature", "ed25519": "EdDSA/SHA256 Signature"} {
		t.Run(algorithm, func(t *testing.T) {
			t.Parallel()
			r := newRing(t)
			r.key(t, algorithm, "sign", "never", "")
			db, fingerprint := r.trusted(t), r.fingerprints(t)[0]
			for _, name := range []string{fingerprint, "0x" + fingerprint[24:], "a@example.invalid"} {
				if key := mustGPG(t, r.of(name)); !strings.EqualFold(key.id(), fingerprint[24:]) {
					t.Errorf("%s is key %s, not %s", name, key.id(), fingerprint)
				}
			}
			s := signer(t, "p256")
			s.Options.OpenPGP = mustGPG(t, r.of(fingerprint))
			for _, name := range []string{"zstd", "openpgp-rsa", "el6"} {
				path := packages.Copy(t, name, t.TempDir())
				run(t, s, path)
				if out := rpmkeys(t, db, "--checksig", "--verbose", path); !strings.Contains(out, want) || strings.Contains(out, "NOKEY") || strings.Contains(out, "BAD") {
					t.Errorf("%s: rpm says\n%s", name, out)
				}
				if r := run(t, s, path); r.Changed {
					t.Errorf("%s is signed again", name)
				}
			}
		})
	}
}

// TestGPGPassphrase checks that a passphrase reaches gpg through a pipe or that the agent has
// it, and that nobody is asked for one without a terminal.
func TestGPGPassphrase(t *testing.T) {
	t.Parallel()
	const pass = "correct-horse-9"
	r := newRing(t)
	r.write(t, "gpg-agent.conf", "allow-preset-passphrase\ndefault-cache-ttl 0\npinentry-program "+filepath.Join(r.home, "pinentry")+"\n")
	r.key(t, "ed25519", "sign", "never", pass)
	r.program(t, "pinentry", "#!/bin/sh\necho OK\nwhile read -r word rest; do case $word in GETPIN) echo ERR 83886179 canceled;; *) echo OK;; esac; done\n")
	r.write(t, "log", "")
	r.program(t, "spy", fmt.Sprintf("#!/bin/sh\n{ echo \"$@\"; env; ls -l /proc/self/fd; } >>%s/log\nexec gpg \"$@\"\n", r.home))
	for given, wrong := range map[string]bool{pass: false, "incorrect": true, "": true} {
		g := r.of("a@example.invalid")
		if g.program = filepath.Join(r.home, "spy"); given != "" {
			g.Passphrase = []byte(given)
		}
		key, err := OpenGPG(t.Context(), g)
		if wrong != errors.Is(err, ErrOpenPGPLocked) || wrong == (err == nil) {
			t.Errorf("passphrase %q: %v", given, err)
		}
		if err == nil {
			_, err = key.signature(strings.NewReader("text"))
			check(t, err)
			if text := fmt.Sprintf("%v %+v %#v %s", key, key, *key, key); strings.Contains(text, pass) {
				t.Errorf("it prints its passphrase: %s", text)
			}
		}
	}
	if log := content(t, filepath.Join(r.home, "log")); bytes.Contains(log, []byte("correct")) || !bytes.Contains(log, []byte("--passphrase-fd")) {
		t.Errorf("what gpg was started with:\n%s", log)
	}
	grip := ""
	for line := range strings.Lines(string(r.gpg(t, "--with-colons", "--with-keygrip", "--list-secret-keys"))) {
		if f := strings.Split(line, ":"); f[0] == "grp" {
			grip = f[9]
		}
	}
	preset := exec.Command("/usr/lib/gnupg/gpg-preset-passphrase", "--preset", grip)
	preset.Stdin, preset.Env = strings.NewReader(pass), r.of("").Environment
	if out, err := preset.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", preset, err, out)
	}
	mustGPG(t, r.of("a@example.invalid"))
}

// TestGPGAsks checks that a pinentry, which waits for that, is announced, and that its end
// is.
func TestGPGAsks(t *testing.T) {
	t.Parallel()
	const pass = "correct-horse-9"
	r := newRing(t)
	r.write(t, "gpg-agent.conf", "default-cache-ttl 0\npinentry-program "+filepath.Join(r.home, "pinentry")+"\n")
	r.key(t, "ed25519", "sign", "never", pass)
	r.program(t, "pinentry", fmt.Sprintf("#!/bin/sh\necho OK\nwhile read -r word rest; do case $word in GETPIN) i=0; until [ -e %s/free ] || [ $i = 200 ]; do i=$((i+1)); sleep 0.1; done; [ $i = 200 ] || echo D %s; echo OK;; *) echo OK;; esac; done\n", r.home, pass))
	free, asked := filepath.Join(r.home, "free"), 0
	g := r.of("a@example.invalid")
	g.Asking = func() func() {
		asked++
		r.write(t, "free", "")
		return func() { check(t, os.Remove(free)) }
	}
	key := mustGPG(t, g)
	if _, err := os.Stat(free); asked != 1 || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("asked %d times, %v", asked, err)
	}
	if _, err := key.signature(strings.NewReader("text")); err != nil || asked != 2 {
		t.Errorf("asked %d times, %v", asked, err)
	}
}

// revoke revokes a key with the certificate that gpg made for it.
func (r ring) revoke(t *testing.T, fingerprint string) {
	t.Helper()
	path := filepath.Join(r.home, "openpgp-revocs.d", fingerprint+".rev")
	text := strings.Replace(string(content(t, path)), ":-----BEGIN", "-----BEGIN", 1) // gpg's guard against accidental use
	check(t, os.WriteFile(path, []byte(text), 0o600))
	r.gpg(t, "--import", path)
}

// TestGPGChoosesKeys checks that only the key that the user means signs.
func TestGPGChoosesKeys(t *testing.T) {
	t.Parallel()
	r := newRing(t)
	r.key(t, "rsa2048", "cert", "never", "")
	primary := r.fingerprints(t)[0]
	if _, err := OpenGPG(t.Context(), r.of(primary)); !errors.Is(err, ErrOpenPGPKey) || !strings.Contains(err.Error(), "neither can its subkeys") {
		t.Errorf("a key that can only certify: %v", err)
	}
	r.gpg(t, "--passphrase", "", "--quick-add-key", primary, "ed25519", "sign", "never")
	r.gpg(t, "--passphrase", "", "--quick-add-key", primary, "rsa2048", "sign", "never")
	all := r.fingerprints(t)
	db := r.trusted(t)
	for name, want := range map[string]string{primary: "", all[1] + "!": all[1], all[2] + "!": all[2]} {
		key := mustGPG(t, r.of(name))
		if want != "" && !strings.EqualFold(key.id(), want[24:]) {
			t.Errorf("%s: key %s signs", name, key.id())
		}
		s := stripper(t)
		s.Options.OpenPGP = key
		path := packages.Copy(t, "zstd", t.TempDir())
		run(t, s, path)
		rpmkeys(t, db, "--checksig", path)
	}
	r.gpg(t, "--passphrase", "", "--quick-generate-key", "b <a@example.invalid>", "ed25519", "sign", "never")
	r.gpg(t, "--passphrase", "", "--faked-system-time", "20200101T000000", "--quick-generate-key", "past@example.invalid", "ed25519", "sign", "1d")
	for name, why := range map[string]string{
		"a@example.invalid": "2 secret keys", "past@example.invalid": "expired on 2020-01-02",
		"nobody@example.invalid": "no secret key", "--export": "no secret key", "0123456789ABCDEF": "no secret key",
	} {
		if _, err := OpenGPG(t.Context(), r.of(name)); !errors.Is(err, ErrOpenPGPKey) || errors.Is(err, ErrOpenPGPLocked) || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v", name, err)
		}
	}
	r.revoke(t, all[0])
	if _, err := OpenGPG(t.Context(), r.of(primary)); !errors.Is(err, ErrOpenPGPKey) || !strings.Contains(err.Error(), "is revoked") {
		t.Errorf("a revoked key: %v", err)
	}
	if _, err := OpenGPG(t.Context(), GPG{Key: primary, program: "no-such-gpg"}); !errors.Is(err, exec.ErrNotFound) {
		t.Error(err)
	}
}

// TestGPGConfiguration checks that gpg.conf changes no signature.
func TestGPGConfiguration(t *testing.T) {
	t.Parallel()
	r := newRing(t)
	r.key(t, "rsa2048", "sign", "never", "")
	r.gpg(t, "--passphrase", "", "--quick-generate-key", "b@example.invalid", "ed25519", "sign", "never")
	r.write(t, "gpg.conf", "armor\ntextmode\ndigest-algo SHA1\ncomment of mine\nverbose\n")
	date := time.Now().Truncate(time.Second).Add(time.Hour)
	g := r.of("a@example.invalid")
	g.Date = date.Add(-25 * time.Hour)
	if _, err := OpenGPG(t.Context(), g); !errors.Is(err, ErrOpenPGPKey) || !strings.Contains(err.Error(), "the key was made") {
		t.Errorf("a date before the key: %v", err)
	}
	g.Date = date
	var first []byte
	for range 2 {
		s := stripper(t)
		s.Options.OpenPGP = mustGPG(t, g)
		path := packages.Copy(t, "zstd", t.TempDir())
		run(t, s, path)
		if i := mustParse(t, content(t, path)).Info().OpenPGP; len(i) != 1 || i[0].Hash != "sha-256" || !i[0].Date.Equal(date) {
			t.Errorf("%+v", i)
		}
		if first != nil && !bytes.Equal(first, content(t, path)) {
			t.Error("packages differ")
		}
		first = content(t, path)
	}
	r.write(t, "gpg.conf", "local-user b@example.invalid\n")
	if _, err := OpenGPG(t.Context(), r.of("a@example.invalid")); err == nil {
		t.Error("two signatures are one")
	}
}

// TestGPGEndsWithItsContext checks that the end of a context ends waiting for a pinentry.
func TestGPGEndsWithItsContext(t *testing.T) {
	t.Parallel()
	r := newRing(t)
	r.write(t, "gpg-agent.conf", "max-cache-ttl 0\ndefault-cache-ttl 0\npinentry-program "+filepath.Join(r.home, "pinentry")+"\n")
	r.key(t, "ed25519", "sign", "never", "secret")
	asked := filepath.Join(r.home, "asked")
	check(t, exec.Command("mkfifo", asked).Run())
	r.program(t, "pinentry", "#!/bin/sh\necho OK\nwhile read -r word rest; do case $word in GETPIN) : >"+asked+"; read -r none;; *) echo OK;; esac; done\n")
	stop := errors.New("stop")
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		_, _ = os.ReadFile(asked) // until the pinentry runs
		cancel(stop)
	}()
	if _, err := OpenGPG(ctx, r.of("a@example.invalid")); !errors.Is(err, stop) {
		t.Error(err)
	}
}
