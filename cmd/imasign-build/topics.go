package main

import "github.com/spf13/cobra"

// newTopics are the texts about what several commands have in common.
func newTopics() []*cobra.Command {
	return []*cobra.Command{
		newTopic("patterns", "How --include, --exclude, --hashed and --verity choose files", patternsTopic),
		newTopic("key-uris", "How to name keys, passphrases and PINs", keysTopic),
		newTopic("evm", "What --evm portable does, and what it changes on a device", evmTopic),
		newTopic("images", "How to name the partitions of an image, and what can be read", imagesTopic),
		newTopic("environment", "The environment variables that the program reads", environmentTopic),
	}
}

const patternsTopic = `--include, --exclude, --hashed and --verity take patterns like those of a .gitignore
file. Each flag may be repeated.

  *.conf       files and directories with such a name, at any depth
  /etc         a path from the root of the tree, archive or package, and everything below it
  etc/ssl      the same: a pattern with a slash inside is a path from the root
  cache/       everything below any directory with that name
  usr/**/x.so  ** matches any number of directories
  {bin,sbin}   one of several alternatives
  [a-c]?       one of several characters, then any character
  !*.conf      makes an exception from earlier patterns of the same flag

If several patterns of one flag match a file, the last one decides. Quote patterns, so
that the shell does not replace them by names of files:

  imasign-build rootfs sign --key K --cert C --include /usr --exclude '*.pyc' rootfs/

Without --include, all files are selected. --exclude then leaves out some of them.
--select executable leaves out all files that are not executable. A file that --hashed
matches gets a digest in place of a signature, and one that --verity matches gets a
signature over its fs-verity digest.

Symbolic links are not followed. In a tree with a merged /usr, the files of /lib are
in usr/lib. If a pattern matches nothing, a warning says so.`

const keysTopic = `--key takes the path of a file or directory, or a URI:

  x509_ima.key  a file: PEM or DER, PKCS #8, PKCS #1 or SEC 1, encrypted or not
  keys/         a directory that "key init" made: x509_ima.key and x509_ima.crt in it
  file:PATH     a file or directory
  pkcs11:…      a key in a PKCS#11 token (RFC 7512)
  tpm2:PATH     a key of a TPM, wrapped in a file, or a directory of such files
  tpm2:HANDLE   a persistent key of a TPM, such as tpm2:0x81000001
  https:…       a key of a signing service, on one server or several

Quote URIs, because the shell interprets ";" and "?":

  'pkcs11:token=T;object=O?module-path=/usr/lib/softhsm/libsofthsm2.so'
  'tpm2:x509_ima.key?device=/dev/tpmrm0'
  'https://s1:7443,s2:7443/image?identity=ci.pem&ca=ca.crt'

The attributes of an https: URI name files, or env:NAME, fd:N or cred:NAME in their place:

  identity     the Ed25519 key of the requester, and its client certificate (PEM)
  ca           certificates of the authorities that issue those of the servers
  client-cert  the client certificate, if identity does not have it
  client-key   the key of client-cert, if it is not the requester's
  log          keys of the servers' logs: a signature that no log has is refused
  timeout      how long a request may take, on all servers together (2m)

Give --cert with an https: key: without it, the program takes the service's word for which
certificate belongs to the key, and warns.

--cert names the certificate of the key, in a file or a directory. Signatures contain the
key id, which is taken from the certificate. Without a certificate, the key id is the one
that evmctl computes.

A passphrase or PIN is never part of the command line, where others could read it.
--key-pass, --ca-pass and --openpgp-pass name its source:

  env:NAME   the environment variable NAME
  file:PATH  the content of a file, without a newline at its end
  fd:N       the open file descriptor N
  cred:NAME  a credential of the systemd service in which the program runs

Without such a flag, the program asks on the terminal if there is one. The pin-source
attribute of a pkcs11: URI also takes env:NAME, file:PATH, fd:N or cred:NAME.`

const evmTopic = `A signature in security.ima covers the content of a file. A kernel with EVM also demands
security.evm, which covers security.ima, owner, mode, capabilities and labels. --evm
portable makes signatures there that are valid on every device:

  imasign-build key init --with evm keys
  imasign-build rootfs sign --key keys/ --evm portable rootfs/
  imasign-build rootfs verify --cert keys/ --evm-cert keys/ --require-evm rootfs/
  imasign-build initramfs bundle -o OUT --cert keys/ --evm-cert keys/

  --evm-key, --evm-cert  the key and its certificate (default: x509_evm beside --key)
  --evm-target           the kernel's word size and byte order (default: as ELF files)
  --ima digest           security.ima gets a digest, covered by the one signature
  --evm-from-key-id      replace only the EVM signatures of one key

Use different keys for security.ima and security.evm: a version 2 signature does not say
which of the two it was made for, so a file with chosen content could pass for the
metadata of another file.

Keys for version 3 (of "key init --for v3", or ML-DSA) make version 3 signatures in both
xattrs, which kernels before 7.1 refuse. Use different keys for these, too. The hook of
"initramfs bundle --evm-v3" makes EVM refuse version 2 (bit 3).

--ima digest gives up safety. Such files are refused where EVM is off, and by kernels
before 5.14. Without EVM's bit 3 they also pass appraise_type=sigv3, although their EVM
signature is version 2.

On the device, every change of owner, mode, capabilities or label makes a file refused,
and files that the device makes itself have no security.evm. "imasign-build policy
simulate --evm-cert" names what will be refused.

Packages carry no EVM signatures: rpm has no tag for them, packages name users instead of
ids, and labels come from the device. Sign the installed tree or the image.`

const imagesTopic = `An image is a file with an ext2, ext3, ext4, squashfs or EROFS file system, or with a
partition table (MBR or GPT) and such file systems in its partitions. It may be compressed
with gzip, xz, zstd, bzip2 or lz4. "image list" shows what is in it.

If there are several file systems, --partition chooses one:

  2          the number of the partition, as in /dev/sda2
  rootfs     its name in a GPT, or else the label of its file system
  3:/var     the directory on which the device mounts it

The flag may be repeated. "--partition 2 --partition 3:/var" is one tree of two partitions,
with the root in the first, and is compared with one manifest.

Other formats, such as ubifs, jffs2, btrfs and f2fs, are named, but not read: use the tree
that the image is made from, or mount the image and use that tree.`

const environmentTopic = `The program reads these environment variables:

  IMASIGN_KEY        default of --key
  IMASIGN_CERT       default of --cert
  IMASIGN_KEY_PASS   default of --key-pass: a source of the passphrase, never the passphrase
  IMASIGN_CACHE      directory of the signature cache with --cache auto, or none
  XDG_CACHE_HOME     directory for the user's caches (default: ~/.cache)
  HOME               home directory
  SOURCE_DATE_EPOCH  date to write into outputs, in seconds since 1970; the clock is never used
  TMPDIR             directory for temporary files (default: /tmp)
  HTTPS_PROXY        proxy for https: mirrors of caches; also HTTP_PROXY and NO_PROXY
  SSL_CERT_FILE      certificate authorities for https: mirrors and keys; also SSL_CERT_DIR
  CREDENTIALS_DIRECTORY  directory for cred:NAME, set by systemd
  PATH               where to find createrepo_c and gpg
  TERM               "dumb" or no value: no progress bar
  LD_PRELOAD         the libraries of pseudo and fakeroot are recognised here
  PSEUDO_DISABLED    pseudo is loaded, but has no effect
  GNUPGHOME          home directory of gpg, for --openpgp-key gpg:ID

--key-pass env:NAME and similar flags read a variable of your choice. Flags have
precedence over variables.`
