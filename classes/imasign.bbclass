# The common part of imasign-image, imasign-rpm and imasign-initramfs: the signing key, and
# running imasign-build. This class itself signs nothing. docs/yocto.md has every variable.

# A directory made by `imasign-build key init`. With it, nothing else needs to be set.
IMASIGN_KEYS_DIR ?= ""

# The signing key: an absolute path, or the URI of a key in a token, a TPM or a signing service.
IMASIGN_KEY ?= "${@imasign_in_keys_dir(d, 'x509_ima.key')}"
# The certificate of the key, PEM or DER: an absolute path.
IMASIGN_CERT ?= "${@imasign_in_keys_dir(d, 'x509_ima.crt')}"
# The file that holds the key's passphrase, file:/path or cred:name; never the passphrase.
IMASIGN_KEY_PASS ?= ""
# Names of variables that the module of a hardware key reads from its environment, such as
# SOFTHSM2_CONF. BitBake cleans the environment of tasks, so set the variables in the
# configuration. They are in no task's hash.
IMASIGN_KEY_ENV ?= ""
# The certificates in the kernel's builtin keyring, PEM: the issuers of IMASIGN_CERT.
IMASIGN_SYSTEM_CERT ?= "${@imasign_in_keys_dir(d, 'system_trusted_key.crt')}"
# Further certificates for the device's .ima keyring, absolute paths.
IMASIGN_EXTRA_CERTS ?= ""
# Certificates and policies are checked by the rules of this kernel; empty: the newest that the
# program knows.
IMASIGN_KERNEL_VERSION ?= ""
# CAs for the device's .secondary_trusted_keys keyring, which may have issued the certificates
# for .ima.
IMASIGN_SECONDARY_CERTS ?= ""
# Certificates for the device's .ima_blacklist keyring: signatures by their keys are no longer
# valid.
IMASIGN_REVOKED_CERTS ?= ""

# "portable": images also get EVM signatures over owner, mode and labels, in security.evm; the
# kernel gets EVM, and the initramfs the certificate.
IMASIGN_EVM ?= ""
# The key of these signatures, and its certificate. IMASIGN_ROOTFS_KEY_PASS also opens this key.
IMASIGN_EVM_KEY ?= "${@imasign_in_keys_dir(d, 'x509_evm.key')}"
IMASIGN_EVM_CERT ?= "${@imasign_in_keys_dir(d, 'x509_evm.crt')}"

# Digest algorithm of signatures on files.
IMASIGN_HASH ?= "sha256"
# Version of the signatures: v2, or v3 for Linux 7.1 and later. Empty: what the key is for,
# otherwise v2.
IMASIGN_SIGNATURE ?= ""
# "v3": what the keys are for whose certificates do not say it.
IMASIGN_KEY_FOR ?= ""
# Number of files to process at a time; empty: one per core.
IMASIGN_JOBS ?= ""

# Signatures of earlier builds (docs/yocto.md). "auto": a cache for keys in tokens, TPMs and
# signing services; "always": for key files, too; "none": no cache.
IMASIGN_CACHE ?= "auto"
# The directory of the cache. Not on NFS.
IMASIGN_CACHE_DIR ?= "${PERSISTENT_DIR}/imasign-cache"
# Exported caches (`imasign-build cache export`): URLs, which need INHERIT += "imasign-cache", and
# directories.
IMASIGN_CACHE_MIRRORS ?= ""
# Where imasign-cache keeps what it fetched from the URLs.
IMASIGN_CACHE_SHARD_DIR ?= "${SSTATE_DIR}/imasign-cache"
# Manifests of earlier images, or directories with them: absolute paths.
IMASIGN_FROM_MANIFEST ?= ""
# "1": tasks that sign may use the network, for PKCS#11 modules that talk to an HSM over it. Keys
# of a signing service need no such setting.
IMASIGN_NETWORK ?= "0"

