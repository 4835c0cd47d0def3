SUMMARY = "Certificates for the device's IMA keyring"
DESCRIPTION = "The certificates of IMASIGN_KEY and its like, under the names that the \
kernel and the initramfs look for. Public parts only."
LICENSE = "MIT"
LIC_FILES_CHKSUM = "file://${COMMON_LICENSE_DIR}/MIT;md5=0835ade698e0bcf8506ecda2f7b4f302"

inherit imasign

IMASIGN_ROOTFS_CERT ?= "${IMASIGN_CERT}"
IMASIGN_RPM_CERT ?= "${IMASIGN_CERT}"
# The kernel whose rules certificates have to pass; empty: the newest that the program knows.
IMASIGN_KERNEL_VERSION ?= ""

# "1" puts the private key itself on the device, for boards that sign their own files
# in development. It is then in the package, in sstate and in every image.
IMASIGN_SHIP_PRIVATE_KEY ?= "0"

INHIBIT_DEFAULT_DEPS = "1"
# Machines may have keys of their own.
PACKAGE_ARCH = "${MACHINE_ARCH}"

KEYS_DIR = "${sysconfdir}/keys"

do_configure[noexec] = "1"
do_compile[depends] += "imasign-build-native:do_populate_sysroot"
do_compile[cleandirs] = "${B}/keys"
do_compile[file-checksums] += "${@imasign_checksums(d, 'IMASIGN_ROOTFS_CERT', 'IMASIGN_RPM_CERT', 'IMASIGN_SYSTEM_CERT', 'IMASIGN_EXTRA_CERTS')}"

python do_compile () {
    def der(path):
        """Return the one certificate of a file, as the kernel reads it."""
        with open(path, 'rb') as f:
            content = f.read()
        if b'-----BEGIN' not in content:
            return content
        blocks = content.decode().split('-----BEGIN CERTIFICATE-----')[1:]
        if len(blocks) != 1:
            bb.fatal('%s has %d certificates: name each in a file of its own' % (path, len(blocks)))
        import base64
        return base64.b64decode(blocks[0].split('-----END')[0])

    imasign_check_certificate(d, 'IMASIGN_ROOTFS_CERT')
    imasign_check_certificate(d, 'IMASIGN_SYSTEM_CERT')
    system = d.getVar('IMASIGN_SYSTEM_CERT')
    # The kernel loads x509_ima.der by itself, the initramfs what else matches x509_ima*.der.
    names = {'x509_ima.der': d.getVar('IMASIGN_ROOTFS_CERT')}
    if d.getVar('IMASIGN_RPM_CERT') != d.getVar('IMASIGN_ROOTFS_CERT'):
        imasign_check_certificate(d, 'IMASIGN_RPM_CERT')
        names['x509_ima_rpm.der'] = d.getVar('IMASIGN_RPM_CERT')
    for path in (d.getVar('IMASIGN_EXTRA_CERTS') or '').split():
        imasign_check_certificate(d, 'IMASIGN_EXTRA_CERTS', path)
        names['x509_ima_%s.der' % os.path.splitext(os.path.basename(path))[0]] = path
    kernel = ['--kernel', d.getVar('IMASIGN_KERNEL_VERSION')] if d.getVar('IMASIGN_KERNEL_VERSION') else []
    for name, path in names.items():
        # Better now than on the device: a certificate that .ima refuses is a device that does not boot.
        imasign_run(d, ['key', 'check', '--ca', system, *kernel, path])
        with open(os.path.join(d.getVar('B'), 'keys', name), 'wb') as f:
            f.write(der(path))
    with open(system, 'rb') as f, open(os.path.join(d.getVar('B'), 'keys', 'system_trusted_key.crt'), 'wb') as g:
        g.write(f.read())
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
        bb.fatal('IMASIGN_SHIP_PRIVATE_KEY: IMASIGN_KEY names no file, so there is no key to ship')
    d.appendVar('do_install', '\n\tinstall -m 0400 %s ${D}${KEYS_DIR}/x509_ima.key\n' % path)
    d.appendVarFlag('do_install', 'file-checksums', ' %s:True' % path)
    d.appendVarFlag('do_install', 'postfuncs', ' imasign_warn_private_key')
    d.prependVar('PACKAGES', '${PN}-ima-privkey ')
    d.setVar('FILES:%s-ima-privkey' % d.getVar('PN'), '${KEYS_DIR}/x509_ima.key')
}

python imasign_warn_private_key () {
    bb.warn('IMASIGN_SHIP_PRIVATE_KEY is set: the private key is in imasign-key-store-ima-privkey and in sstate. Whoever has such a device, package or cache can sign for every device that trusts the key')
}

PACKAGES = "${PN}-ima-cert ${PN}-system-trusted-cert"
SUMMARY:${PN}-ima-cert = "Certificates for the .ima keyring"
FILES:${PN}-ima-cert = "${KEYS_DIR}/x509_ima*.der"
SUMMARY:${PN}-system-trusted-cert = "The certificate that the kernel has built in, to look at"
FILES:${PN}-system-trusted-cert = "${KEYS_DIR}/system_trusted_key.crt"
