SUMMARY = "Files that need no compiler: a program, an owner, a mode, a link, a configuration"
LICENSE = "MIT"
LIC_FILES_CHKSUM = "file://${COMMON_LICENSE_DIR}/MIT;md5=0835ade698e0bcf8506ecda2f7b4f302"
SRC_URI = "file://hello.sh"
S = "${@d.getVar('UNPACKDIR') or d.getVar('WORKDIR')}"

INHIBIT_DEFAULT_DEPS = "1"
INHIBIT_PACKAGE_STRIP = "1"
INHIBIT_PACKAGE_DEBUG_SPLIT = "1"
INHIBIT_SYSROOT_STRIP = "1"
SKIP_FILEDEPS = "1"
EXCLUDE_FROM_SHLIBS = "1"

do_configure[noexec] = "1"
do_compile[noexec] = "1"
do_install() {
    install -D -m 0755 ${S}/hello.sh ${D}${bindir}/hello.sh
    install -D -m 4755 ${S}/hello.sh ${D}${bindir}/hello-setuid
    install -D -m 0600 ${S}/hello.sh ${D}${sysconfdir}/secret.conf
    ln -s hello.sh ${D}${bindir}/hello-link
    install -d ${D}${datadir}/test
    for i in $(seq 1 20); do echo "data $i" > ${D}${datadir}/test/f$i; done
    : > ${D}${datadir}/test/empty
    chown 12:34 ${D}${datadir}/test/f1
    chmod 0000 ${D}${datadir}/test/f2
    printf '/dev/root / auto defaults 1 1\n' > ${D}${sysconfdir}/fstab
}
PACKAGES = "${PN}"
FILES:${PN} = "/"
CONFFILES:${PN} = "${sysconfdir}/secret.conf"
# What scripts of other packages require.
RPROVIDES:${PN} = "/bin/sh"