# Files of a root file system or initramfs that may contain a private key, each as PATH=SHA256
# (`imasign-build rootfs scan` prints both). They may never contain the signing key.
IMASIGN_ALLOW_PRIVATE_KEYS ?= ""

def imasign_in_keys_dir(d, name):
    directory = d.getVar('IMASIGN_KEYS_DIR')
    return os.path.join(directory, name) if directory else ''

def imasign_evm(d):
    """Return whether IMASIGN_EVM demands EVM signatures."""
    kind = d.getVar('IMASIGN_EVM') or ''
    if kind not in ('', 'portable'):
        bb.fatal('%s: IMASIGN_EVM is %s: set it to portable, or leave it empty' % (d.getVar('PN'), kind))
    return kind == 'portable'

def imasign_one_of(d, variable, *values):
    """Stop unless the variable has one of the values."""
    value = d.getVar(variable) or ''
    if value not in values:
        words = [v or 'nothing' for v in values]
        bb.fatal('%s: %s is %s: set it to %s or %s' % (d.getVar('PN'), variable, value, ', '.join(words[:-1]), words[-1]))

def imasign_purpose(d):
    """Return the flag that says what a key is for."""
    imasign_one_of(d, 'IMASIGN_KEY_FOR', '', 'v3')
    return ['--key-for', d.getVar('IMASIGN_KEY_FOR')] if d.getVar('IMASIGN_KEY_FOR') else []

def imasign_version(d):
    """Return the flags of a command that signs: the version of signatures, and what the key is for."""
    imasign_one_of(d, 'IMASIGN_SIGNATURE', '', 'v2', 'v3')
    version = d.getVar('IMASIGN_SIGNATURE')
    return (['--signature', version] if version else []) + imasign_purpose(d)

def imasign_versions(d):
    """Return the flags of a command that verifies: version 3 is demanded if it was asked for."""
    return (['--signature', 'v3'] if d.getVar('IMASIGN_SIGNATURE') == 'v3' else []) + imasign_purpose(d)

def imasign_key_file(uri):
    """Return the path if a key URI names a file, else None."""
    if uri.startswith('file:'):
        path = uri[len('file:'):]
        return path[2:] if path.startswith('//') else path
    return uri if uri.startswith('/') else None

def imasign_check_key(d, prefix):
    """Stop with a clear message if the variables about the key cannot work.

    prefix is IMASIGN_ROOTFS, IMASIGN_RPM or IMASIGN_EVM. No message contains a value that may be a
    secret."""
    key = d.getVar(prefix + '_KEY') or ''
    passphrase = d.getVar(prefix + '_KEY_PASS') or ''
    who = d.getVar('PN')
    evm = prefix == 'IMASIGN_EVM'
    if not key and evm:
        bb.fatal('%s: IMASIGN_EVM is set, but there is no key for it: set IMASIGN_KEYS_DIR to a directory made by `imasign-build key init --with evm`, or set IMASIGN_EVM_KEY and IMASIGN_EVM_CERT (docs/yocto.md)' % who)
    if not key:
        bb.fatal('%s: no signing key: set IMASIGN_KEYS_DIR to a directory made by `imasign-build key init`, or set IMASIGN_KEY and IMASIGN_CERT (docs/yocto.md)' % who)
    if 'pin-value' in key:
        bb.fatal('%s: %s_KEY contains a PIN (pin-value), which would appear in every log: write pin-source=file:/path instead' % (who, prefix))
    path = imasign_key_file(key)
    if path is None and ':' not in key:
        bb.fatal('%s: %s_KEY is %s: give an absolute path, because tasks run in other directories' % (who, prefix, key))
    if path is not None and not os.path.isfile(path):
        bb.fatal('%s: %s_KEY: %s is not a file%s' % (who, prefix, path, ': `imasign-build key init --with evm` makes a key for EVM' if evm else ''))
    imasign_check_certificate(d, prefix + '_CERT')
    for name in (d.getVar('IMASIGN_KEY_ENV') or '').split():
        if not d.getVar(name):
            bb.fatal('%s: IMASIGN_KEY_ENV names %s, which has no value: set it in local.conf, or set it in the shell and name it in BB_ENV_PASSTHROUGH_ADDITIONS' % (who, name))
    imasign_check_service(d, prefix + '_KEY', key)
    if not passphrase:
        return
    kind, _, where = passphrase.partition(':')
    if imasign_check_credential(d, prefix + '_KEY_PASS', passphrase):
        return
    if kind == 'env' and where:
        bb.fatal('%s: %s_KEY_PASS is env:, but BitBake writes its whole environment into bitbake-cookerdaemon.log in the build directory: put the passphrase into a file (on a tmpfs if it must not reach a disk) and set file:/path' % (who, prefix))
    if kind != 'file' or not where:
        bb.fatal('%s: %s_KEY_PASS must be file:/path, the file with the passphrase, not the passphrase itself' % (who, prefix))
    if not (where.startswith('/') and os.path.isfile(where)):
        bb.fatal('%s: %s_KEY_PASS: %s is not a file: give the absolute path of one' % (who, prefix, where))

