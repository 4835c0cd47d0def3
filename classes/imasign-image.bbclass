# Signs the root file system of an image for IMA appraisal:
#
#   IMAGE_CLASSES += "imasign-image"
#
# or `inherit imasign-image` in the image's recipe. docs/yocto.md has every variable.

# imasign-verify: for the finished images. siteinfo: for IMASIGN_EVM_TARGET.
inherit imasign imasign-verify siteinfo

# An initramfs is not signed: cpio keeps no xattrs, and the kernel does not appraise files that
# it loaded itself.
IMASIGN_IMAGE ?= "${@'0' if imasign_is_initramfs(d) else '1'}"

IMASIGN_ROOTFS_KEY ?= "${IMASIGN_KEY}"
IMASIGN_ROOTFS_CERT ?= "${IMASIGN_CERT}"
IMASIGN_ROOTFS_KEY_PASS ?= "${IMASIGN_KEY_PASS}"
IMASIGN_ROOTFS_HASH ?= "${IMASIGN_HASH}"

# Which files are signed: all regular files or executable ones, limited by patterns like those
# of .gitignore (docs/rootfs.md).
IMASIGN_SELECT ?= "all"
IMASIGN_INCLUDE ?= ""
IMASIGN_EXCLUDE ?= ""
IMASIGN_HASHED ?= ""
# Files whose fs-verity digest is signed in place of the content's, in version 3.
IMASIGN_VERITY ?= ""

# The kernel that security.evm is for (IMASIGN_EVM): 64le, 32le, 64be or 32be. Set it if a 64-bit
# kernel runs 32-bit programs.
IMASIGN_EVM_TARGET ?= "${SITEINFO_BITS}${SITEINFO_ENDIANNESS}"
# What security.ima gets beside security.evm: signature or digest.
IMASIGN_IMA ?= "signature"

# "1": the build fails if the kernel would refuse a file under the policy of the initramfs.
# IMASIGN_SIMULATE_FLAGS are further flags of `imasign-build policy simulate`, such as --fs ext4.
IMASIGN_SIMULATE ?= "0"
IMASIGN_SIMULATE_FLAGS ?= ""

# Image types that keep security.ima and security.evm (tested), types that cannot, and those of the latter that
# are built unsigned. A type in none of the lists causes a warning.
IMASIGN_FSTYPES ?= "btrfs erofs erofs-lz4 erofs-lz4hc ext2 ext3 ext4 jffs2 squashfs squashfs-lz4 squashfs-lzo squashfs-xz squashfs-zst tar wic wicenv"
IMASIGN_FSTYPES_WITHOUT_XATTRS ?= "cpio cramfs f2fs hddimg iso vfat"
IMASIGN_FSTYPES_UNSIGNED ?= ""

# Room for the signatures of one file in the file system, in KiB. "auto": what the largest ones
# need in ext4. If they do not fit into the inode (256 bytes by default), they are in a block, and
# those that do not fit there are in inodes of their own.
IMASIGN_SPACE_PER_FILE ?= "auto"

# What mkfs needs for the signatures. set_image_size sets the two, because the size of the
# signatures is not known earlier.
EXTRA_IMAGECMD:append:ext2 = "${@imasign_mkfs(d, 'EXT')}"
EXTRA_IMAGECMD:append:ext3 = "${@imasign_mkfs(d, 'EXT')}"
EXTRA_IMAGECMD:append:ext4 = "${@imasign_mkfs(d, 'EXT')}"
EXTRA_IMAGECMD:append:btrfs = "${@imasign_mkfs(d, 'BTRFS')}"

# tar drops xattrs by default. The quotes are for the shell.
IMAGE_CMD_TAR:append = "${@" --xattrs --xattrs-include='security.*'" if imasign_signs_image(d) else ''}"
IMAGE_CMD_TAR:prepend = "${@'imasign_tar ' if imasign_signs_image(d) else ''}"
# So does mkfs.jffs2.
EXTRA_IMAGECMD:append:jffs2 = "${@' --with-xattr' if imasign_signs_image(d) else ''}"
# wic writes a new /etc/fstab, without its signature, into the finished file system.
WIC_CREATE_EXTRA_ARGS:append = "${@' --no-fstab-update' if imasign_signs_image(d) else ''}"

