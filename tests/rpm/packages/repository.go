package packages

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/imasign/imasign-build/tests/harness"
)

// Repository makes an RPM repository of the packages called names below dir with createrepo_c.
func Repository(t testing.TB, dir string, names ...string) {
	t.Helper()
	for _, name := range names {
		Copy(t, name, dir)
	}
	CreateRepo(t, dir)
}

// CreateRepo writes the repodata of the packages below dir.
func CreateRepo(t testing.TB, dir string, flags ...string) {
	t.Helper()
	harness.Must(t, "createrepo_c", append(append([]string{"--quiet"}, flags...), dir)...)
}

// DNF is a dnf that knows only one repository on this machine: no configuration, no plugin, no
// cache except its own, no network.
type DNF struct {
	Repository string // directory with repodata
	Root       string // installation root, made if it is missing
	Key        string // armored OpenPGP key file; "" turns gpgcheck off
}

// Run runs dnf with args, whatever its exit code. rpm's IMA plugin is on.
func (d DNF) Run(t testing.TB, args ...string) harness.Result {
	t.Helper()
	harness.Root(t)
	home := t.TempDir()
	// dnf reads its configuration only from a file.
	if err := os.WriteFile(filepath.Join(home, "dnf.conf"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	macros := "%__plugindir " + PluginDir(t) + "\n"
	if err := os.WriteFile(filepath.Join(home, ".rpmmacros"), []byte(macros), 0o644); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), hung)
	defer cancel()
	cmd := exec.CommandContext(ctx, "dnf", append(d.flags(home), args...)...)
	cmd.Env = plainEnv(home)
	return harness.RunCommand(t, cmd)
}

func (d DNF) flags(home string) []string {
	flags := []string{
		"--assumeyes", "--noplugins", "--config=" + filepath.Join(home, "dnf.conf"), "--releasever=1", "--installroot=" + d.Root,
		"--repofrompath=test,file://" + d.Repository, "--repo=test",
		"--setopt=reposdir=/dev/null", "--setopt=varsdir=/dev/null", "--setopt=module_platform_id=platform:test",
		"--setopt=cachedir=" + filepath.Join(home, "cache"), "--setopt=logdir=" + home,
		"--setopt=persistdir=" + filepath.Join(home, "persist"), "--setopt=install_weak_deps=False",
	}
	if d.Key == "" {
		return append(flags, "--setopt=gpgcheck=0", "--setopt=test.gpgcheck=0")
	}
	return append(flags, "--setopt=gpgcheck=1", "--setopt=test.gpgcheck=1", "--setopt=test.gpgkey=file://"+d.Key)
}

// Download downloads the packages into dir with dnf, which compares each with the checksum in
// repodata.
func (d DNF) Download(t testing.TB, dir string, names ...string) harness.Result {
	t.Helper()
	return d.Run(t, append([]string{"install", "--downloadonly", "--downloaddir=" + dir}, names...)...)
}

// Install installs the packages into the root with dnf, which checks their OpenPGP signatures if
// there is a key.
func (d DNF) Install(t testing.TB, names ...string) harness.Result {
	t.Helper()
	return d.Run(t, append([]string{"install"}, names...)...)
}