def imasign_check_credential(d, variable, source):
    """Return whether a source is cred:NAME. Stop if the program would not find the credential."""
    if not source.startswith('cred:'):
        return False
    if 'CREDENTIALS_DIRECTORY' not in (d.getVar('IMASIGN_KEY_ENV') or '').split():
        bb.fatal('%s: %s names a credential of a systemd service, which needs a variable: add IMASIGN_KEY_ENV += "CREDENTIALS_DIRECTORY", and name it in BB_ENV_PASSTHROUGH_ADDITIONS' % (d.getVar('PN'), variable))
    return True

def imasign_check_service(d, variable, uri):
    """Stop if the URI of a signing service's key names files that tasks do not find, or secrets
    that would get into logs."""
    from urllib.parse import unquote
    if not uri.lower().startswith('https:'):
        return
    who = d.getVar('PN')
    attributes = dict(pair.partition('=')[::2] for pair in uri.partition('?')[2].split('&'))
    if not attributes.get('identity'):
        bb.fatal('%s: %s names no requester: add ?identity=/path, the file with its key and certificate' % (who, variable))
    for name in ('identity', 'ca', 'client-cert', 'client-key', 'log'):
        source = unquote(attributes.get(name) or '')
        if not source or imasign_check_credential(d, variable, source):
            continue
        if source.startswith('env:'):
            bb.fatal('%s: %s: %s is env:, but BitBake writes its whole environment into bitbake-cookerdaemon.log in the build directory: name a file (on a tmpfs if it must not reach a disk)' % (who, variable, name))
        path = imasign_key_file(source)
        if not path or not os.path.isabs(path):
            bb.fatal('%s: %s: %s must be an absolute path, because tasks run in other directories' % (who, variable, name))
        if not os.path.isfile(path):
            bb.fatal('%s: %s: %s: %s is not a file' % (who, variable, name, path))

def imasign_check_certificate(d, variable, path=None):
    """Stop unless the variable (or path, a word of it) names a file with certificates and no private key."""
    who = d.getVar('PN')
    path = path or d.getVar(variable) or ''
    if not path:
        bb.fatal('%s: %s is not set: set it to the certificate of the key, PEM or DER' % (who, variable))
    if not os.path.isabs(path):
        bb.fatal('%s: %s is %s: give an absolute path, because tasks run in other directories' % (who, variable, path))
    if not os.path.isfile(path):
        bb.fatal('%s: %s: %s is not a file' % (who, variable, path))
    with open(path, 'rb') as f:
        # A key in DER is refused by the program, because it is no certificate.
        if b'PRIVATE KEY-----' in f.read():
            bb.fatal('%s: %s: %s contains a private key: name a file that contains only the certificate' % (who, variable, path))

