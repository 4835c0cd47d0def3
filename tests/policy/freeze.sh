#!/bin/sh
# Boots Debian's kernels 6.1 and 6.12 in QEMU, gives them every rule of
# internal/policy/testdata/{corpus,random}.tsv, and records their verdicts and the relevant part of
# their configurations. Run it for a new rule or a new kernel; every run of tests/kernel compares
# the same rules with the kernels that it boots. It needs qemu-system-x86, cpio, a Debian 12 with
# its security archive, 250 MB in $1 and a minute, but no root.
#
#	tests/policy/freeze.sh /tmp/policy-freeze
set -eu
work=$1
here=$(cd "$(dirname "$0")" && pwd)
data=$here/../../internal/policy/testdata
mkdir -p "$work"
cd "$here"
CGO_ENABLED=0 go build -o "$work/init" ../kernel/guest
go build -o "$work/freeze" ./freeze
cd "$work"

column=0
for version in 6.1 6.12; do
	# The newest image of the release.
	package=$(apt-cache search --names-only "^linux-image-$version\\.[0-9.+debu-]*-cloud-amd64\$" | sort -V | tail -n 1 | cut -d' ' -f1)
	[ -e "$package" ] || { apt-get download -q "$package" && dpkg-deb -x "${package}"_*.deb "$package"; }
	release=${package#linux-image-}
	{
		echo "# What decides about IMA policies in the configuration of Debian's $release."
		grep -E '^CONFIG_(IMA|INTEGRITY|AUDIT|FS_VERITY|MODULE_SIG|SECURITY_(SELINUX|SMACK|APPARMOR)|CRYPTO_(ECDSA|MD4|MD5|SHA|RMD|WP512|SM3|STREEBOG))' \
			"$package/boot/config-$release"
	} >"$data/config-$version"
	for table in corpus random; do
		rm -rf root && mkdir root && cp init root/
		./freeze lines "$data/$table.tsv" >root/rules
		printf 'verdicts\t/rules\n' >root/plan
		(cd root && find . | cpio --quiet -o -H newc | gzip -1) >initrd
		timeout 300 qemu-system-x86_64 -accel tcg -machine pc -cpu max -m 512 -no-reboot -display none -monitor none -serial null -serial stdio \
			-kernel "$package/boot/vmlinuz-$release" -initrd initrd -append "console=ttyS0 quiet loglevel=1 panic=-1" \
			</dev/null >report
		./freeze verdicts "$data/$table.tsv" "$column" <report
	done
	column=$((column + 1))
done
