# Puts file signatures into every RPM, before sstate stores it:
#
#   INHERIT += "imasign-rpm"
#
# rpm's IMA plugin sets them as security.ima when a package is installed on the device.
# OpenPGP signatures (sign_rpm) stay valid and may be used beside it, in any order of
# INHERIT: they do not cover the signature header. docs/yocto.md has every variable.

inherit imasign

# Packages for the device only: an SDK runs on machines that appraise nothing of ours.
IMASIGN_RPM ?= "${@'1' if d.getVar('CLASSOVERRIDE') == 'class-target' else '0'}"

IMASIGN_RPM_KEY ?= "${IMASIGN_KEY}"
IMASIGN_RPM_CERT ?= "${IMASIGN_CERT}"
IMASIGN_RPM_KEY_PASS ?= "${IMASIGN_KEY_PASS}"

# Recipes (PN) whose packages stay unsigned, for instance kernel-devsrc.
IMASIGN_RPM_EXCLUDE ?= ""

def imasign_signs_rpm(d):
    return bb.utils.to_boolean(d.getVar('IMASIGN_RPM')) \
        and d.getVar('PN') not in (d.getVar('IMASIGN_RPM_EXCLUDE') or '').split() \
        and bb.data.inherits_class('package_rpm', d) \
        and not bb.data.inherits_class('nopackages', d) \
        and not bb.data.inherits_class('image', d)

python () {
    if not imasign_signs_rpm(d):
        return
    if bb.utils.to_boolean(d.getVar('RPM_SIGN_FILES')) or d.getVar('RPM_FSK_PATH'):
        bb.fatal('%s: RPM_SIGN_FILES or RPM_FSK_PATH is set, so rpmsign would sign files as well: imasign-rpm replaces it, unset both' % d.getVar('PN'))
    imasign_check_key(d, 'IMASIGN_RPM')
    # sign_rpm runs inside the task, sstate packs after its postfuncs.
    d.appendVarFlag('do_package_write_rpm', 'postfuncs', ' imasign_sign_rpms')
    d.appendVarFlag('do_package_write_rpm', 'depends', ' imasign-build-native:do_populate_sysroot')
    d.appendVarFlag('do_package_write_rpm', 'file-checksums', ' ' + imasign_checksums(d, 'IMASIGN_RPM_CERT'))
}

python imasign_sign_rpms () {
    import glob
    # pseudo does not track what is to be deployed, so the tool runs without it.
    directory = d.getVar('PKGWRITEDIRRPM')
    if glob.glob(os.path.join(directory, '*', '*.rpm')):
        imasign_run(d, ['rpm', 'sign', *imasign_common_flags(d), directory], key='IMASIGN_RPM', unload=True)
        # A recipe may have nothing but packages without files.
        imasign_run(d, ['rpm', 'verify', '--allow-empty', '--cert', d.getVar('IMASIGN_RPM_CERT'), *imasign_common_flags(d), directory], unload=True)
}