def imasign_checksums(d, *variables):
    """Return the value of a file-checksums flag for the files that variables name.

    The contents of the files are in the hash of the task, their paths are not."""
    return ' '.join('%s:True' % path for v in variables for path in (d.getVar(v) or '').split())

def imasign_check_cache(d):
    """Stop with a clear message if the variables about signatures of earlier builds cannot work."""
    imasign_one_of(d, 'IMASIGN_CACHE', 'auto', 'always', 'none')
    who = d.getVar('PN')
    for variable in ('IMASIGN_CACHE_DIR', 'IMASIGN_CACHE_SHARD_DIR'):
        if not os.path.isabs(d.getVar(variable) or ''):
            bb.fatal('%s: %s is %s: give an absolute path, because tasks run in other directories' % (who, variable, d.getVar(variable) or 'empty'))
    for mirror in (d.getVar('IMASIGN_CACHE_MIRRORS') or '').split():
        if imasign_is_remote(mirror):
            if not bb.data.inherits_class('imasign-cache', d):
                bb.fatal('%s: IMASIGN_CACHE_MIRRORS names %s, but nothing fetches it: add INHERIT += "imasign-cache"' % (who, mirror))
        elif not os.path.isabs(imasign_local_mirror(mirror)):
            bb.fatal('%s: IMASIGN_CACHE_MIRRORS: %s is neither a URL nor an absolute path' % (who, mirror))
    for path in (d.getVar('IMASIGN_FROM_MANIFEST') or '').split():
        if not (os.path.isabs(path) and os.path.exists(path)):
            bb.fatal('%s: IMASIGN_FROM_MANIFEST: %s is neither a file nor a directory: give the absolute path of a manifest, or of a directory with *.jsonl files' % (who, path))

def imasign_is_remote(mirror):
    """Return whether a word of IMASIGN_CACHE_MIRRORS must be fetched."""
    return '://' in mirror and not mirror.startswith('file://')

def imasign_local_mirror(mirror):
    """Return the path of a mirror that need not be fetched."""
    return mirror[len('file://'):] if mirror.startswith('file://') else mirror

def imasign_shards(d, mirror):
    """Return the directory that a mirror is fetched into."""
    import hashlib
    return os.path.join(d.getVar('IMASIGN_CACHE_SHARD_DIR'), hashlib.sha256(mirror.encode()).hexdigest()[:16])

def imasign_earlier(d):
    """Return where a command that signs finds signatures of earlier builds: its flags, its
    environment, and the paths in them."""
    manifests = (d.getVar('IMASIGN_FROM_MANIFEST') or '').split()
    flags = [word for path in manifests for word in ('--from-manifest', path)]
    choice, directory = d.getVar('IMASIGN_CACHE'), d.getVar('IMASIGN_CACHE_DIR')
    if choice == 'none':
        return [*flags, '--cache', 'none'], {}, manifests
    mirrors = []
    for mirror in (d.getVar('IMASIGN_CACHE_MIRRORS') or '').split():
        path = imasign_shards(d, mirror) if imasign_is_remote(mirror) else imasign_local_mirror(mirror)
        # Without an index, nothing could be fetched yet. imasign-cache has warned of it.
        if not imasign_is_remote(mirror) or os.path.exists(os.path.join(path, 'ima-signatures.index')):
            mirrors.append(path)
    flags += ['--cache', directory if choice == 'always' else 'auto']
    flags += [word for path in mirrors for word in ('--cache-mirror', path)]
    return flags, {'IMASIGN_CACHE': directory}, [*manifests, directory, *mirrors]

def imasign_warn_once(d, text):
    """Warn, but of one thing only once in a build, even if many tasks find it."""
    import hashlib
    build = d.getVar('DATE') + d.getVar('TIME')
    # pseudo does not track STAMPS_DIR.
    mark = os.path.join(d.getVar('STAMPS_DIR'), 'imasign-warnings', hashlib.sha256(text.encode()).hexdigest())
    if os.path.exists(mark):
        with open(mark) as f:
            if f.read() == build:
                return
    bb.utils.mkdirhier(os.path.dirname(mark))
    with open(mark, 'w') as f:
        f.write(build)
    bb.warn(text)
