SUMMARY = "The IMA policies that the initramfs loads"
LICENSE = "MIT"
LIC_FILES_CHKSUM = "file://${COMMON_LICENSE_DIR}/MIT;md5=0835ade698e0bcf8506ecda2f7b4f302"

inherit imasign

# A policy of your own, an absolute path, which the initramfs prefers to the default
# one; that is what `imasign-build policy generate` writes.
IMASIGN_POLICY ?= ""

INHIBIT_DEFAULT_DEPS = "1"
# Which policy a device has may depend on the machine.
PACKAGE_ARCH = "${MACHINE_ARCH}"

SRC_URI = "file://ima_policy.default"
S = "${@d.getVar('UNPACKDIR') or d.getVar('WORKDIR')}"

do_configure[noexec] = "1"
do_compile[depends] += "imasign-build-native:do_populate_sysroot"

python do_compile () {
    policy = d.getVar('IMASIGN_POLICY')
    if not policy:
        return
    if not (os.path.isabs(policy) and os.path.isfile(policy)):
        bb.fatal('IMASIGN_POLICY is %s: give the absolute path of a file' % policy)
    kernel = ['--kernel', d.getVar('IMASIGN_KERNEL_VERSION')] if d.getVar('IMASIGN_KERNEL_VERSION') else []
    # Better now than on the device, which would not boot.
    imasign_run(d, ['policy', 'check', '--initramfs', *kernel, policy])
}
do_compile[file-checksums] += "${@imasign_checksums(d, 'IMASIGN_POLICY')}"
do_compile[vardeps] += "IMASIGN_KERNEL_VERSION"
do_compile[vardepsexclude] += "IMASIGN_POLICY"

do_install () {
    install -D -m 0644 ${S}/ima_policy.default ${D}${sysconfdir}/ima/ima_policy.default
    for policy in ${IMASIGN_POLICY}; do
        install -m 0644 $policy ${D}${sysconfdir}/ima/ima_policy
    done
}
do_install[file-checksums] += "${@imasign_checksums(d, 'IMASIGN_POLICY')}"
do_install[vardepsexclude] += "IMASIGN_POLICY"

# Not a part of every root file system: the hook of the initramfs would load it there
# once more.
FILES:${PN} = "${sysconfdir}/ima"
