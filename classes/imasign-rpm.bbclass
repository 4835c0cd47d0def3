# Adds file signatures to every RPM package before sstate stores it:
#
#   INHERIT += "imasign-rpm"
#
# rpm's IMA plugin sets them as security.ima when the device installs a package. OpenPGP
# signatures (sign_rpm) do not cover the signature header, so they stay valid, and the order of
# the two classes in INHERIT does not matter. docs/yocto.md has every variable.

inherit imasign

# Only packages for the device: machines that use an SDK do not appraise its files.
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
        bb.fatal('%s: RPM_SIGN_FILES or RPM_FSK_PATH is set, so rpmsign would sign files as well: unset both, because imasign-rpm replaces it' % d.getVar('PN'))
    imasign_check_key(d, 'IMASIGN_RPM')
    imasign_check_cache(d)
    imasign_version(d)
    imasign_network(d, 'do_package_write_rpm', 'IMASIGN_RPM')
    # sign_rpm runs inside the task, and sstate packs after the task's postfuncs.
    d.appendVarFlag('do_package_write_rpm', 'postfuncs', ' imasign_sign_rpms')
    d.appendVarFlag('do_package_write_rpm', 'depends', ' imasign-build-native:do_populate_sysroot')
    d.appendVarFlag('do_package_write_rpm', 'file-checksums', ' ' + imasign_checksums(d, 'IMASIGN_RPM_CERT'))
}

python imasign_sign_rpms () {
    import glob
    # pseudo is told to ignore packages, but tracks some of them nevertheless, and aborts when
    # another file gets the inode of one that was replaced without it. So the program runs in it.
    directory = d.getVar('PKGWRITEDIRRPM')
    if glob.glob(os.path.join(directory, '*', '*.rpm')):
        imasign_run(d, ['rpm', 'sign', *imasign_version(d), *imasign_common_flags(d), directory], key='IMASIGN_RPM')
        # A recipe may have only packages without files.
        imasign_run(d, ['rpm', 'verify', '--allow-empty', '--cert', d.getVar('IMASIGN_RPM_CERT'), *imasign_versions(d), *imasign_common_flags(d), directory])
}
imasign_sign_rpms[vardeps] += "IMASIGN_SIGNATURE IMASIGN_KEY_FOR"
