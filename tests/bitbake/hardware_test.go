package bitbake

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/tests/harness"
)

// The PIN of the token, and the authorization value of the TPM's key. Like the passphrase,
// they may appear nowhere.
const (
	pin      = "pin-of-the-token-4713"
	tpmValue = "value-of-the-tpm-key-4714"
)

// hardwareKeys builds with keys in a token and a TPM.
func (l *lab) hardwareKeys(t *testing.T) {
	t.Run("token", l.token)
	t.Run("TPM", l.tpm)
}

// token signs images and packages with SoftHSM2. Tasks get its variable SOFTHSM2_CONF only
// because the class passes it on.
func (l *lab) token(t *testing.T) {
	h := harness.NewSoftHSM(t)
	h.InitToken(t, "build", pin)
	harness.Must(t, harness.Program(t), "key", "init", "--on", h.URI(t, "build", "", pin), l.path("token"))
	harness.Must(t, "cp", "-r", h.Tokens, l.path("token/tokens"))
	conf := l.path("token/softhsm2.conf")
	write(t, conf, "directories.tokendir = "+l.path("token/tokens")+"\nobjectstore.backend = file\nlog.level = ERROR\n")
	write(t, l.path("token/pin"), pin+"\n")
	harness.Must(t, "chown", "-R", fmt.Sprintf("%d:%d", uid, uid), l.path("token"))

	key := "pkcs11:token=build;object=x509_ima?module-path=" + h.Module
	cert := "IMASIGN_CERT = \"" + l.path("token/x509_ima.crt") + "\"\n"
	asks := "IMASIGN_KEY_ENV = \"SOFTHSM2_CONF\"\n"
	named := cert + asks + "SOFTHSM2_CONF = \"" + conf + "\"\n"
	byVariable := named + "IMASIGN_KEY = \"" + key + "\"\nIMASIGN_KEY_PASS = \"file:" + l.path("token/pin") + "\"\n"
	byURI := named + "IMASIGN_KEY = \"" + key + "&pin-source=file:" + l.path("token/pin") + "\"\nIMASIGN_KEY_PASS = \"\"\n"

	l.build(t, byVariable, "test-image")
	l.verifyTar(t, l.path("token/x509_ima.der"))
	l.verifyPackages(t, l.path("token/x509_ima.der"))
	t.Run("PIN by the URI", func(t *testing.T) { l.nothingRuns(t, byURI) })
	t.Run("signs by the URI", func(t *testing.T) {
		l.build(t, byURI+"IMASIGN_ROOTFS_HASH = \"sha384\"\n", "test-image")
		l.verifyTar(t, l.path("token/x509_ima.der"))
	})
	t.Run("SOFTHSM2_CONF of the shell", func(t *testing.T) {
		l.env = []string{"SOFTHSM2_CONF=" + conf, "BB_ENV_PASSTHROUGH_ADDITIONS=SOFTHSM2_CONF"}
		defer func() { l.env = nil }()
		l.build(t, strings.Replace(byURI, named, cert+asks, 1)+"IMASIGN_ROOTFS_HASH = \"sha512\"\n", "test-image")
		l.verifyTar(t, l.path("token/x509_ima.der"))
	})
	for name, c := range map[string]struct{ extra, says string }{
		"no value":     {strings.Replace(byURI, named, cert+asks, 1), "IMASIGN_KEY_ENV names SOFTHSM2_CONF, which has no value"},
		"not named":    {strings.Replace(byURI, named, cert, 1) + "IMASIGN_HASH = \"sha384\"\n", "libsofthsm2.so: initialise"},
		"wrong PIN":    {byURI + "IMASIGN_KEY_PASS = \"file:/etc/hostname\"\nIMASIGN_KEY = \"" + key + "\"\nIMASIGN_HASH = \"sha384\"\n", "PIN"},
		"another cert": {strings.Replace(byURI, l.path("token/x509_ima.crt"), l.path("keys/x509_ima.crt"), 1) + "IMASIGN_HASH = \"sha384\"\n", "certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			r := l.bitbake(t, c.extra, "test-image")
			if r.Code == 0 || !strings.Contains(r.Out, c.says) {
				t.Errorf("exit %d, want %q:\n%s", r.Code, c.says, tail(r.Out))
			}
		})
	}
}

// tpm signs images and packages with the key file of a TPM.
func (l *lab) tpm(t *testing.T) {
	s := harness.NewTPM(t)
	value := l.path("tpm-value")
	write(t, value, tpmValue+"\n")
	device := "?device=" + s.Device + "&auth-source=file:" + value
	harness.Must(t, harness.Program(t), "key", "init", "--algorithm", "p256", "--on", "tpm2:"+device, l.path("tpm"))
	harness.Must(t, "chown", "-R", fmt.Sprintf("%d:%d", uid, uid), l.path("tpm"), value)
	// udev gives a TPM's device to a group. The socket belongs to root.
	socket := strings.TrimPrefix(s.Device, "unix:")
	for path, mode := range map[string]os.FileMode{filepath.Dir(socket): 0o755, socket: 0o777} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	l.build(t, fmt.Sprintf("IMASIGN_KEY = \"tpm2:%s%s\"\nIMASIGN_KEY_PASS = \"\"\nIMASIGN_CERT = \"%s\"\n", l.path("tpm/x509_ima.key"), device, l.path("tpm/x509_ima.crt")), "test-image")
	l.verifyTar(t, l.path("tpm/x509_ima.der"))
	l.verifyPackages(t, l.path("tpm/x509_ima.der"))
}

// verifyTar checks that evmctl accepts every file of the tar image.
func (l *lab) verifyTar(t *testing.T, cert string) {
	t.Helper()
	dir := t.TempDir()
	harness.Must(t, "tar", "-C", dir, "--xattrs", "--xattrs-include=*", "-xpf", l.path(filepath.Join(images, image+".tar")))
	verifyTree(t, dir, cert, l.manifest(t))
}
