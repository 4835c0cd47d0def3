#!/bin/sh
# Builds Linux with fragments of the layer's configuration (recipes/linux/files) on a PC that
# is as small as it can be (x86_64.cfg):
#
#	compile.sh SOURCE.tar.xz WORK FRAGMENT…
#
# leaves in WORK/out the kernel, a module, and the configuration. The kernel trusts the CAs in
# WORK/out/*/system_trusted_key.crt. build.sh calls it.
set -eu
tarball=$1
work=$2
shift 2
here=$(cd "$(dirname "$0")" && pwd)
source=$(basename "$tarball" .tar.xz)

fail() {
	echo "tests/kernel/compile.sh: $*" >&2
	exit 1
}

# extract unpacks the sources: of what is for other machines, and of the largest
# parts that are not built, the Kconfig files and Makefiles only.
extract() {
	xz -dc -T0 "$tarball" | tar x -C "$work/linux" --strip-components=1 --wildcards \
		--exclude="$source/Documentation/*/*" --exclude="$source/tools/testing/*" --exclude="$source/tools/perf/*" \
		--exclude="$source/drivers/gpu/*.[chS]" --exclude="$source/drivers/net/*/*.[chS]" \
		--exclude="$source/drivers/media/*.[chS]" --exclude="$source/sound/*.[chS]" --exclude="$source/arch/[a-w]*/*.[chS]"
}

# configure merges the fragments over the smallest configuration there is, and demands that
# everything of the layer's is in the result.
configure() {
	make -s tinyconfig
	scripts/kconfig/merge_config.sh -m .config "$here/x86_64.cfg" "$@" >merge.log || fail "$(cat merge.log)"
	make -s olddefconfig
	cat "$@" >wanted
	while IFS= read -r line; do
		case $line in
		CONFIG_*) grep -qxF "$line" .config || fail "the kernel has no $line" ;;
		"# CONFIG_"*" is not set")
			name=${line#"# "}
			! grep -q "^${name%% *}=" .config || fail "the kernel has ${name%% *}"
			;;
		esac
	done <wanted
}

mkdir -p "$work/out" "$work/linux"
extract
cd "$work/linux"
configure "$@"
cat "$work"/out/*/system_trusted_key.crt >system_trusted_key.crt
export KBUILD_BUILD_TIMESTAMP=@0 KBUILD_BUILD_USER=imasign KBUILD_BUILD_HOST=imasign
make -s -j"$(nproc)" bzImage modules
mv arch/x86/boot/bzImage lib/test_firmware.ko "$work/out/"
mv .config "$work/out/config"
