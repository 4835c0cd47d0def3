SUMMARY = "The IMA policies that the initramfs loads"
LICENSE = "MIT"
LIC_FILES_CHKSUM = "file://${COMMON_LICENSE_DIR}/MIT;md5=0835ade698e0bcf8506ecda2f7b4f302"

inherit imasign

# The absolute path of a policy of your own, which the initramfs loads instead of the default
# one. The default one is written by `imasign-build policy generate`.
IMASIGN_POLICY ?= ""

INHIBIT_DEFAULT_DEPS = "1"
# The policy may depend on the machine.
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
        bb.fatal('IMASIGN_POLICY is %s: give the absolute path of an existing file' % policy)
    kernel = ['--kernel', d.getVar('IMASIGN_KERNEL_VERSION')] if d.getVar('IMASIGN_KERNEL_VERSION') else []
    # With a wrong policy the device would not boot.
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

# Do not install this in a root file system: the hook of the initramfs would load the policy a
# second time from there.
FILES:${PN} = "${sysconfdir}/ima"
