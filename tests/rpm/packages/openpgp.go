package packages

import (
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/imasign/imasign-build/tests/harness"
)

// signed makes a package with an OpenPGP signature by rpmsign.
type signed struct {
	from, key string
	flags     []string
}

func signeds() map[string]signed {
	return map[string]signed{
		"openpgp-rsa":     {from: "sha256", key: "rsa"},
		"openpgp-ed25519": {from: "sha256", key: "ed25519"},
		// In addition to the signature over the header, the one of rpm 3 over header and payload.
		"openpgp-rpmv3": {from: "sha256", key: "rsa", flags: []string{"--rpmv3"}},
		"openpgp-rich":  {from: "rich", key: "rsa"},
		"openpgp-el5":   {from: "el5", key: "rsa", flags: []string{"--rpmv3"}},
		"openpgp-empty": {from: "empty", key: "ed25519"},
	}
}

func (s signed) build(name string, from func() (string, error)) (string, error) {
	path, err := from()
	if err != nil {
		return "", err
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	dir, err := directory(name)
	if err != nil {
		return "", err
	}
	path = filepath.Join(dir, filepath.Base(path))
	if err := os.WriteFile(path, content, 0o644); err != nil {
		return "", err
	}
	ring, err := openpgp()
	if err != nil {
		return "", err
	}
	return path, run(ring.sign(s.key, path, s.flags...))
}

// keyring is a temporary gpg home with an RSA and an ed25519 key, and an rpm database that
// trusts both.
type keyring struct{ home, dbpath string }

var openpgp = sync.OnceValues(func() (keyring, error) {
	home, err := directory("gpg")
	if err != nil {
		return keyring{}, err
	}
	ring := keyring{home, filepath.Join(home, "rpmdb")}
	if err := os.Chmod(home, 0o700); err != nil {
		return ring, err
	}
	for name, algorithm := range map[string]string{"rsa": "rsa2048", "ed25519": "ed25519"} {
		if err := ring.generate(name, algorithm); err != nil {
			return ring, err
		}
	}
	return ring, nil
})

func (k keyring) generate(name, algorithm string) error {
	for _, cmd := range []*exec.Cmd{
		k.command("gpg", "--batch", "--quiet", "--passphrase", "", "--quick-generate-key", user(name), algorithm, "sign", "never"),
		k.command("gpg", "--batch", "--armor", "--output", k.public(name), "--export", user(name)),
		k.command("rpmkeys", "--dbpath", k.dbpath, "--import", k.public(name)),
	} {
		if err := run(cmd); err != nil {
			return err
		}
	}
	return nil
}

func user(key string) string { return "imatest-" + key + "@example.invalid" }

func (k keyring) public(key string) string { return filepath.Join(k.home, key+".asc") }

func (k keyring) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Env = append(plainEnv(k.home), "GNUPGHOME="+k.home)
	return cmd
}

func (k keyring) sign(key, path string, flags ...string) *exec.Cmd {
	gpg, err := exec.LookPath("gpg") // rpm's default is gpg2
	if err != nil {
		gpg = "gpg"
	}
	args := append([]string{"--addsign", "--define", "__gpg " + gpg, "--define", "_gpg_name " + user(key)}, flags...)
	return k.command("rpmsign", append(args, path)...)
}

func ring(t testing.TB) keyring {
	t.Helper()
	harness.Tool(t, "gpg")
	k, err := openpgp()
	if err != nil {
		t.Fatalf("make OpenPGP keys: %v", err)
	}
	return k
}

// AddSign signs the package at path in place with rpmsign and the OpenPGP key called "rsa" or
// "ed25519".
func AddSign(t testing.TB, key, path string, flags ...string) {
	t.Helper()
	if err := run(ring(t).sign(key, path, flags...)); err != nil {
		t.Fatal(err)
	}
}

// PublicKey returns the armored file of the OpenPGP key called "rsa" or "ed25519".
func PublicKey(t testing.TB, key string) string {
	t.Helper()
	return ring(t).public(key)
}

// GPG returns an environment in which gpg has the OpenPGP keys called "rsa" and "ed25519", and
// the user id of the one called key.
func GPG(t testing.TB, key string) (env []string, id string) {
	t.Helper()
	k := ring(t)
	return append(plainEnv(k.home), "GNUPGHOME="+k.home), user(key)
}

// SecretKey exports the OpenPGP key called "rsa" or "ed25519", armored and without a passphrase,
// to a new file and returns its path.
func SecretKey(t testing.TB, key string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), key+".secret.asc")
	if err := run(ring(t).command("gpg", "--batch", "--armor", "--output", file, "--export-secret-keys", user(key))); err != nil {
		t.Fatal(err)
	}
	return file
}

// Checksig runs `rpmkeys --checksig --verbose` with a database that trusts the OpenPGP keys of
// AddSign.
func Checksig(t testing.TB, path string) harness.Result {
	t.Helper()
	k := ring(t)
	return harness.RunCommand(t, k.command("rpmkeys", "--dbpath", k.dbpath, "--checksig", "--verbose", path))
}
