# What imasign-image, imasign-rpm and imasign-initramfs share: which key signs, and
# how imasign-build is run. It signs nothing by itself. docs/yocto.md has every
# variable.

# A directory made by `imasign-build key init`: then nothing else needs to be set.
IMASIGN_KEYS_DIR ?= ""

# The signing key: an absolute path, or a URI that imasign-build knows.
IMASIGN_KEY ?= "${@imasign_in_keys_dir(d, 'x509_ima.key')}"
# Its certificate, PEM or DER, an absolute path.
IMASIGN_CERT ?= "${@imasign_in_keys_dir(d, 'x509_ima.crt')}"
# The file that holds the key's passphrase, file:/path; never the passphrase.
IMASIGN_KEY_PASS ?= ""
# Names of variables that the module of a hardware key reads from its environment, such
# as SOFTHSM2_CONF. BitBake cleans the environment of tasks: give them their values in
# the configuration. They are in no task's hash.
IMASIGN_KEY_ENV ?= ""
# The certificates of the kernel's builtin keyring, PEM: what issued IMASIGN_CERT.
IMASIGN_SYSTEM_CERT ?= "${@imasign_in_keys_dir(d, 'system_trusted_key.crt')}"
# Further certificates for the device's .ima keyring, absolute paths.
IMASIGN_EXTRA_CERTS ?= ""
# The kernel whose rules count; empty: the newest that the program knows.
IMASIGN_KERNEL_VERSION ?= ""
# CAs for its .secondary_trusted_keys keyring, which may have issued those.
IMASIGN_SECONDARY_CERTS ?= ""
# Certificates for its .ima_blacklist keyring, whose signatures count no longer.
IMASIGN_REVOKED_CERTS ?= ""

# Digest algorithm of signatures on files.
IMASIGN_HASH ?= "sha256"
# Files to work on at a time; empty: one a core.
IMASIGN_JOBS ?= ""

# Files of a root file system or initramfs that may hold a private key, each as
# PATH=SHA256 (`imasign-build rootfs scan` prints both). The signing key may never be in
# one.
IMASIGN_ALLOW_PRIVATE_KEYS ?= ""

def imasign_in_keys_dir(d, name):
    directory = d.getVar('IMASIGN_KEYS_DIR')
    return os.path.join(directory, name) if directory else ''

def imasign_key_file(uri):
    """Return the path when a key URI names a file, else None."""
    if uri.startswith('file:'):
        path = uri[len('file:'):]
        return path[2:] if path.startswith('//') else path
    return uri if uri.startswith('/') else None

def imasign_check_key(d, prefix):
    """Stop with a clear message where IMASIGN_KEY and its like cannot work.

    prefix is IMASIGN_ROOTFS or IMASIGN_RPM. Values that may hold a secret are in no
    message."""
    key = d.getVar(prefix + '_KEY') or ''
    passphrase = d.getVar(prefix + '_KEY_PASS') or ''
    who = d.getVar('PN')
    if not key:
        bb.fatal('%s: which key signs? Set IMASIGN_KEYS_DIR to a directory of `imasign-build key init`, or IMASIGN_KEY and IMASIGN_CERT (docs/yocto.md)' % who)
    if 'pin-value' in key:
        bb.fatal('%s: %s_KEY holds a PIN (pin-value), which would be in every log: write pin-source=file:/path instead' % (who, prefix))
    path = imasign_key_file(key)
    if path is None and ':' not in key:
        bb.fatal('%s: %s_KEY is %s: give an absolute path, tasks run in other directories' % (who, prefix, key))
    if path is not None and not os.path.isfile(path):
        bb.fatal('%s: %s_KEY: %s is not a file' % (who, prefix, path))
    imasign_check_certificate(d, prefix + '_CERT')
    for name in (d.getVar('IMASIGN_KEY_ENV') or '').split():
        if not d.getVar(name):
            bb.fatal('%s: IMASIGN_KEY_ENV names %s, which has no value: set it in local.conf, or name it in BB_ENV_PASSTHROUGH_ADDITIONS of the shell that has it' % (who, name))
    if not passphrase:
        return
    kind, _, where = passphrase.partition(':')
    if kind == 'env' and where:
        bb.fatal('%s: %s_KEY_PASS is env:, but BitBake writes all of its environment into bitbake-cookerdaemon.log in the build directory: put the passphrase into a file, on a tmpfs if it may not reach a disk, and name it with file:/path' % (who, prefix))
    if kind != 'file' or not where:
        bb.fatal('%s: %s_KEY_PASS names the file with the passphrase, file:/path; it is not the passphrase' % (who, prefix))
    if not (where.startswith('/') and os.path.isfile(where)):
        bb.fatal('%s: %s_KEY_PASS: %s is not a file (an absolute path is needed)' % (who, prefix, where))

