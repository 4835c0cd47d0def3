package bitbake

import (
	"bytes"
	"encoding/json"
	"maps"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/imasign/imasign-build/tests/harness"
)

// verifyClass evaluates a Python expression in the functions of imasign-verify.bbclass, once
// with each set of variables. It returns what is printed, and after it the value.
func verifyClass(t *testing.T, expression string, sets []map[string]string) []string {
	t.Helper()
	input, err := json.Marshal(sets)
	if err != nil {
		t.Fatal(err)
	}
	code := "import json, os, sys\n" + classFunction(t, "imasign-image", "imasign_base_type") + "\n"
	for _, f := range functions(t, filepath.Join(root, "classes/imasign-verify.bbclass")) {
		if f.kind == "def" {
			code += f.body + "\n"
		}
	}
	code += `
class bb:
    def fatal(text):
        raise RuntimeError('fatal: ' + text)
    note = warn = lambda text: said.append(text)
    class utils:
        which = lambda path, name: next((p + '/' + name for p in path.split(':') if os.path.exists(p + '/' + name)), '')
results = []
for variables in json.load(sys.stdin):
    said = []
    class d:
        getVar = variables.get
        getVarFlag = lambda name, flag, expand=True: variables.get(name + ' ' + flag)
    try:
        said.append(str(` + expression + `))
    except RuntimeError as e:
        said.append(str(e))
    results.append('\n'.join(said))
json.dump(results, sys.stdout)
`
	cmd := exec.Command(harness.Tool(t, "python3"), "-W", "error", "-c", code)
	cmd.Stdin = bytes.NewReader(input)
	r := harness.RunCommand(t, cmd)
	var results []string
	if err := json.Unmarshal([]byte(r.Out), &results); err != nil || len(results) != len(sets) {
		t.Fatal(r.Out, r.Err, err)
	}
	return results
}

// TestPartitionsOfWks checks which partitions of a wic image are compared with the
// manifest, and as which directories. TestBuild checks the same with images that wic made.
func TestPartitionsOfWks(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "wic/common.wks.inc"), "part /boot --source bootimg-pcbios --ondisk sda --label boot --active --align 1024\npart / --source rootfs --use-uuid --fstype=ext4\nbootloader --ptable=gpt\n")
	write(t, filepath.Join(dir, "rootfs/home/a"), "")
	write(t, filepath.Join(dir, "other/a"), "")
	var names []string
	var sets []map[string]string
	// "!" marks what is not verified, and the reason.
	cases := map[string]struct{ wks, want string }{
		"one":           {"# a comment\n\npart /boot --source bootimg-efi --sourceparams=\"loader=grub-efi\" --ondisk sda --active --align 1024\npart / --source rootfs --ondisk sda --fstype ext4\npart swap --ondisk sda --size 44 --fstype=swap\nbootloader --ptable gpt --timeout=5 --append=\"rootwait console=ttyS0,115200\"", "2:/"},
		"included":      {"include common.wks.inc\npart /data --fstype=ext4 --size 8", "2:/"},
		"four":          {"part /a\npart /b\npart /c\npart / --source rootfs --fstype=ext4", "4:/"},
		"logical":       {"part /a\npart /b\npart /c\npart /d\npart / --source rootfs --fstype=ext4", "6:/"},
		"all logical":   {"part /a --type logical\npart / --type=logical --source rootfs --fstype=ext4", "6:/"},
		"GPT":           {"part /a\npart /b\npart /c\npart /d\npart / --source rootfs --fstype=erofs\nbootloader --ptable=gpt-hybrid", "5:/"},
		"not in table":  {"part spl --source rawcopy --sourceparams=\"file=spl.bin\" --no-table --offset 8k\npart / --source rootfs --fstype=squashfs", "1:/"},
		"home":          {"part / --source rootfs --fstype=ext4 --exclude-path home/ var/log var/cache/\npart /home --source rootfs --rootfs-dir=${IMAGE_ROOTFS}/home --fstype=ext4", "1:/ 2:/home -/var/log -/var/cache/"},
		"change of dir": {"part / --source rootfs --fstype=ext4 --exclude-path=home --exclude-path srv\npart /srv/data --source rootfs --change-directory=home --fstype=ext4 --exclude-path cache/", "1:/ 2:/home -/srv -/home/cache/"},
		"below":         {"part / --source rootfs --fstype=ext4 --exclude-path home\npart / --source rootfs --fstype=ext4 --change-directory home/me", "1:/ 2:/home/me -/home"},
		"two systems":   {"part / --source rootfs --fstype=ext4 --label a --exclude-path home\npart --source rootfs --fstype=ext4 --label b\npart /home --source rootfs --rootfs-dir ${IMAGE_ROOTFS}/home/ --fstype=ext4", "1:/ 3:/home | 2:/ 3:/home"},
		"named":         {"part / --source rootfs --rootfs-dir=test-image --fstype=ext4", "1:/"},
		"copied":        {"part / --source rawcopy --sourceparams=\"file=${IMGDEPLOYDIR}/${IMAGE_LINK_NAME}.ext4.verity\"", "1:/"},
		"empty":         {"part /data --size 4", "!not verified after it was made: the wic image, because no partition"},
		"other tree":    {"part / --source rootfs --fstype=ext4\npart /x --source rootfs --fstype=ext4 --rootfs-dir=" + dir + "/other", "!wks:2: " + dir + "/other is not from this image"},
		"other image":   {"part / --source rootfs --rootfs-dir=rootfs1 --fstype=ext4", "!wks:1: rootfs1 is not from this image"},
		"beside it":     {"part / --source rootfs --rootfs-dir=${IMAGE_ROOTFS}-dbg --fstype=ext4", "!is not from this image"},
		"vfat":          {"part /boot --source rootfs --rootfs-dir=${IMAGE_ROOTFS}/boot", "!wks:1: vfat cannot be read"},
		"btrfs":         {"part / --source rootfs --fstype=btrfs", "!wks:1: btrfs cannot be read"},
		"copied ubifs":  {"part / --source rawcopy --sourceparams=\"file=image-1.ubifs\"", "!wks:1: ubifs cannot be read"},
		"no table":      {"part / --source rootfs --fstype=ext4 --no-table", "!wks:1: it is in no partition table"},
		"option":        {"part / --source rootfs --fstype=ext4 --compress", "!wks:1: --compress is not known"},
		"command":       {"volume / --source rootfs", "!wks:1: volume is not known"},
		"include":       {"include nothing.inc", "!wks:1: nothing.inc is not in WKS_SEARCH_PATH"},
		"quotes":        {"part / --label \"a", "!No closing quotation"},
	}
	for name, c := range cases {
		file := filepath.Join(dir, name+".wks")
		write(t, file, c.wks)
		variables := map[string]string{
			"PN": "test-image", "WKS_FULL_PATH": file, "WKS_SEARCH_PATH": "/nonexistent:" + dir + "/wic",
			"IMAGE_ROOTFS": filepath.Join(dir, "rootfs"), "IMAGE_BASENAME": "test-image", "IMAGE_NAME": "image-1", "IMAGE_LINK_NAME": "image",
			"IMASIGN_VERIFY_IMAGE": "1", "IMASIGN_FSTYPES_VERIFIED": "ext4 erofs squashfs", "CONVERSIONTYPES": "gz verity",
		}
		require := maps.Clone(variables)
		require["IMASIGN_VERIFY_IMAGE"] = "require"
		names, sets = append(names, name), append(sets, variables, require)
	}
	results := verifyClass(t, `' | '.join(' '.join(r).replace('--partition ', '').replace('--exclude-path ', '-') for r in imasign_wic_flags(d))`, sets)
	for i, name := range names {
		want := cases[name].want
		verified, required := results[2*i], results[2*i+1]
		if strings.HasPrefix(want, "!") {
			if fatal := strings.HasPrefix(required, "fatal: ") || strings.Contains(required, "\nfatal: "); !fatal || !strings.Contains(required, want[1:]) || !strings.Contains(verified, want[1:]) || strings.Contains(verified, "fatal: ") {
				t.Errorf("%s: %q, required: %q, want %q", name, verified, required, want)
			}
		} else if verified != want || required != want {
			t.Errorf("%s: %q, required: %q, want %q", name, verified, required, want)
		}
	}
}

