SUMMARY = "Signs the files of a device image for Linux IMA appraisal"
HOMEPAGE = "https://github.com/imasign/imasign-build"
# First the licence of the program, then those of the modules that are linked into it.
LICENSE = "${@d.getVar('LICENSE_AND').join(['Apache-2.0', 'BSD-2-Clause', 'BSD-3-Clause', 'MIT', d.getVar('LICENSE_PD'), 'Unlicense'])}"
# Blacksail requires SPDX expressions; earlier releases do not support them.
LICENSE_PD = "${@'LicenseRef-PD' if 'blacksail' in d.getVar('LAYERSERIES_CORENAMES') else 'PD'}"
LICENSE_AND = "${@' AND ' if 'blacksail' in d.getVar('LAYERSERIES_CORENAMES') else ' & '}"
LIC_FILES_CHKSUM = "file://src/${GO_IMPORT}/LICENSE;md5=3b83ef96387f14655fc854ddc3c6bd57"

GO_IMPORT = "github.com/imasign/imasign-build"
GO_INSTALL = "${GO_IMPORT}/cmd/imasign-build"
# The Go version in go.mod.
GO_MINIMUM = "1.26"

# The sources are in the layer, so that the classes and the program always match.
FILESEXTRAPATHS:prepend := "${IMASIGN_LAYERDIR}:"
SRC_URI = "\
    file://LICENSE;subdir=${GO_SRCURI_DESTSUFFIX} \
    file://go.mod;subdir=${GO_SRCURI_DESTSUFFIX} \
    file://go.sum;subdir=${GO_SRCURI_DESTSUFFIX} \
    file://cmd;subdir=${GO_SRCURI_DESTSUFFIX} \
    file://internal;subdir=${GO_SRCURI_DESTSUFFIX} \
    file://pkg;subdir=${GO_SRCURI_DESTSUFFIX} \
"
require imasign-build-go-mods.inc

inherit go-mod

# pseudo and libcrypto need cgo.
export CGO_ENABLED = "1"
# Use only what SRC_URI fetched: no proxy, no other toolchain.
export GOPROXY = "off"
export GOTOOLCHAIN = "local"
# TMPDIR may be inside another git repository, whose revision would be the wrong one.
GOBUILDFLAGS:append = " -buildvcs=false"

do_install () {
    install -D -m 0755 ${B}/${GO_BUILD_BINDIR}/imasign-build ${D}${bindir}/imasign-build
}

# libcrypto is opened at run time, so BitBake does not detect the dependency. Without it, RSA
# signatures are the same, but take longer.
DEPENDS:append:class-native = " openssl-native"
RRECOMMENDS:${PN}:class-target = "libcrypto"
RRECOMMENDS:${PN}:class-nativesdk = "nativesdk-libcrypto"

BBCLASSEXTEND = "native nativesdk"

python () {
    import re
    have = re.match(r'(\d+)\.(\d+)', d.getVar('GOVERSION') or '')
    want = d.getVar('GO_MINIMUM').split('.')
    if have and tuple(map(int, have.groups())) < tuple(map(int, want)):
        raise bb.parse.SkipRecipe('imasign-build needs Go %s, but this release has %s: use the program of the build machine with ASSUME_PROVIDED += "imasign-build-native" and HOSTTOOLS += "imasign-build" (docs/yocto.md)' % (d.getVar('GO_MINIMUM'), have.group()))
}