# GNU tar reads xattrs into a buffer of 1,024 bytes first. pseudo cuts off a value that is larger,
# returns its whole length, and tar stores whatever follows in memory.
imasign_tar () {
    imasign_large=${IMASIGN_LARGE_XATTRS}
    if [ "$imasign_large" = 0 ]; then
        "$@"
        return
    fi
    while [ $# -gt 0 ]; do
        case $1 in
        -cf) imasign_tar_file=$2 ;;
        -C) imasign_tar_tree=$2 ;;
        esac
        shift
    done
    # 1 means for the caller that a file has changed.
    imasign-build tar create --progress=none --compression none -o "$imasign_tar_file" "$imasign_tar_tree" || return 2
}

IMASIGN_MANIFEST = "${IMGDEPLOYDIR}/${IMAGE_NAME}.imasign.jsonl"
IMASIGN_REPORT = "${IMGDEPLOYDIR}/${IMAGE_NAME}.imasign.json"
# IMAGE_NAME contains the time of the build.
IMASIGN_MANIFEST[vardepvalue] = ""
IMASIGN_REPORT[vardepvalue] = ""
# With a key of a signing service; "" for none.
IMASIGN_RECEIPTS ?= "${IMGDEPLOYDIR}/${IMAGE_NAME}.imasign.receipts"
IMASIGN_RECEIPTS[vardepvalue] = ""

def imasign_deployed(d, suffix):
    """Return the path of the manifest or report that do_image wrote, None if there is none.

    IMAGE_NAME cannot tell: it contains the time of the build, and a later build may run only the
    tasks after do_image."""
    import glob
    for path in glob.glob(os.path.join(d.getVar('IMGDEPLOYDIR'), '*' + suffix)):
        if not os.path.islink(path):
            return path

def imasign_is_initramfs(d):
    types = set((d.getVar('IMAGE_FSTYPES') or '').split())
    return d.getVar('PN') == d.getVar('INITRAMFS_IMAGE') or (types and types <= set((d.getVar('INITRAMFS_FSTYPES') or '').split()))

def imasign_mkfs(d, kind):
    """Return a reference to the options that imasign_reserve_space sets."""
    return ' ${IMASIGN_MKFS_%s}' % kind if imasign_signs_image(d) else ''

def imasign_signs_image(d):
    return bb.utils.to_boolean(d.getVar('IMASIGN_IMAGE'))

def imasign_base_type(d, fstype):
    """Return a file system type without its conversions: ext4 for ext4.gz.bmap."""
    conversions = (d.getVar('CONVERSIONTYPES') or '').split()
    while '.' in fstype and fstype.rsplit('.', 1)[1] in conversions:
        fstype = fstype.rsplit('.', 1)[0]
    return fstype

def imasign_check_fstypes(d):
    """Stop if an image type cannot keep signatures."""
    words = lambda variable: (d.getVar(variable) or '').split()
    for fstype in sorted({imasign_base_type(d, t) for t in words('IMAGE_FSTYPES')}):
        if fstype in words('IMASIGN_FSTYPES_UNSIGNED') or fstype in words('IMASIGN_FSTYPES'):
            continue
        if fstype in words('IMASIGN_FSTYPES_WITHOUT_XATTRS'):
            bb.fatal('%s: an image of type %s keeps no xattrs, so no file in it would be signed. Remove the type from IMAGE_FSTYPES, or add it to IMASIGN_FSTYPES_UNSIGNED, or set IMASIGN_IMAGE:pn-%s = "0" if the image must not be signed' % (d.getVar('PN'), fstype, d.getVar('PN')))
        bb.warn('%s: imasign does not know whether an image of type %s keeps security.ima. Check an image, then add the type to IMASIGN_FSTYPES' % (d.getVar('PN'), fstype))

