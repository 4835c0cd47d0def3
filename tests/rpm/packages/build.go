package packages

import (
	"embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

//go:embed specs
var specs embed.FS

// recipe says how rpmbuild makes one package.
type recipe struct {
	spec    string
	defines []string // macro definitions, "name value"
	source  bool
}

// zstd is the payload compression of current distributions.
const zstd = "_binary_payload w3.zstdio"

func recipes() map[string]recipe {
	all := map[string]recipe{
		"rich":      {spec: "rich", defines: []string{zstd}},
		"rich-fifo": {spec: "rich", defines: []string{zstd, "fifo 1"}}, // do not install it
		"many":      {spec: "many", defines: []string{zstd, "thousands 20"}},
		"empty":     {spec: "empty"},
		"noarch":    {spec: "plain", defines: []string{zstd, "noarch 1"}},
		"source":    {spec: "plain", source: true},
		// The smallest reserve: rpm 4.18 adds 32 bytes to the number.
		"no-reserve":    {spec: "plain", defines: []string{zstd, "__gpg_reserved_space 0"}},
		"large-reserve": {spec: "plain", defines: []string{zstd, "__gpg_reserved_space 65536"}},
	}
	for name, io := range map[string]string{
		"zstd": "w3.zstdio", "xz": "w2.xzdio", "gzip": "w9.gzdio",
		"bzip2": "w9.bzdio", "lzma": "w2.lzdio", "uncompressed": "w.ufdio",
	} {
		all[name] = recipe{spec: "plain", defines: []string{"_binary_payload " + io}}
		all["ambiguous-"+name] = recipe{spec: "ambiguous", defines: []string{"_binary_payload " + io}}
	}
	// The numbers are those of OpenPGP (RFC 4880, section 9.4), as in tag 5011.
	for name, id := range map[string]int{"md5": 1, "sha1": 2, "sha256": 8, "sha384": 9, "sha512": 10, "sha224": 11} {
		all[name] = recipe{spec: "plain", defines: []string{zstd, fmt.Sprint("_binary_filedigest_algorithm ", id)}}
	}
	all["source-sha512"] = recipe{spec: "plain", source: true, defines: []string{"_source_filedigest_algorithm 10"}}
	return all
}

// build runs rpmbuild and returns the package. The result depends only on the recipe and on rpm's
// version, not on the clock or the machine.
func (r recipe) build(name string) (string, error) {
	dir, err := directory(name)
	if err != nil {
		return "", err
	}
	spec := filepath.Join(dir, name+".spec")
	text, err := specs.ReadFile("specs/" + r.spec + ".spec")
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(spec, text, 0o644); err != nil {
		return "", err
	}
	if err := run(r.command(name, dir, spec)); err != nil {
		return "", err
	}
	return onlyMatch(filepath.Join(dir, "*.rpm"))
}

func (r recipe) command(name, dir, spec string) *exec.Cmd {
	args := []string{"-bb", "--quiet", "--clean"}
	if r.source {
		args[0] = "-bs"
	}
	for _, define := range append([]string{
		"fixture " + name,
		"_topdir " + dir,
		"_tmppath " + dir,
		"_rpmdir " + dir,
		"_srcrpmdir " + dir,
		"_build_name_fmt %%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm",
		"_buildhost localhost",
		"use_source_date_epoch_as_buildtime 1",
		"clamp_mtime_to_source_date_epoch 1",
		"_build_id_links none",
		"__os_install_post %{nil}",
		"debug_package %{nil}",
	}, r.defines...) {
		args = append(args, "--define", define)
	}
	cmd := exec.Command("rpmbuild", append(args, spec)...)
	cmd.Env = append(plainEnv(dir), "SOURCE_DATE_EPOCH=1700000000")
	return cmd
}

// plainEnv returns an environment without the user's macros and locale.
func plainEnv(home string) []string {
	return []string{"PATH=" + os.Getenv("PATH"), "HOME=" + home, "LC_ALL=C.UTF-8"}
}

func run(cmd *exec.Cmd) error {
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s(tests/deps.sh installs the peers)", cmd, err, out)
	}
	return nil
}

func onlyMatch(pattern string) (string, error) {
	found, err := filepath.Glob(pattern)
	if err == nil && len(found) != 1 {
		err = fmt.Errorf("%s: %d files, want 1", pattern, len(found))
	}
	if err != nil {
		return "", err
	}
	return found[0], nil
}