imasign_warn_once[vardepsexclude] += "DATE TIME STAMPS_DIR"

def imasign_network(d, task, *prefixes):
    """Give the network to a task that signs, if a key needs it. prefixes are as for
    imasign_check_key. The hash of the task stays the same, as for every other key."""
    keys = [(d.getVar(prefix + '_KEY') or '').lower() for prefix in prefixes]
    if bb.utils.to_boolean(d.getVar('IMASIGN_NETWORK')) or any(key.startswith(('https:', 'http:', 'nats:')) for key in keys):
        d.setVarFlag(task, 'network', '1')
    # sstate gives the network to all of its tasks.
    d.appendVarFlag(task, 'vardepsexclude', ' %s[network]' % task)

def imasign_run(d, arguments, key=None, unload=False, advice={}):
    """Run imasign-build and return its standard output. A failure is fatal.

    key is a prefix, as for imasign_check_key. It adds the flags for key, certificate and
    passphrase, and the variables that IMASIGN_KEY_ENV names. unload runs the program without
    pseudo, for files that pseudo does not track. advice says what to do if a failed program
    names a file."""
    import subprocess
    # IMASIGN_KEY and the like in the caller's shell must have no effect.
    env = {k: v for k, v in os.environ.items() if not k.startswith('IMASIGN_')}
    if unload:
        env['PSEUDO_UNLOAD'] = '1'
    command = ['imasign-build', *arguments[:2], '--progress=none']
    earlier = []
    if key:
        flags, variables, earlier = imasign_earlier(d)
        command += flags
        env.update(variables)
        env.update({name: d.getVar(name) for name in (d.getVar('IMASIGN_KEY_ENV') or '').split()})
        for flag, part in (('--key', '_KEY'), ('--cert', '_CERT'), ('--key-pass', '_KEY_PASS')):
            value = d.getVar(key + part)
            if value:
                command += [flag, value]
    command += arguments[2:]
    bb.note('running ' + ' '.join(command))
    try:
        done = subprocess.run(command, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    except FileNotFoundError:
        bb.fatal('imasign-build is not in PATH: if imasign-build-native is in ASSUME_PROVIDED, add HOSTTOOLS += "imasign-build"')
    if done.returncode:
        out = done.stdout + done.stderr
        out += ''.join('%s: %s\n' % (name, text) for name, text in advice.items() if name in out)
        bb.fatal('%s: exit code %d\n%s' % (' '.join(command[:3]), done.returncode, out))
    bb.note(done.stderr)
    # Nothing else says why a build takes longer than it should.
    for line in done.stderr.splitlines():
        if ': warning: ' in line and any(path in line for path in earlier):
            imasign_warn_once(d, line)
    return done.stdout

def imasign_common_flags(d):
    """Return the flags of every command that signs or verifies."""
    jobs = d.getVar('IMASIGN_JOBS')
    return ['--jobs', jobs] if jobs else []

def imasign_refuse_private_keys(d, root):
    """Stop if a file below root contains a private key."""
    flags = []
    for prefix in ('IMASIGN', 'IMASIGN_ROOTFS', 'IMASIGN_RPM', 'IMASIGN_EVM'):
        key, cert = (d.getVar(prefix + part) or '' for part in ('_KEY', '_CERT'))
        path = imasign_key_file(key)
        # The file and the certificate identify the key, so no passphrase is needed.
        if path and os.path.isfile(path) and path not in flags:
            flags += ['--key', path]
        if cert and os.path.isfile(cert) and cert not in flags:
            flags += ['--cert', cert]
    for word in (d.getVar('IMASIGN_ALLOW_PRIVATE_KEYS') or '').split():
        flags += ['--allow-key', word]
    imasign_run(d, ['rootfs', 'scan', *imasign_common_flags(d), *flags, root])