python () {
    if not imasign_signs_image(d):
        return
    imasign_check_key(d, 'IMASIGN_ROOTFS')
    imasign_check_cache(d)
    imasign_version(d)
    imasign_check_fstypes(d)
    # After every IMAGE_PREPROCESS_COMMAND, and still under pseudo.
    d.appendVarFlag('do_image', 'postfuncs', ' imasign_check_image imasign_sign_image')
    d.appendVarFlag('do_image', 'depends', ' imasign-build-native:do_populate_sysroot')
    d.appendVarFlag('do_image', 'file-checksums', ' ' + imasign_checksums(d, 'IMASIGN_ROOTFS_CERT'))
    imasign_check_evm(d)
    imasign_network(d, 'do_image', 'IMASIGN_ROOTFS', *(['IMASIGN_EVM'] if imasign_evm(d) else []))
    if imasign_evm(d):
        d.appendVarFlag('do_image', 'file-checksums', ' ' + imasign_checksums(d, 'IMASIGN_EVM_CERT'))
    if bb.utils.to_boolean(d.getVar('IMASIGN_SIMULATE')):
        d.appendVarFlag('do_image', 'postfuncs', ' imasign_simulate_image')
        d.appendVarFlag('do_image', 'file-checksums', ' %s:True %s' % (imasign_policy(d), imasign_checksums(d, 'IMASIGN_RPM_CERT', 'IMASIGN_EXTRA_CERTS')))
}

def imasign_check_evm(d):
    """Stop with a clear message if the variables about EVM cannot work."""
    imasign_one_of(d, 'IMASIGN_IMA', 'signature', 'digest')
    if imasign_evm(d):
        imasign_one_of(d, 'IMASIGN_EVM_TARGET', '64le', '32le', '64be', '32be')
        imasign_check_key(d, 'IMASIGN_EVM')
    elif d.getVar('IMASIGN_IMA') == 'digest':
        bb.fatal('%s: IMASIGN_IMA is digest, but without EVM nothing would be signed: set IMASIGN_EVM = "portable"' % d.getVar('PN'))

def imasign_policy(d):
    """Return the path of the policy that recipes/imasign-policy installs."""
    return d.getVar('IMASIGN_POLICY') or os.path.join(d.getVar('IMASIGN_LAYERDIR'), 'recipes/imasign-policy/files/ima_policy.default')
# The content of the policy is in file-checksums.
imasign_policy[vardepsexclude] += "IMASIGN_POLICY"

def imasign_patterns(d):
    """Return the flags that select files."""
    flags = []
    for flag in ('include', 'exclude', 'hashed', 'verity'):
        for pattern in (d.getVar('IMASIGN_' + flag.upper()) or '').split():
            flags += ['--' + flag, pattern]
    return flags

python imasign_check_image () {
    imasign_refuse_private_keys(d, d.getVar('IMAGE_ROOTFS'))
}

