SUMMARY = "initramfs-framework module that loads IMA certificates and the IMA policy"
LICENSE = "MIT"
LIC_FILES_CHKSUM = "file://${COMMON_LICENSE_DIR}/MIT;md5=0835ade698e0bcf8506ecda2f7b4f302"

PACKAGE_ARCH = "${MACHINE_ARCH}"

# The result is that of `imasign-build initramfs bundle --hook initramfs-framework`, from the
# same files.
FILESEXTRAPATHS:prepend := "${IMASIGN_LAYERDIR}/cmd/imasign-build/internal/initramfs/hooks:"
SRC_URI = "file://body.sh file://framework.sh"
S = "${@d.getVar('UNPACKDIR') or d.getVar('WORKDIR')}"
INHIBIT_DEFAULT_DEPS = "1"

# After 91-overlayroot, before 99-finish. The name of a module must not contain a dash.
IMASIGN_MODULE_NUMBER ?= "95"
# "1" lets ima_appraise=off on the kernel's command line skip the policy.
IMASIGN_ALLOW_OFF ?= "0"
# "1" makes EVM demand version 3 signatures, where the initramfs has x509_evm.der.
IMASIGN_EVM_V3 ?= "${@'1' if d.getVar('IMASIGN_SIGNATURE') == 'v3' else '0'}"

do_configure[noexec] = "1"
do_compile[noexec] = "1"

do_install () {
    install -d ${D}/init.d
    cat ${S}/body.sh ${S}/framework.sh | sed -e 's,@SWITCH_ROOT@,${base_sbindir}/switch_root.static,' \
        -e 's,@ALLOW_OFF@,${@'yes' if bb.utils.to_boolean(d.getVar('IMASIGN_ALLOW_OFF')) else 'no'},' \
        -e 's,@EVM_V3@,${@'yes' if bb.utils.to_boolean(d.getVar('IMASIGN_EVM_V3')) else 'no'},' > ${D}/init.d/${IMASIGN_MODULE_NUMBER}-imasign
    chmod 0755 ${D}/init.d/${IMASIGN_MODULE_NUMBER}-imasign
}

python () {
    number = d.getVar('IMASIGN_MODULE_NUMBER')
    if number not in map(str, range(92, 99)):
        bb.fatal('IMASIGN_MODULE_NUMBER is %s: set it to 92 to 98, after the modules that mount the root file system and before 99-finish' % number)
}

FILES:${PN} = "/init.d"
RDEPENDS:${PN} = "initramfs-framework-base imasign-key-store-ima-cert imasign-policy"
# In meta-oe; needed for all certificates except the first.
RRECOMMENDS:${PN} = "${@bb.utils.contains('BBFILE_COLLECTIONS', 'openembedded-layer', 'keyutils', '', d)}"
