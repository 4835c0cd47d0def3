# Signs the root file system of an image for IMA appraisal:
#
#   IMAGE_CLASSES += "imasign-image"
#
# or `inherit imasign-image` in the image's recipe. docs/yocto.md has every variable.

# siteinfo: for IMASIGN_EVM_TARGET.
inherit imasign siteinfo

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

# Room for the signatures of one file in the file system, in KiB. If they do not fit into the
# inode (256 bytes by default), ext4 stores them in a block. security.ima and security.evm share it.
IMASIGN_SPACE_PER_FILE ?= "4"

# tar drops xattrs by default. The quotes are for the shell.
IMAGE_CMD_TAR:append = "${@" --xattrs --xattrs-include='security.*'" if imasign_signs_image(d) else ''}"
# So does mkfs.jffs2.
EXTRA_IMAGECMD:append:jffs2 = "${@' --with-xattr' if imasign_signs_image(d) else ''}"
# wic writes a new /etc/fstab, without its signature, into the finished file system.
WIC_CREATE_EXTRA_ARGS:append = "${@' --no-fstab-update' if imasign_signs_image(d) else ''}"

IMASIGN_MANIFEST = "${IMGDEPLOYDIR}/${IMAGE_NAME}.imasign.jsonl"
IMASIGN_REPORT = "${IMGDEPLOYDIR}/${IMAGE_NAME}.imasign.json"
# IMAGE_NAME contains the time of the build.
IMASIGN_MANIFEST[vardepvalue] = ""
IMASIGN_REPORT[vardepvalue] = ""

def imasign_is_initramfs(d):
    types = set((d.getVar('IMAGE_FSTYPES') or '').split())
    return d.getVar('PN') == d.getVar('INITRAMFS_IMAGE') or (types and types <= set((d.getVar('INITRAMFS_FSTYPES') or '').split()))

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
    imasign_check_fstypes(d)
    # After every IMAGE_PREPROCESS_COMMAND, and still under pseudo.
    d.appendVarFlag('do_image', 'postfuncs', ' imasign_check_image imasign_sign_image')
    d.appendVarFlag('do_image', 'depends', ' imasign-build-native:do_populate_sysroot')
    d.appendVarFlag('do_image', 'file-checksums', ' ' + imasign_checksums(d, 'IMASIGN_ROOTFS_CERT'))
    imasign_check_evm(d)
    if imasign_evm(d):
        d.appendVarFlag('do_image', 'file-checksums', ' ' + imasign_checksums(d, 'IMASIGN_EVM_CERT'))
    if bb.utils.to_boolean(d.getVar('IMASIGN_SIMULATE')):
        d.appendVarFlag('do_image', 'postfuncs', ' imasign_simulate_image')
        d.appendVarFlag('do_image', 'file-checksums', ' %s:True %s' % (imasign_policy(d), imasign_checksums(d, 'IMASIGN_RPM_CERT', 'IMASIGN_EXTRA_CERTS')))
}

def imasign_check_evm(d):
    """Stop with a clear message if the variables about EVM cannot work."""
    def one_of(variable, *values):
        if d.getVar(variable) not in values:
            bb.fatal('%s: %s is %s: set it to %s or %s' % (d.getVar('PN'), variable, d.getVar(variable), ', '.join(values[:-1]), values[-1]))
    one_of('IMASIGN_IMA', 'signature', 'digest')
    if imasign_evm(d):
        one_of('IMASIGN_EVM_TARGET', '64le', '32le', '64be', '32be')
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
    for flag in ('include', 'exclude', 'hashed'):
        for pattern in (d.getVar('IMASIGN_' + flag.upper()) or '').split():
            flags += ['--' + flag, pattern]
    return flags

python imasign_check_image () {
    imasign_refuse_private_keys(d, d.getVar('IMAGE_ROOTFS'))
}

python imasign_sign_image () {
    import glob
    rootfs, manifest, report = (d.getVar(v) for v in ('IMAGE_ROOTFS', 'IMASIGN_MANIFEST', 'IMASIGN_REPORT'))
    for old in glob.glob(os.path.join(d.getVar('IMGDEPLOYDIR'), '*.imasign.json*')):
        os.unlink(old)
    choice = ['--hash', d.getVar('IMASIGN_ROOTFS_HASH'), '--select', d.getVar('IMASIGN_SELECT'), *imasign_patterns(d)]
    if imasign_evm(d):
        choice += ['--evm', 'portable', '--evm-target', d.getVar('IMASIGN_EVM_TARGET'), '--ima', d.getVar('IMASIGN_IMA')]
    imasign_forget_other_choice(d, rootfs, choice)
    if imasign_evm(d):
        choice += ['--evm-key', d.getVar('IMASIGN_EVM_KEY'), '--evm-cert', d.getVar('IMASIGN_EVM_CERT')]
        if any(d.getVar('IMASIGN_EVM' + part) == d.getVar('IMASIGN_ROOTFS' + part) for part in ('_KEY', '_CERT')):
            bb.warn('%s: one key signs security.ima and security.evm. Where a kernel trusts it for both, a file with chosen content passes for the metadata of another file: make a key for EVM with `imasign-build key init --with evm`' % d.getVar('PN'))
    # --force: signatures by another key come from an earlier run of this task.
    out = imasign_run(d, ['rootfs', 'sign', '--json', '--force', '--manifest', manifest, *imasign_common_flags(d), *choice, rootfs], key='IMASIGN_ROOTFS')
    with open(report, 'w') as f:
        f.write(out)
    imasign_verify_image(d, rootfs, manifest)
    for path in (manifest, report):
        imasign_link(d, path)
}
imasign_sign_image[vardeps] += "IMASIGN_ROOTFS_HASH IMASIGN_SELECT IMASIGN_INCLUDE IMASIGN_EXCLUDE IMASIGN_HASHED IMASIGN_EVM IMASIGN_EVM_TARGET IMASIGN_IMA"
imasign_check_image[vardeps] += "IMASIGN_ALLOW_PRIVATE_KEYS"

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

