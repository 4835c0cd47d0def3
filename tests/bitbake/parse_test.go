package bitbake

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestParse parses all of OE-core with the layer and with ima in DISTRO_FEATURES. Every
// bbappend must find its recipe, and every dependency of this layer's recipes, target,
// native and nativesdk, must have a provider.
func TestParse(t *testing.T) {
	l := newLab(t)
	local := read(t, l.path("build/conf/local.conf"))
	local = regexp.MustCompile(`(?m)^(BBMASK|require|HOSTTOOLS|TEST_RECIPES|GO\w+:).*\n`).ReplaceAllString(local, "")
	targets := []string{"packagegroup-imasign", "packagegroup-imasign-initramfs"}
	if l.release == "scarthgap" {
		local += "ASSUME_PROVIDED += \"imasign-build-native\"\n"
	} else {
		targets = append(targets, "imasign-build", "imasign-build-native", "nativesdk-imasign-build")
	}
	write(t, l.path("build/conf/local.conf"), local+"DISTRO_FEATURES:append = \" ima\"\n"+evmOn)
	layers := l.path("build/conf/bblayers.conf")
	write(t, layers, strings.Replace(read(t, layers), " "+l.path("meta-test"), "", 1))
	r := l.build(t, "", "-p")
	if m := regexp.MustCompile(`, (\d+) masked, 0 errors`).FindStringSubmatch(r.Out); m == nil || m[1] != "0" {
		t.Errorf("not everything was parsed:\n%s", tail(r.Out))
	}
	if strings.Contains(r.Out, "WARNING") {
		t.Errorf("warnings:\n%s", tail(r.Out))
	}
	for recipe, want := range map[string]string{
		"util-linux": `switch_root\.static`, "rpm": `(?m)^RPM_IMA_MACROS=""$`, "linux-yocto": `imasign\.cfg \S*imasign-evm\.cfg`,
		"base-files": `IMASIGN_IVERSION`, "imasign-policy": `etc/ima`, "imasign-key-store": `x509_ima`,
		"initramfs-module-imasign": `95-imasign`, "packagegroup-imasign": `util-linux-switch-root\.static`,
	} {
		if out := l.bitbake(t, "", "-e", recipe).Out; !regexp.MustCompile(want).MatchString(out) {
			t.Errorf("%s: %q is not in it", recipe, want)
		}
	}
	l.build(t, "", append([]string{"-g"}, targets...)...)
	built := strings.Fields(read(t, l.path("build/pn-buildlist")))
	want := append(slices.Clone(targets), "imasign-key-store", "imasign-policy", "initramfs-module-imasign", "util-linux")
	if l.release != "scarthgap" {
		want = append(want, "openssl", "openssl-native", "nativesdk-openssl", "go-runtime", "nativesdk-go-runtime")
	}
	for _, recipe := range want {
		if !slices.Contains(built, recipe) {
			t.Errorf("%s is not among what would be built for %v", recipe, targets)
		}
	}
}
