# Verifies the finished images of imasign-image, which inherits this class: what was signed
# must also be what was written into each image. docs/yocto.md has every variable.

# "1": each image that imasign-build can read is compared with the manifest; "require": any other
# image is an error; "0": the images are not read.
IMASIGN_VERIFY_IMAGE ?= "1"

# Image types that imasign-build reads.
IMASIGN_FSTYPES_VERIFIED ?= "erofs erofs-lz4 erofs-lz4hc ext2 ext3 ext4 squashfs squashfs-lz4 squashfs-xz squashfs-zst tar wic"

# Which partitions of a wic image have files of this image's root file system, as NUMBER:DIRECTORY,
# for instance "2:/ 3:/home". Empty: as the .wks file says.
IMASIGN_WIC_PARTITIONS ?= ""
# Further flags of `imasign-build image verify` for wic images, such as --exclude /etc/added.
IMASIGN_WIC_VERIFY_FLAGS ?= ""

def imasign_reads(d, name):
    """Return whether imasign-build can read an image file: ext4, wic.gz, …"""
    base = imasign_base_type(d, name)
    conversions = [c for c in name[len(base):].split('.') if c]
    return base in (d.getVar('IMASIGN_FSTYPES_VERIFIED') or '').split() and set(conversions) <= {'bz2', 'gz', 'xz', 'zst'}

def imasign_images(d, task):
    """Return the names of the images that a task leaves behind, in two lists: those that can be
    read, and those that cannot."""
    beside = ('bmap', 'gzsync', 'md5sum', 'sha1sum', 'sha224sum', 'sha256sum', 'sha384sum', 'sha512sum', 'zsync')
    names = sorted(n for n in (d.getVarFlag(task, 'subimages', False) or '').split() if n.rsplit('.', 1)[-1] not in beside)
    return [n for n in names if imasign_reads(d, n)], [n for n in names if not imasign_reads(d, n)]

def imasign_not_verified(d, what):
    """Say that something was not verified. With IMASIGN_VERIFY_IMAGE = "require" this is an error."""
    text = '%s: not verified after it was made: %s' % (d.getVar('PN'), what)
    if d.getVar('IMASIGN_VERIFY_IMAGE') == 'require':
        bb.fatal(text + '. IMASIGN_VERIFY_IMAGE is require (docs/yocto.md)')
    bb.note(text)

# An event, because only now all image tasks exist, and everything else that could change an image
# in its task.
addhandler imasign_verify_tasks
imasign_verify_tasks[eventmask] = "bb.event.RecipeTaskPreProcess"
python imasign_verify_tasks () {
    choice = d.getVar('IMASIGN_VERIFY_IMAGE')
    if not imasign_signs_image(d) or choice == '0':
        return
    if choice not in ('1', 'require'):
        bb.fatal('%s: IMASIGN_VERIFY_IMAGE is %s: set it to 1, require or 0' % (d.getVar('PN'), choice))
    for task in e.tasklist:
        fstype = d.getVarFlag(task, 'imagetype') or ''
        if not fstype or fstype.startswith('debugfs_') or fstype in (d.getVar('IMASIGN_FSTYPES_UNSIGNED') or '').split():
            continue
        d.appendVarFlag(task, 'postfuncs', ' imasign_verify_finished')
        readable, others = imasign_images(d, task)
        # Conversions were made from the image in the same task.
        if others and choice == 'require' and fstype not in readable:
            imasign_not_verified(d, 'images of type %s' % ', '.join(others))
}

python imasign_verify_finished () {
    readable, others = imasign_images(d, 'do_' + d.getVar('BB_CURRENTTASK'))
    for name in others:
        bb.note('%s: not verified after it was made: images of type %s' % (d.getVar('PN'), name))
    for name in readable:
        base = imasign_base_type(d, name)
        for flags in imasign_wic_flags(d) if base == 'wic' else [[]]:
            imasign_verify_file(d, 'tar' if base == 'tar' else 'image', os.path.join(d.getVar('IMGDEPLOYDIR'), d.getVar('IMAGE_NAME') + '.' + name), flags)
}
imasign_verify_finished[vardepsexclude] += "IMAGE_NAME"

