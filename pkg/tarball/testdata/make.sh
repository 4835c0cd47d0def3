#!/bin/sh
# Makes the archives here with GNU tar 1.34 and bsdtar 3.6.2 (Debian 12), as root:
# one tree in every dialect, with sparse files, device nodes, hard links, long and
# not UTF-8 names, and stale security.ima.
set -eu
out=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
cd "$work"
mkdir -p t/dir
echo one >t/dir/one
ln t/dir/one t/linked
ln -s dir/one t/sym
mkfifo t/fifo
mknod t/null c 1 3
truncate -s 300000 t/sparse
for at in 20000 100000 200000; do printf data | dd of=t/sparse conv=notrunc bs=1 seek=$at status=none; done
: >t/empty
echo long >"t/$(printf 'n%.0s' $(seq 120))"
echo x >"t/$(printf 'caf\351')"
for path in t/dir/one t/empty; do setfattr -n security.ima -v 0x030204aabbccdd0004deadbeef $path; done
setfattr -n user.note -v 'a
b' t/empty
setcap cap_net_raw+ep t/dir/one

gnu() { tar -b1 --sort=name --owner=0 --group=0 --mtime=@1700000000 "$@"; }
gnu --format=gnu -S -cf "$out/gnu.tar" t
gnu --format=oldgnu -S -cf "$out/oldgnu.tar" t
gnu --format=v7 -cf "$out/v7.tar" t/dir t/linked t/sym t/empty
gnu --format=ustar --exclude='nnn*' --exclude=sparse -cf "$out/ustar.tar" t
for v in 0.0 0.1 1.0; do
	gnu --format=pax -S --sparse-version=$v --pax-option='delete=[ac]time' --xattrs --xattrs-include='*' -cf "$out/pax-sparse-$v.tar" t
done
gnu --format=pax --pax-option='globexthdr.name=g,comment=hello,uname=somebody' -cf "$out/global.tar" t/dir
gnu --format=gnu -V label -cf "$out/label.tar" t/dir
# It warns of the name that is not UTF-8 and writes it all the same.
bsdtar -b1 --format pax --uid 0 --gid 0 -cf "$out/bsdtar.tar" t || [ $? = 1 ]
rm -rf "$work"