def imasign_verify_image(d, rootfs, manifest):
    """Read everything back as the image types will read it, and compare it with the manifest."""
    evm = [*imasign_evm_trust(d), '--require-evm'] if imasign_evm(d) else []
    imasign_run(d, ['rootfs', 'verify', '--cert', d.getVar('IMASIGN_ROOTFS_CERT'), *evm, '--manifest', manifest, *imasign_common_flags(d), rootfs])

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
    each = int(d.getVar('IMASIGN_SPACE_PER_FILE') or 0)
    report = d.getVar('IMASIGN_REPORT')
    if not each or not imasign_signs_image(d) or not os.path.exists(report):
        return
    with open(report) as f:
        done = json.load(f)
    files = done.get('signed', 0) + done.get('hashed', 0) + done.get('unchanged', 0)
    d.appendVar('IMAGE_ROOTFS_EXTRA_SPACE', ' + %d' % (files * each))

do_image_wic[postfuncs] += "imasign_check_wic"

python imasign_check_wic () {
    if not imasign_signs_image(d):
        return
    value = imasign_manifest_value(d.getVar('IMASIGN_MANIFEST'), 'etc/fstab')
    if value is None:
        return
    image = os.path.join(d.getVar('IMGDEPLOYDIR'), d.getVar('IMAGE_NAME') + '.wic')
    for offset in imasign_ext_partitions(image, int(d.getVar('WIC_SECTOR_SIZE') or 512)):
        found = imasign_ext_fstab(image, offset)
        if found is not None and found != value:
            bb.fatal('%s: /etc/fstab in the partition at byte %d was written after signing, so the kernel would refuse it. Keep --no-fstab-update in WIC_CREATE_EXTRA_ARGS, and put the final fstab into base-files' % (image, offset))
}
imasign_check_wic[vardepsexclude] += "IMAGE_NAME"

def imasign_manifest_value(manifest, path):
    """Return the security.ima of a path in a manifest, None if it has none."""
    import json
    with open(manifest) as f:
        for line in f:
            entry = json.loads(line)
            if entry.get('path') == path:
                value = entry.get('xattrs', {}).get('security.ima')
                return bytes.fromhex(value) if value else None
    return None

def imasign_ext_partitions(image, sector):
    """Yield the byte offsets of the ext2, ext3 and ext4 partitions of a disk image.

    The table is an MBR or a GPT, as wic writes them. sector is the size in bytes that its
    numbers count in. A file system is recognised by its magic number, 0xEF53 at byte 1080."""
    with open(image, 'rb') as f:
        def at(offset, size):
            f.seek(offset)
            return f.read(size)
        number = lambda b: int.from_bytes(b, 'little')
        entries = [at(446 + 16 * i, 16) for i in range(4)]
        if any(e[4:5] == b'\xee' for e in entries):
            header = at(sector, 92)
            if header[:8] != b'EFI PART':
                bb.fatal('%s: a protective MBR without a GPT: check WIC_SECTOR_SIZE' % image)
            first, count, size = number(header[72:80]), number(header[80:84]), number(header[84:88])
            starts = [number(at(first * sector + i * size, 48)[32:40]) for i in range(min(count, 128))]
        else:
            starts = [number(e[8:12]) for e in entries]
            # Logical partitions: a chain of tables inside the extended partition.
            for extended in [number(e[8:12]) for e in entries if e[4:5] in (b'\x05', b'\x0f', b'\x85')]:
                table = extended
                while table:
                    logical, following = at(table * sector + 446, 16), at(table * sector + 462, 16)
                    starts.append(table + number(logical[8:12]))
                    table = extended + number(following[8:12]) if number(following[8:12]) else 0
        for start in starts:
            if start and at(start * sector + 1080, 2) == b'\x53\xef':
                yield start * sector

def imasign_ext_fstab(image, offset):
    """Return the security.ima of /etc/fstab in an ext file system: b'' if it has none, None if there is no such file."""
    import subprocess, tempfile
    where = '%s?offset=%d' % (image, offset)
    def debugfs(request):
        return subprocess.run(['debugfs', '-R', request, where], capture_output=True, text=True, check=True)
    if 'File not found' in debugfs('stat /etc/fstab').stderr:
        return None
    with tempfile.NamedTemporaryFile() as out:
        debugfs('ea_get -f %s /etc/fstab security.ima' % out.name)
        return out.read()
