SUMMARY = "Certificates for the device's IMA and EVM keyrings"
DESCRIPTION = "The certificates of the signing keys, under the names that the kernel and \
the initramfs look for. No private keys."
LICENSE = "MIT"
LIC_FILES_CHKSUM = "file://${COMMON_LICENSE_DIR}/MIT;md5=0835ade698e0bcf8506ecda2f7b4f302"

inherit imasign

IMASIGN_ROOTFS_CERT ?= "${IMASIGN_CERT}"
IMASIGN_RPM_CERT ?= "${IMASIGN_CERT}"

# "1" puts the private key into a package, for development boards that sign their own files.
# The key is then in the package and in sstate.
IMASIGN_SHIP_PRIVATE_KEY ?= "0"

INHIBIT_DEFAULT_DEPS = "1"
# Machines may have keys of their own.
PACKAGE_ARCH = "${MACHINE_ARCH}"

KEYS_DIR = "${sysconfdir}/keys"

do_configure[noexec] = "1"
do_compile[depends] += "imasign-build-native:do_populate_sysroot"
do_compile[cleandirs] = "${B}/keys"
do_compile[file-checksums] += "${@imasign_checksums(d, 'IMASIGN_ROOTFS_CERT', 'IMASIGN_RPM_CERT', 'IMASIGN_SYSTEM_CERT', 'IMASIGN_EXTRA_CERTS', 'IMASIGN_SECONDARY_CERTS', 'IMASIGN_REVOKED_CERTS')}"
do_compile[file-checksums] += "${@imasign_checksums(d, 'IMASIGN_EVM_CERT') if imasign_evm(d) else ''}"

python do_compile () {
    import shutil

    certs = [d.getVar('IMASIGN_ROOTFS_CERT')]
    if d.getVar('IMASIGN_RPM_CERT') != d.getVar('IMASIGN_ROOTFS_CERT'):
        certs.append(d.getVar('IMASIGN_RPM_CERT'))
    certs += (d.getVar('IMASIGN_EXTRA_CERTS') or '').split()
    imasign_check_certificate(d, 'IMASIGN_ROOTFS_CERT')
    imasign_check_certificate(d, 'IMASIGN_SYSTEM_CERT')
    flags = ['--ca', d.getVar('IMASIGN_SYSTEM_CERT')]
    for flag, paths in (('--cert', certs),
                        ('--secondary', (d.getVar('IMASIGN_SECONDARY_CERTS') or '').split()),
                        ('--revoked', (d.getVar('IMASIGN_REVOKED_CERTS') or '').split())):
        for path in paths:
            if not os.path.isabs(path):
                bb.fatal('%s: give an absolute path, because tasks run in other directories' % path)
            flags += [flag, path]
    if imasign_evm(d):
        imasign_check_certificate(d, 'IMASIGN_EVM_CERT')
        flags += ['--evm-cert', d.getVar('IMASIGN_EVM_CERT')]
    if d.getVar('IMASIGN_KERNEL_VERSION'):
        flags += ['--kernel', d.getVar('IMASIGN_KERNEL_VERSION')]
    # bundle checks them by the kernel's rules, and gives them the names that the hook looks
    # for. If .ima or .evm refused a certificate, the device would not boot.
    bundle = os.path.join(d.getVar('B'), 'keys', 'bundle')
    imasign_run(d, ['initramfs', 'bundle', '--hook', 'initramfs-framework', '-o', bundle, *flags])
    for name in os.listdir(os.path.join(bundle, 'etc', 'keys')):
        os.rename(os.path.join(bundle, 'etc', 'keys', name), os.path.join(d.getVar('B'), 'keys', name))
    shutil.rmtree(bundle)
    shutil.copyfile(d.getVar('IMASIGN_SYSTEM_CERT'), os.path.join(d.getVar('B'), 'keys', 'system_trusted_key.crt'))
}
do_compile[vardeps] += "IMASIGN_KERNEL_VERSION"

do_install () {
    install -d ${D}${KEYS_DIR}
    install -m 0644 ${B}/keys/* ${D}${KEYS_DIR}/
}

python () {
    if not bb.utils.to_boolean(d.getVar('IMASIGN_SHIP_PRIVATE_KEY')):
        return
    path = imasign_key_file(d.getVar('IMASIGN_KEY') or '')
    if not path:
        bb.fatal('IMASIGN_SHIP_PRIVATE_KEY is set, but IMASIGN_KEY names no file: there is no key to ship')
    d.appendVar('do_install', '\n\tinstall -m 0400 %s ${D}${KEYS_DIR}/x509_ima.key\n' % path)
    d.appendVarFlag('do_install', 'file-checksums', ' %s:True' % path)
    d.appendVarFlag('do_install', 'postfuncs', ' imasign_warn_private_key')
    d.prependVar('PACKAGES', '${PN}-ima-privkey ')
    d.setVar('FILES:%s-ima-privkey' % d.getVar('PN'), '${KEYS_DIR}/x509_ima.key')
}

python imasign_warn_private_key () {
    bb.warn('IMASIGN_SHIP_PRIVATE_KEY is set: the private key is in imasign-key-store-ima-privkey and in sstate. Anyone with such a device, package or cache can sign for every device that trusts the key')
}

PACKAGES = "${PN}-ima-cert ${PN}-system-trusted-cert"
SUMMARY:${PN}-ima-cert = "Certificates for the .ima and .evm keyrings, secondary CAs and revoked ones"
FILES:${PN}-ima-cert = "${KEYS_DIR}/x509_*.der"
SUMMARY:${PN}-system-trusted-cert = "A copy of the certificate that is built into the kernel"
FILES:${PN}-system-trusted-cert = "${KEYS_DIR}/system_trusted_key.crt"
