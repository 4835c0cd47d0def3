# Fetches the signatures that other builds have exported, before any task signs:
#
#   INHERIT += "imasign-cache"
#   IMASIGN_CACHE_MIRRORS = "https://build.example.com/signatures"
#
# The tasks themselves have no network. BitBake's fetcher obeys BB_NO_NETWORK, PREMIRRORS and so on.
# docs/yocto.md lists all variables.

inherit imasign

# An event handler, not a task: tasks that sign would depend on it, and their hashes on what it
# fetched. BuildInit is fired once in a build, before the first task.
addhandler imasign_fetch_mirrors
imasign_fetch_mirrors[eventmask] = "bb.event.BuildInit"
python imasign_fetch_mirrors () {
    for mirror in (d.getVar('IMASIGN_CACHE_MIRRORS') or '').split():
        if imasign_is_remote(mirror) and d.getVar('IMASIGN_CACHE') != 'none':
            imasign_fetch_mirror(d, mirror)
}

def imasign_fetch_mirror(d, mirror):
    """Fetch the shards of a mirror that are not here yet.

    A failure is only a warning, because the key can make the signatures: what earlier builds
    fetched is used. The fetcher itself would log an error, which fails the build."""
    import logging, re, shutil, tempfile
    said, before = [], os.getcwd()
    def quiet(record):
        said.append(record.getMessage())
        return record.levelno < logging.WARNING
    fetcher, directory, work = logging.getLogger('BitBake.Fetcher'), imasign_shards(d, mirror), None
    shown = re.sub('//[^/]*@', '//', mirror)
    fetcher.addFilter(quiet)
    try:
        bb.utils.mkdirhier(directory)
        # The fetcher leaves further files there. What killed builds left is removed as well.
        imasign_forget_old(directory, lambda name: name.startswith('.fetch-'))
        work = tempfile.mkdtemp(prefix='.fetch-', dir=directory)
        imasign_fetch_shards(d, mirror, directory, work)
    except bb.fetch2.NetworkAccess:
        bb.note('IMASIGN_CACHE_MIRRORS: %s is not fetched, because BitBake must not use the network' % shown)
    except (bb.fetch2.BBFetchException, OSError, ValueError) as e:
        bb.warn('IMASIGN_CACHE_MIRRORS: no new signatures from %s: %s%s' % (shown, str(e).replace(mirror, shown), imasign_cause(said)))
    finally:
        fetcher.removeFilter(quiet)
        os.chdir(before) # the fetcher leaves it
        if work:
            shutil.rmtree(work, ignore_errors=True)

def imasign_cause(said):
    """Return why the fetcher failed. What it says in full may contain a password."""
    import re
    text = '\n'.join(said)
    # man wget, EXIT STATUS. A signal adds 128; 25 is SIGXFSZ.
    causes = {'3': 'it cannot be written', '4': 'there is no connection', '5': 'the TLS certificate is not accepted', '6': 'user and password are not accepted', '8': 'the server refuses it', '153': 'it is larger than 64 MiB'}
    code = re.search(r'failed with exit code (\d+)', text)
    if 'Checksum' in text:
        return ' Its content does not match the index.'
    if 'not trusted' in text:
        return ' BB_ALLOWED_NETWORKS does not name the server.'
    return ' wget: exit code %s%s.' % (code[1], ', ' + causes[code[1]] if code[1] in causes else '') if code else ''

def imasign_fetch_shards(d, mirror, directory, work):
    """Fetch the index of a mirror, then the shards that it lists, and publish them in directory
    as `imasign-build cache export` does: the index last."""
    index = imasign_fetch(d, mirror, 'ima-signatures.index', work)
    shards = imasign_index(index)
    missing = [name for name in shards if not os.path.exists(os.path.join(directory, name))]
    if missing:
        message = 'Fetching signatures'
        bb.event.fire(bb.event.ProcessStarted(message, len(missing)), d)
        try:
            for n, name in enumerate(missing):
                os.replace(imasign_fetch(d, mirror, name, work, shards[name]), os.path.join(directory, name))
                bb.event.fire(bb.event.ProcessProgress(message, n + 1), d)
        finally:
            bb.event.fire(bb.event.ProcessFinished(message), d)
    here = os.path.join(directory, 'ima-signatures.index')
    try:
        gone = set(imasign_index(here)) - set(shards)
    except (OSError, ValueError):
        gone = set()
    # Other builds may still use the old index: its shards stay for a day from now.
    for name in gone:
        if os.path.exists(os.path.join(directory, name)):
            os.utime(os.path.join(directory, name))
    os.replace(index, here)
    imasign_forget_old(directory, lambda name: name.endswith('.shard') and name not in shards)

def imasign_fetch(d, mirror, name, work, sha256=None):
    """Fetch a file of a mirror into the empty directory work, and return its path there. Without
    sha256 its content is not checked."""
    import shutil
    data = bb.data.createCopy(d)
    # Otherwise the fetcher would take the index of an earlier build for this one.
    data.setVar('DL_DIR', work)
    # MIRRORS are for source archives.
    data.delVar('MIRRORS')
    if not sha256:
        data.setVar('BB_STRICT_CHECKSUM', 'ignore')
    # No file is larger than 64 MiB. ulimit counts blocks of 512 bytes.
    data.setVar('FETCHCMD_wget', 'ulimit -c 0; ulimit -f 131072; ' + (d.getVar('FETCHCMD_wget') or '/usr/bin/env wget -t 2 -T 30'))
    base, *parameters = mirror.split(';')
    url = ';'.join([base.rstrip('/') + '/' + name, *parameters, *(['sha256sum=' + sha256] if sha256 else [])])
    fetcher = bb.fetch2.Fetch([url], data, cache=False)
    fetcher.download()
    # With PREMIRRORS, it may be a link to a file elsewhere.
    copy = os.path.join(work, name + '.copy')
    shutil.copyfile(fetcher.localpath(url), copy)
    return copy

def imasign_index(path):
    """Read an index that `imasign-build cache export` wrote. Return the SHA-256 digests of the
    shards by their names. An index in another format is a ValueError."""
    import re
    with open(path, encoding='ascii') as f:
        text = f.read(65537)
    head = re.match(r'imasign-signatures 1 (\d+)\n', text)
    shards = {m[1]: m[2] for m in re.finditer(r'^(ima-signatures-[0-9a-f]{2}-([0-9a-f]{64})\.shard) \d+ \d+\n', text, re.MULTILINE)}
    if not head or len(text) > 65536 or int(head[1]) != len(shards) or text.count('\n') != len(shards) + 1:
        raise ValueError('ima-signatures.index is not an index of signatures')
    return shards

def imasign_forget_old(directory, unwanted):
    """Remove files and directories that are older than a day and unwanted, going by the name."""
    import shutil, time
    for name in os.listdir(directory):
        path = os.path.join(directory, name)
        if unwanted(name) and os.path.getmtime(path) < time.time() - 24 * 3600:
            (shutil.rmtree if os.path.isdir(path) else os.unlink)(path)
