# Configures a kernel for appraisal: adds recipes/linux/files/imasign.cfg (with IMASIGN_EVM also
# imasign-evm.cfg, from Linux 7.2 on also imasign-mldsa.cfg), and builds in the certificates of
# IMASIGN_SYSTEM_CERT.
#
#   KERNEL_CLASSES += "imasign-kernel"
#
# for any kernel that merges .cfg files of SRC_URI, as kernel-yocto.bbclass does. linux-yocto
# inherits this class if DISTRO_FEATURES contains ima.

inherit imasign

SRC_URI += "file://${IMASIGN_LAYERDIR}/recipes/linux/files/imasign.cfg"
SRC_URI += "${@'file://' + d.getVar('IMASIGN_LAYERDIR') + '/recipes/linux/files/imasign-evm.cfg' if imasign_evm(d) else ''}"
SRC_URI += "${@'file://' + d.getVar('IMASIGN_LAYERDIR') + '/recipes/linux/files/imasign-mldsa.cfg' if bb.utils.to_boolean(d.getVar('IMASIGN_KERNEL_MLDSA')) else ''}"

# "1": the kernel has ML-DSA, and gets it. Its version is in LINUX_VERSION (linux-yocto) or PV.
IMASIGN_KERNEL_MLDSA ?= "${@'1' if imasign_kernel_has_mldsa(d.getVar('LINUX_VERSION') or d.getVar('PV')) else '0'}"

def imasign_kernel_has_mldsa(version):
    """Return whether a kernel, such as 7.2.1 or 6.12.30+git, has CRYPTO_MLDSA."""
    import re
    numbers = re.match(r'(\d+)\.(\d+)', version or '')
    return bool(numbers) and (int(numbers[1]), int(numbers[2])) >= (7, 2)

do_configure[file-checksums] += "${@imasign_checksums(d, 'IMASIGN_SYSTEM_CERT')}"

python imasign_builtin_certificate () {
    import shutil
    imasign_check_certificate(d, 'IMASIGN_SYSTEM_CERT')
    with open(d.getVar('IMASIGN_SYSTEM_CERT'), 'rb') as f:
        if b'-----BEGIN CERTIFICATE-----' not in f.read():
            bb.fatal('IMASIGN_SYSTEM_CERT: %s is not PEM, but the kernel builds in only PEM: convert it with openssl x509' % d.getVar('IMASIGN_SYSTEM_CERT'))
    # CONFIG_SYSTEM_TRUSTED_KEYS is relative to the build directory.
    shutil.copy(d.getVar('IMASIGN_SYSTEM_CERT'), os.path.join(d.getVar('B'), 'system_trusted_key.crt'))
}
do_configure[postfuncs] += "imasign_builtin_certificate"
