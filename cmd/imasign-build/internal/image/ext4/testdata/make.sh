#!/bin/sh
# Makes the images that tests read and fuzz. It needs root and e2fsprogs 1.47.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
mkdir "$dir/tree"
cd "$dir/tree"

umask 022
printf 'hello\n' >hello
chown 70000:80000 hello
chmod 4755 hello
ln hello hard-link
ln -s hello link
ln -s "$(printf '%0100d' 0)" long-link
mkdir -p many a/b/c
for i in $(seq 70); do : >"many/a-name-of-a-file-that-is-empty-$i"; done
printf '%0110d' 7 >a/b/c/inline
mknod null c 1 3
mknod large-number b 300 70000
mkfifo fifo
for i in $(seq 0 8); do dd if=hello of=extents bs=1024 seek=$((i * 2)) conv=notrunc status=none; done
dd if=hello of=indirect bs=1024 seek=300 conv=notrunc status=none
setfattr -n security.ima -v 0x030204010203040004deadbeef hello
setfattr -n user.large -v "$(printf '%0600d' 1)" hello many
setfattr -n user.larger -v "$(printf '%01010d' 1)" a
setfacl -m u:1000:r,g:70000:rw,d:u:5:rwx many

make() { # name size options
	name=$1 size=$2
	shift 2
	rm -f "$dir/image"
	SOURCE_DATE_EPOCH=1 E2FSPROGS_FAKE_TIME=1 mke2fs -q -q -F -b 1024 -N 112 -m 0 -L "$name" -U 01234567-89ab-cdef-0123-456789abcdef \
		-E "hash_seed=01234567-89ab-cdef-0123-456789abcdef" "$@" "$dir/image" "$size"
	# mke2fs writes no index of directories.
	E2FSPROGS_FAKE_TIME=1 e2fsck -fyD "$dir/image" >"$dir/log" 2>&1 || [ $? -le 1 ]
	gzip -9n <"$dir/image" >"$here/$name.gz"
}
make ext4 256k -t ext4 -I 256 -O ea_inode,inline_data,^metadata_csum,^resize_inode,^has_journal -d .
make checksums 256k -t ext4 -I 256 -O 64bit,ea_inode,^resize_inode,^has_journal -d .
rm a/b/c/inline
setfattr -x user.larger a
make ext2 256k -t ext2 -I 128 -O ^resize_inode,dir_index -d .
make meta_bg 700k -t ext4 -g 256 -I 128 -O meta_bg,^resize_inode,^has_journal,^flex_bg,^metadata_csum -d .