python imasign_sign_image () {
    import glob
    rootfs, manifest, report = (d.getVar(v) for v in ('IMAGE_ROOTFS', 'IMASIGN_MANIFEST', 'IMASIGN_REPORT'))
    for kind in ('json*', 'receipts'):
        for old in glob.glob(os.path.join(d.getVar('IMGDEPLOYDIR'), '*.imasign.' + kind)):
            os.unlink(old)
    choice = ['--hash', d.getVar('IMASIGN_ROOTFS_HASH'), '--select', d.getVar('IMASIGN_SELECT'), *imasign_patterns(d), *imasign_version(d)]
    if imasign_evm(d):
        choice += ['--evm', 'portable', '--evm-target', d.getVar('IMASIGN_EVM_TARGET'), '--ima', d.getVar('IMASIGN_IMA')]
    imasign_forget_other_choice(d, rootfs, choice)
    if imasign_evm(d):
        choice += ['--evm-key', d.getVar('IMASIGN_EVM_KEY'), '--evm-cert', d.getVar('IMASIGN_EVM_CERT')]
        if any(d.getVar('IMASIGN_EVM' + part) == d.getVar('IMASIGN_ROOTFS' + part) for part in ('_KEY', '_CERT')):
            bb.warn('%s: one key signs security.ima and security.evm. Where a kernel trusts it for both, a file with chosen content passes for the metadata of another file: make a key for EVM with `imasign-build key init --with evm`' % d.getVar('PN'))
    # --force: signatures by another key come from an earlier run of this task.
    out = imasign_run(d, ['rootfs', 'sign', '--json', '--force', '--manifest', manifest, *imasign_receipts(d), *imasign_common_flags(d), *choice, rootfs], key='IMASIGN_ROOTFS')
    with open(report, 'w') as f:
        f.write(out)
    imasign_verify_tree(d, rootfs, manifest)
    for path in (manifest, report, *imasign_receipts(d)[1:]):
        imasign_link(d, path)
}
imasign_sign_image[vardeps] += "IMASIGN_ROOTFS_HASH IMASIGN_SELECT IMASIGN_INCLUDE IMASIGN_EXCLUDE IMASIGN_HASHED IMASIGN_EVM IMASIGN_EVM_TARGET IMASIGN_IMA IMASIGN_SIGNATURE IMASIGN_KEY_FOR IMASIGN_VERITY"
imasign_check_image[vardeps] += "IMASIGN_ALLOW_PRIVATE_KEYS"

def imasign_receipts(d):
    """Return the flags that keep the receipts of a signing service, none without one."""
    path = d.getVar('IMASIGN_RECEIPTS')
    keys = [d.getVar('IMASIGN_ROOTFS_KEY'), d.getVar('IMASIGN_EVM_KEY') if imasign_evm(d) else None]
    remote = any((key or '').lower().startswith('https:') for key in keys)
    return ['--receipts', path] if path and remote else []
# Keys are in no hash.
imasign_receipts[vardepsexclude] += "IMASIGN_RECEIPTS IMASIGN_ROOTFS_KEY IMASIGN_EVM_KEY"

def imasign_forget_other_choice(d, rootfs, choice):
    """Remove the signatures of an earlier run that selected other files.

    do_image may run again on a root file system that it has signed before. Otherwise the
    image would depend on earlier builds."""
    import json
    state = os.path.join(d.getVar('WORKDIR'), 'imasign-choice.json')
    if os.path.exists(state):
        with open(state) as f:
            if json.load(f) != choice:
                imasign_run(d, ['rootfs', 'strip', rootfs])
    with open(state, 'w') as f:
        json.dump(choice, f)

def imasign_evm_trust(d):
    """Return the flags of a command that checks security.evm."""
    return ['--evm-cert', d.getVar('IMASIGN_EVM_CERT'), '--evm-target', d.getVar('IMASIGN_EVM_TARGET')] if imasign_evm(d) else []

def imasign_evm_required(d):
    """Return the flags of a command that checks security.evm of every file."""
    # imasign_sign_image warns of one key for both.
    one_key = d.getVar('IMASIGN_EVM_CERT') == d.getVar('IMASIGN_ROOTFS_CERT')
    return [*imasign_evm_trust(d), '--require-evm', *(['--key-for', 'any'] if one_key else [])] if imasign_evm(d) else []

def imasign_verify_tree(d, rootfs, manifest):
    """Read everything back as the image types will read it, and compare it with the manifest."""
    imasign_run(d, ['rootfs', 'verify', '--cert', d.getVar('IMASIGN_ROOTFS_CERT'), *imasign_versions(d), *imasign_evm_required(d), '--manifest', manifest, *imasign_common_flags(d), rootfs])

