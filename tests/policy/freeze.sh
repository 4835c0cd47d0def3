#!/bin/sh
# Boots Debian's own kernels in QEMU, gives them every rule of
# internal/policy/testdata/{corpus,random}.tsv, and records their verdicts and the relevant part
# of their configurations: 6.1 and 6.12 as columns of these files, the newer releases as the
# changes from one to the next, in later.tsv. Run it for a new rule or a new kernel; tests/kernel
# compares the same rules with the kernels that it boots. It needs qemu-system-x86, cpio, a
# Debian 12, 500 MB in $1 and some minutes, but no root.
#
#	tests/policy/freeze.sh /tmp/policy-freeze [RELEASE…]    all releases, or these
#
# Releases that are already frozen stay as they are if the mirror no longer has them.
set -eu
work=$1
shift
here=$(cd "$(dirname "$0")" && pwd)
data=$here/../../internal/policy/testdata
mkdir -p "$work"
cd "$here"
CGO_ENABLED=0 go build -o "$work/init" ../kernel/guest
go build -o "$work/freeze" ./freeze
# shellcheck disable=SC2046 # a list of words
[ "$#" -gt 0 ] || set -- 6.1 6.12 $(./stock.sh newer)
cd "$work"

for version; do
	"$here/stock.sh" "$version" "$work/$version"
	{
		echo "# What decides about IMA policies in the configuration of Debian's $(cat "$version/release")."
		grep -E '^CONFIG_(IMA|INTEGRITY|EVM|AUDIT|FS_VERITY|MODULE_SIG|SECURITY_(SELINUX|SMACK|APPARMOR)|CRYPTO_(ECDSA|MLDSA|MD4|MD5|SHA|RMD|WP512|SM3|STREEBOG))' \
			"$version/config"
	} >"$data/config-$version"
	for table in corpus random; do
		rm -rf root && mkdir root && cp init root/
		./freeze lines "$data/$table.tsv" >root/rules
		printf 'verdicts\t/rules\n' >root/plan
		(cd root && find . | cpio --quiet -o -H newc | gzip -1) >initrd
		timeout 300 qemu-system-x86_64 -accel tcg -machine pc -cpu max -m 512 -no-reboot -net none -display none -monitor none \
			-serial null -serial stdio -kernel "$version/vmlinuz" -initrd initrd \
			-append "console=ttyS0 quiet loglevel=1 panic=-1" </dev/null >report
		./freeze verdicts "$data/$table.tsv" "$data/later.tsv" "$version" <report
	done
done