def imasign_verify_file(d, kind, file, flags):
    """Compare an image with the manifest. kind is a command of imasign-build: image or tar."""
    advice = {'etc/fstab': 'wic writes this file unless WIC_CREATE_EXTRA_ARGS has --no-fstab-update. Keep this flag, and put the final fstab into base-files'}
    trust = ['--cert', d.getVar('IMASIGN_ROOTFS_CERT'), *imasign_versions(d), *imasign_evm_required(d), '--manifest', imasign_deployed(d, '.imasign.jsonl')]
    # Images are ordinary files. pseudo does not track them.
    bb.note(imasign_run(d, [kind, 'verify', *trust, *imasign_common_flags(d), *flags, file], unload=True, advice=advice))

def imasign_wic_flags(d):
    """Return the flags for a wic image, a list for each time that it is read."""
    extra = (d.getVar('IMASIGN_WIC_VERIFY_FLAGS') or '').split()
    if d.getVar('WIC_SECTOR_SIZE'):
        extra += ['--sector', d.getVar('WIC_SECTOR_SIZE')]
    try:
        runs = imasign_wic_runs(imasign_wic_partitions(d))
    except (OSError, ValueError) as e:
        text = 'the wic image, because its partitions are not known: %s. Set IMASIGN_WIC_PARTITIONS' % e
        bb.warn('%s: not verified after it was made: %s' % (d.getVar('PN'), text))
        imasign_not_verified(d, text)
        return []
    if not runs:
        imasign_not_verified(d, 'the wic image, because no partition that can be read has the root of the tree')
    return [flags + extra for flags in runs]

def imasign_wic_partitions(d):
    """Return the partitions that have files of this image: number, directory in the tree, and
    the paths that are left out there. With a slash at the end, only what is below is left out."""
    named = (d.getVar('IMASIGN_WIC_PARTITIONS') or '').split()
    if named:
        words = [word.partition(':') for word in named]
        return [(number, os.path.normpath(directory or '/'), []) for number, _, directory in words]
    # The content of the .wks file is in file-checksums.
    gpt, parts = imasign_wks(d, d.getVar('WKS_FULL_PATH'))
    found = []
    for number, part in zip(imasign_wks_numbers(gpt, parts), parts):
        directory, why = imasign_wks_directory(d, part)
        if directory and not number:
            why = 'it is in no partition table'
        if why:
            imasign_not_verified(d, 'the partition of %s: %s' % (part['where'], why))
        elif directory:
            left_out = [os.path.normpath(os.path.join(directory, path)) + ('/' if path.endswith('/') else '') for path in part['--exclude-path']]
            found.append((str(number), directory, left_out))
    return found
imasign_wic_partitions[vardepsexclude] += "WKS_FULL_PATH"

def imasign_wks(d, file):
    """Read a .wks file. Return whether the partition table is a GPT, and the options of each
    partition. What is not understood is a ValueError."""
    import re
    gpt, parts = False, []
    for where, command, words in imasign_wks_lines(d, file):
        if command == 'include' and words:
            path = bb.utils.which(d.getVar('WKS_SEARCH_PATH'), words[0])
            if not path:
                raise ValueError('%s: %s is not in WKS_SEARCH_PATH' % (where, words[0]))
            there = imasign_wks(d, path)
            gpt, parts = gpt or there[0], parts + there[1]
        elif command == 'bootloader':
            gpt = gpt or bool(re.search('--ptable[ =]gpt', ' '.join(words)))
        elif command == 'part':
            parts.append({**imasign_wks_options(where, words), 'where': where})
        else:
            raise ValueError('%s: %s is not known' % (where, command))
    return gpt, parts
imasign_wks[vardepsexclude] += "WKS_SEARCH_PATH"

def imasign_wks_lines(d, file):
    """Yield where each line of a .wks file is, its first word, and the others."""
    import re, shlex
    # Like wic, without Python expressions.
    expand = lambda line: re.sub(r'\$\{([^{}@\s:]+)\}', lambda m: d.getVar(m[1]) or m[0], line)
    with open(file) as f:
        for number, line in enumerate(f, 1):
            if line.strip() and not line.lstrip().startswith('#'):
                command, *words = shlex.split(expand(line))
                yield '%s:%d' % (file, number), command, words