python imasign_simulate_image () {
    # The certificates that recipes/imasign-key-store gives to the initramfs.
    paths = (d.getVar(v) or '' for v in ('IMASIGN_ROOTFS_CERT', 'IMASIGN_RPM_CERT', 'IMASIGN_EXTRA_CERTS'))
    certificates = list(dict.fromkeys(path for words in paths for path in words.split()))
    flags = [word for path in certificates for word in ('--cert', path)] + (d.getVar('IMASIGN_SIMULATE_FLAGS') or '').split()
    if d.getVar('IMASIGN_KERNEL_VERSION'):
        flags += ['--kernel', d.getVar('IMASIGN_KERNEL_VERSION')]
    flags += imasign_evm_trust(d)
    bb.note(imasign_run(d, ['policy', 'simulate', imasign_policy(d), '--rootfs', d.getVar('IMAGE_ROOTFS'), *flags, *imasign_common_flags(d)]))
}
imasign_simulate_image[vardeps] += "IMASIGN_SIMULATE_FLAGS IMASIGN_KERNEL_VERSION IMASIGN_EVM IMASIGN_EVM_TARGET"

def imasign_link(d, path):
    """Link a deployed file to a name without a version, as images have one."""
    name, link = d.getVar('IMAGE_NAME'), d.getVar('IMAGE_LINK_NAME')
    if not link or link == name:
        return
    target = os.path.join(os.path.dirname(path), link + os.path.basename(path)[len(name):])
    if os.path.islink(target):
        os.unlink(target)
    os.symlink(os.path.basename(path), target)
imasign_link[vardepsexclude] += "IMAGE_NAME IMAGE_LINK_NAME"

# Every task that computes the size of the file system runs set_image_size.
python set_image_size:prepend () {
        imasign_reserve_space(d)
}

def imasign_reserve_space(d):
    import json
    report, manifest = (imasign_deployed(d, suffix) for suffix in ('.imasign.json', '.imasign.jsonl'))
    if not imasign_signs_image(d) or not report or not manifest:
        needs = {'kib': 0, 'ext': '', 'btrfs': '', 'large': 0}
        files = 0
    else:
        needs = imasign_needs(manifest, ' '.join(d.getVar('EXTRA_IMAGECMD:' + t) or '' for t in ('ext2', 'ext3', 'ext4')))
        with open(report) as f:
            done = json.load(f)
        files = done.get('signed', 0) + done.get('hashed', 0) + done.get('unchanged', 0)
    for variable, need in (('IMASIGN_MKFS_EXT', 'ext'), ('IMASIGN_MKFS_BTRFS', 'btrfs'), ('IMASIGN_LARGE_XATTRS', 'large')):
        d.setVar(variable, str(needs[need]))
    each = d.getVar('IMASIGN_SPACE_PER_FILE') or '0'
    each = needs['kib'] if each == 'auto' else int(each)
    if files and each:
        d.appendVar('IMAGE_ROOTFS_EXTRA_SPACE', ' + %d' % (files * each))

def imasign_needs(manifest, given):
    """Return what the values in a manifest need: KiB for each file, options of mkfs.ext4 and
    mkfs.btrfs, and whether GNU tar cannot read them. given are the options that mkfs.ext4 has already. docs/image.md has the sizes."""
    import json
    most, total = [], 0
    with open(manifest) as f:
        for line in f:
            values = [len(value) // 2 for value in json.loads(line).get('xattrs', {}).values()]
            # An entry has 16 bytes, a name of three, and the value, rounded up.
            if sum(20 + (n + 3) // 4 * 4 for n in values) > total:
                most, total = values, sum(20 + (n + 3) // 4 * 4 for n in values)
    # 988 and 4,060 bytes are in a block. A label may need room, too.
    large, huge = total > 900, total > 3960
    ext = (['-b 4096'] if large and '-b ' not in given else []) + (['-O ea_inode'] if huge and 'ea_inode' not in given else [])
    kib = 4 * sum((n + 4095) // 4096 for n in most) if huge else 4
    return {'kib': kib, 'ext': ' '.join(ext), 'btrfs': '-n 16384' if max(most, default=0) > 3900 else '', 'large': int(max(most, default=0) > 1000)}
