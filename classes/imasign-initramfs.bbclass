# For the recipe of an initramfs image that uses initramfs-framework: adds the module that loads
# the IMA certificates and the policy, and checks the result.
#
#   inherit core-image imasign-initramfs

inherit imasign

# Files in an initramfs cannot be signed.
IMASIGN_IMAGE = "0"

PACKAGE_INSTALL:append = " packagegroup-imasign-initramfs"

python imasign_check_initramfs () {
    import glob
    root = d.getVar('IMAGE_ROOTFS')
    imasign_refuse_private_keys(d, root)
    for path in ['etc/keys/x509_ima.der', 'etc/ima/ima_policy.default'] + (['etc/keys/x509_evm.der'] if imasign_evm(d) else []):
        if not os.path.exists(os.path.join(root, path)):
            bb.fatal('%s: the initramfs has no /%s' % (d.getVar('PN'), path))
    modules = [os.path.basename(p) for p in sorted(glob.glob(os.path.join(root, 'init.d', '*')))]
    ours = [m for m in modules if m.endswith('-imasign')]
    if len(ours) != 1:
        bb.fatal('%s: the initramfs has %d modules named imasign in /init.d, not one' % (d.getVar('PN'), len(ours)))
    late = [m for m in modules if m > ours[0] and m != '99-finish']
    if late:
        bb.fatal('%s: /init.d/%s would never run, because /init.d/%s loads the policy and switches to the root file system: give it a lower number' % (d.getVar('PN'), late[0], ours[0]))
}
do_image[postfuncs] += "imasign_check_initramfs"
do_image[depends] += "imasign-build-native:do_populate_sysroot"
do_image[vardeps] += "IMASIGN_ALLOW_PRIVATE_KEYS"