def imasign_wks_options(where, words):
    """Return the options of a partition's line in a .wks file."""
    alone = ('--active', '--hidden', '--mbr', '--no-fstab-update', '--no-table', '--use-label', '--use-uuid')
    lists = ('--exclude-path', '--include-path')
    values = ('--align', '--change-directory', '--extra-filesystem-space', '--extra-partition-space', '--extra-space', '--fixed-size', '--fsoptions', '--fspassno', '--fstype', '--fsuuid', '--label', '--mkfs-extraopts', '--offset', '--ondisk', '--ondrive', '--overhead-factor', '--part-name', '--part-type', '--rootfs-dir', '--size', '--source', '--sourceparams', '--system-id', '--type', '--uuid')
    options, last = {name: [] for name in lists}, None
    for word in words:
        name, has_value, value = word.partition('=')
        if last in values:
            options[last], last = word, None
        elif not word.startswith('--'):
            if last in lists:
                options[last].append(word)
        elif name in alone:
            options[name], last = True, None
        elif name in values + lists:
            last = None if has_value else name
            if has_value:
                options[name] = [*options[name], value] if name in lists else value
        else:
            raise ValueError('%s: %s is not known' % (where, name))
    return options

def imasign_wks_numbers(gpt, parts):
    """Return the numbers that wic gives to partitions, None to those that are in no table. In an
    MBR, logical partitions are numbered from 5 (layout_partitions in wic's plugin direct)."""
    numbers, primary, logical = [], 0, 0
    real = sum('--no-table' not in part for part in parts)
    for part in parts:
        if '--no-table' in part:
            numbers.append(None)
        elif not gpt and (part.get('--type') == 'logical' or primary > 3 or primary == 3 and not logical and real > 4):
            # The first one comes with the extended partition.
            primary += not logical
            logical += 1
            numbers.append(logical + 4)
        else:
            primary += 1
            numbers.append(primary)
    return numbers

def imasign_wks_directory(d, part):
    """Return the directory of this image's tree that wic copies into a partition, None if it
    copies nothing of it, and why the partition cannot be verified."""
    source, name = part.get('--source'), part.get('--rootfs-dir')
    if source == 'rawcopy':
        # A finished image of this recipe, which has the whole tree.
        params = dict(p.partition('=')[::2] for p in part.get('--sourceparams', '').split(','))
        file = os.path.basename(params.get('file', ''))
        for image in (d.getVar('IMAGE_NAME'), d.getVar('IMAGE_LINK_NAME')):
            if image and file.startswith(image + '.'):
                base = imasign_base_type(d, file[len(image) + 1:])
                return '/', '' if imasign_reads(d, base) else '%s cannot be read' % base
    if source != 'rootfs':
        return None, ''
    root = os.path.realpath(d.getVar('IMAGE_ROOTFS'))
    start = os.path.realpath(name) if name and os.path.isabs(name) else root if name in (None, d.getVar('IMAGE_BASENAME')) else ''
    if start != root and not start.startswith(root + '/'):
        return None, '%s is not from this image' % name
    directory = os.path.normpath(os.path.join('/', os.path.relpath(start, root), part.get('--change-directory', '')))
    fstype = part.get('--fstype', 'vfat')
    return directory, '' if imasign_reads(d, fstype) else '%s cannot be read' % fstype
imasign_wks_directory[vardepsexclude] += "IMAGE_NAME IMAGE_LINK_NAME"

def imasign_wic_runs(partitions):
    """Return the flags of `image verify` for partitions (number, directory, left out).

    Two partitions with the same directory are two versions of one system. Each is read in a run
    of its own, together with the partitions below it."""
    by_directory = {}
    for partition in partitions:
        by_directory.setdefault(partition[1], []).append(partition)
    runs = []
    for n in range(max((len(same) for same in by_directory.values()), default=0)):
        run = [same[min(n, len(same) - 1)] for same in by_directory.values()]
        flags = [word for number, directory, _ in run for word in ('--partition', '%s:%s' % (number, directory))]
        below = lambda path, directory: (path.rstrip('/') + '/').startswith(directory.rstrip('/') + '/')
        for _, directory, left_out in run:
            for path in left_out:
                # Another partition may have them.
                if not any(other != directory and below(other, directory) and below(path, other) for _, other, _ in run):
                    flags += ['--exclude-path', path]
        runs.append(flags)
    return runs if '/' in by_directory else []
