SUMMARY = "The IMA policy that the initramfs loads"
LICENSE = "MIT"
LIC_FILES_CHKSUM = "file://${COMMON_LICENSE_DIR}/MIT;md5=0835ade698e0bcf8506ecda2f7b4f302"

# The policy, an absolute path; the default appraises what runs as root.
IMASIGN_POLICY ?= "${THISDIR}/files/ima-policy"

INHIBIT_DEFAULT_DEPS = "1"
# Which policy a device has may depend on the machine.
PACKAGE_ARCH = "${MACHINE_ARCH}"

do_configure[noexec] = "1"
do_compile[noexec] = "1"

do_install () {
    install -D -m 0644 ${IMASIGN_POLICY} ${D}${sysconfdir}/ima/ima-policy
}
do_install[file-checksums] += "${IMASIGN_POLICY}:True"
do_install[vardepsexclude] += "IMASIGN_POLICY"

# Not a part of every root file system: systemd with IMA support would load it again.
FILES:${PN} = "${sysconfdir}/ima"