// TestPartitionsByHand checks IMASIGN_WIC_PARTITIONS and the flags of every wic image.
func TestPartitionsByHand(t *testing.T) {
	out := verifyClass(t, `imasign_wic_flags(d)`, []map[string]string{{"IMASIGN_WIC_PARTITIONS": "2:/ 3 5:/home/", "IMASIGN_WIC_VERIFY_FLAGS": "--exclude /etc/added", "WIC_SECTOR_SIZE": "4096"}})
	const want = `[['--partition', '2:/', '--partition', '5:/home', '--exclude', '/etc/added', '--sector', '4096'], ['--partition', '3:/', '--partition', '5:/home', '--exclude', '/etc/added', '--sector', '4096']]`
	if out[0] != want {
		t.Error(out[0])
	}
}

// TestImagesThatAreRead checks which files of an image task are verified.
func TestImagesThatAreRead(t *testing.T) {
	for names, want := range map[string]string{
		"ext4":                    "(['ext4'], [])",
		"ext4.gz ext4.bmap ext4":  "(['ext4', 'ext4.gz'], [])",
		"wic.zst.sha256sum wic":   "(['wic'], [])",
		"wic.vmdk wic.xz wic.lz4": "(['wic.xz'], ['wic.lz4', 'wic.vmdk'])",
		"squashfs-xz":             "(['squashfs-xz'], [])",
		"squashfs-lzo":            "([], ['squashfs-lzo'])",
		"tar.bz2 tar.lzma":        "(['tar.bz2'], ['tar.lzma'])",
		"ubifs":                   "([], ['ubifs'])",
	} {
		out := verifyClass(t, `imasign_images(d, 'do_image_x')`, []map[string]string{{
			"IMASIGN_FSTYPES_VERIFIED": "ext4 squashfs-xz tar wic", "CONVERSIONTYPES": "gz xz zst bz2 lzma lz4 vmdk bmap sha256sum zsync", "do_image_x subimages": names,
		}})
		if out[0] != want {
			t.Errorf("%s: %s, want %s", names, out[0], want)
		}
	}
}