def imasign_check_certificate(d, variable, path=None):
    """Stop unless the variable (or its word path) names a file with certificates and no private key."""
    who = d.getVar('PN')
    path = path or d.getVar(variable) or ''
    if not path:
        bb.fatal('%s: %s is not set: the certificate of the key, PEM or DER' % (who, variable))
    if not os.path.isabs(path):
        bb.fatal('%s: %s is %s: give an absolute path, tasks run in other directories' % (who, variable, path))
    if not os.path.isfile(path):
        bb.fatal('%s: %s: %s is not a file' % (who, variable, path))
    with open(path, 'rb') as f:
        # In DER a key is no certificate, which the program says.
        if b'PRIVATE KEY-----' in f.read():
            bb.fatal('%s: %s: %s holds a private key; it has to be the certificate alone' % (who, variable, path))

def imasign_checksums(d, *variables):
    """Return the value of a file-checksums flag: the files that variables name.

    Their contents go into the hash of the task, their paths do not."""
    return ' '.join('%s:True' % path for v in variables for path in (d.getVar(v) or '').split())

def imasign_run(d, arguments, key=None, unload=False):
    """Run imasign-build and return its standard output; a failure is fatal.

    key is a prefix as for imasign_check_key: the key, certificate and passphrase
    source are added, and the variables that IMASIGN_KEY_ENV names are in its
    environment. unload runs it without pseudo, for files that pseudo does not track."""
    import subprocess
    # Never the caller's: IMASIGN_KEY of a shell must not decide.
    env = {k: v for k, v in os.environ.items() if not k.startswith('IMASIGN_')}
    if unload:
        env['PSEUDO_UNLOAD'] = '1'
    command = ['imasign-build', *arguments[:2], '--progress=none']
    if key:
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
        bb.fatal('imasign-build is not on PATH: is imasign-build-native in ASSUME_PROVIDED without HOSTTOOLS += "imasign-build"?')
    if done.returncode:
        bb.fatal('%s: exit code %d\n%s%s' % (' '.join(command[:3]), done.returncode, done.stdout, done.stderr))
    bb.note(done.stderr)
    return done.stdout

def imasign_common_flags(d):
    """Return the flags that every command that signs takes."""
    jobs = d.getVar('IMASIGN_JOBS')
    return ['--jobs', jobs] if jobs else []

def imasign_refuse_private_keys(d, root):
    """Stop when a file below root is a private key, or contains one."""
    flags = []
    for prefix in ('IMASIGN', 'IMASIGN_ROOTFS', 'IMASIGN_RPM'):
        key, cert = (d.getVar(prefix + part) or '' for part in ('_KEY', '_CERT'))
        path = imasign_key_file(key)
        # Known by its file and certificate, so that no passphrase is asked for.
        if path and os.path.isfile(path) and path not in flags:
            flags += ['--key', path]
        if cert and os.path.isfile(cert) and cert not in flags:
            flags += ['--cert', cert]
    for word in (d.getVar('IMASIGN_ALLOW_PRIVATE_KEYS') or '').split():
        flags += ['--allow-key', word]
    imasign_run(d, ['rootfs', 'scan', *imasign_common_flags(d), *flags, root])
